"""A dry run of a delete over the API."""

from coordinator.model.orders import DeleteOrder
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory, backup
from tests.fast.coordinator.conftest import NOW, Client
from tests.fast.coordinator.test_opscenter import TAG, C, add


async def test_a_dry_run_of_a_delete_is_asked_for_by_a_clear_yes(client: Client, cluster: ClusterInMemory) -> None:
    """Promise: what is asked as a dry run reaches the orchestrator as one, and never with settings to forget."""
    place = await add(client)
    cluster.backups[place] = [backup(TAG, NOW, {"shop": ["users"]})]
    path = f"{C}/backups?tag={TAG}&destination={place}&dry_run=true"
    assert (await client.ask("DELETE", path))[0] == 200
    assert cluster.orders[-1] == DeleteOrder(TAG, place, dry_run=True)
    before = list(cluster.orders)
    status, refused = await client.ask("DELETE", f"{path}&remove_destination=true")
    assert status == 400
    assert "remove_destination" in str(refused)
    assert cluster.orders == before
