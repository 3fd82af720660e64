"""POST /{cluster}/backups/sync with a source, through the real API over a cluster in memory."""

from agent.wire.destinations import ON_SERVER
from coordinator.model.orders import Copy, SyncOrder
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory, backup
from tests.fast.coordinator.conftest import NOW, Client
from tests.fast.coordinator.test_opscenter import TAG, C, add


async def test_sync_copies_from_a_destination(client: Client, cluster: ClusterInMemory) -> None:
    """`source` names it; OPSC_ON_SERVER, and none, are the nodes. It gets no event: nothing is made there."""
    source, place = await add(client), await add(client, path="/other")
    cluster.backups[source] = [backup(TAG, NOW, {"shop": ["users"]})]
    cluster.backups[ON_SERVER] = [backup(TAG, NOW, {"shop": ["users"]})]
    body = {"tag": TAG, "destinations": {place: {}}}
    await client.post(f"{C}/backups/sync", {**body, "source": source})
    assert cluster.orders[-1] == SyncOrder(TAG, [Copy(place)], source=source)
    (event,) = await client.get(f"{C}/backup-activity")
    assert (event["type"], event["destination"]["id"]) == ("backup", place)
    await client.post(f"{C}/backups/sync", {**body, "source": ON_SERVER})
    assert cluster.orders[-1] == SyncOrder(TAG, [Copy(place)])
    for wrong in (place, "", "nowhere"):
        status, told = await client.ask("POST", f"{C}/backups/sync", json={**body, "source": wrong})
        assert (status, told["type"]) in ((400, "InvalidArguments"), (404, "NoSuchDestination"))
