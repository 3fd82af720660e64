"""Rules of retention over the API: given with destinations and runs, seen, tried, and kept by the store."""

from typing import Any

import pytest

from agent.wire.destinations import ON_SERVER
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory, backup
from tests.fast.coordinator.conftest import Client

C = "/Test_Cluster"
RUN, PLACES, RETENTION = f"{C}/backups/run", f"{C}/backups/destinations", f"{C}/retention"
LOCAL = {"provider": "local", "path": "/backups"}


async def added(client: Client, **options: Any) -> str:
    """The id of a new destination."""
    return str((await client.post(PLACES, {**LOCAL, **options}))["destination_id"]["id"])


async def rules(client: Client) -> list[dict[str, Any]]:
    """The rules as they are shown."""
    return list((await client.get(RETENTION))["rules"])


def shown(destination: str, by: str | None, age: int = 0, unit: str = "days", count: int = 0, floor: int = 1) -> Any:
    """A rule as it is shown."""
    return {
        "destination": destination,
        "id": by,
        "cleanup_age": age,
        "cleanup_age_unit": unit,
        "cleanup_count": count,
        "cleanup_floor": floor,
    }


async def test_a_destination_has_a_rule_for_every_backup_id(client: Client) -> None:
    """Promise: OpsCenter's age and our count and floor are taken with a destination and shown with it; what isn't sent
    stays, and 0 retains all again."""
    assert "cleanup_age" not in (await client.post(PLACES, {**LOCAL, "path": "/other"}))["destination_id"]
    place = await added(client, cleanup_age="30", cleanup_floor=2)
    assert await rules(client) == [shown(place, None, 30, floor=2)]
    assert (await client.get(f"{PLACES}/{place}"))["cleanup_age"] == 30
    changed = await client.post(PLACES, {"id": place, "cleanup-count": 14})
    assert changed["destination_id"]["cleanup_count"] == 14
    await client.post(PLACES, {"id": place, "cleanup_age": 6, "cleanup_age_unit": "weeks"})
    assert await rules(client) == [shown(place, None, 6, "weeks", 14, 2)]
    assert (await client.get(PLACES))[place]["cleanup_age_unit"] == "weeks"
    await client.post(PLACES, {"id": place, "cleanup_age": 0, "cleanup_count": "0"})
    assert await rules(client) == []
    assert "cleanup_age" not in await client.get(f"{PLACES}/{place}")


async def test_a_run_has_a_rule_for_the_backups_by_hand(client: Client, cluster: ClusterInMemory) -> None:
    """Promise: `cleanup_age` of a run holds for the backups by hand at the places that it names; that of a destination
    in it goes before the run's; a run without one changes nothing."""
    place = await added(client, cleanup_age=90)
    named = {place: {"cleanup_age": 7}, ON_SERVER: {}}
    await client.post(RUN, {"destinations": named, "cleanup_age": 2, "cleanup_age_unit": "weeks"})
    expected = [shown(ON_SERVER, "adhoc", 2, "weeks"), shown(place, None, 90), shown(place, "adhoc", 7)]
    assert sorted(await rules(client), key=str) == sorted(expected, key=str)
    await client.post(RUN, {"destinations": [place], "cleanup_age": "", "cleanup_age_unit": "hours"})
    await client.post(RUN, {"cleanup_age": 0})
    expected[0] = shown(ON_SERVER, "adhoc", 0, "weeks")
    assert sorted(await rules(client), key=str) == sorted(expected, key=str)
    assert len(cluster.orders) == 4


async def test_a_sync_takes_no_rule(client: Client, cluster: ClusterInMemory) -> None:
    """Promise: what would not be done is refused by name."""
    place = await added(client)
    cluster.backups[ON_SERVER].append(backup("tag", 5.0, {"shop": ["users"]}))
    body = {"tag": "tag", "destinations": {place: {"cleanup_age": 7}}}
    status, told = await client.ask("POST", f"{C}/backups/sync", json=body)
    assert (status, told["fields"]["field"]) == (400, f"destinations.{place}")


async def test_a_dry_run_says_what_would_go_and_why(client: Client, cluster: ClusterInMemory) -> None:
    """Promise: nothing is ordered, and each backup has its reason; without dry_run a run is asked for, which has no
    times before it begins."""
    place = await added(client, cleanup_count=1)
    cluster.backups[place] += [backup(f"tag{number}", number, {"shop": ["users"]}) for number in (1, 2)]
    before = len(cluster.orders)
    assert await client.post(f"{RETENTION}/run", {"dry_run": True}) == {
        place: [
            {"tag": "tag1", "id": "adhoc", "goes": True, "why": "there is a newer good one"},
            {"tag": "tag2", "id": "adhoc", "goes": False, "why": "it is the newest good one"},
        ]
    }
    assert (await client.get(RETENTION))["runs"] == {}
    assert await client.post(f"{RETENTION}/run", {"destination": place}) == {"destinations": [place]}
    told = (await client.get(RETENTION))["runs"][place]
    assert (told["begun"], told["ended"], told["running"]) == (None, None, True)
    assert len(cluster.orders) == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"destination": ON_SERVER}, "destination"),
        ({"destination": ""}, "destination"),
        ({"dry-runs": True}, "dry_runs"),
        ({"dry_run": "perhaps"}, "dry_run"),
    ],
)
async def test_a_run_that_is_misspelt_is_refused(client: Client, body: dict[str, Any], field: str) -> None:
    """Promise: a dry run that wasn't understood never becomes a real one, nor one place every place."""
    await added(client, cleanup_count=1)
    status, told = await client.ask("POST", f"{RETENTION}/run", json=body)
    assert (status, told["fields"]["field"]) == (400, field)
