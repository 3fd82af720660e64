"""Every path of the API, read against OpsCenter's text by somebody who wants to find it wrong."""

import re
from pathlib import Path
from typing import Any, cast

import pytest

from agent.wire.destinations import ON_SERVER
from coordinator.model.orders import BackupOrder, RestoreOrder, RestoreTables, SyncOrder
from coordinator.opscenter import quirks
from coordinator.opscenter.app import routes
from coordinator.opscenter.context import Api
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory, backup
from tests.fast.coordinator.conftest import NOW, Client
from tests.fast.coordinator.test_bad_input import in_form

C = "/Test_Cluster"
TAG = "opscenter_adhoc_2017-03-17-15-06-09-UTC"
RUN, SYNC, RESTORE = f"{C}/backups/run", f"{C}/backups/sync", f"{C}/backups/restore/{TAG}"
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "opscenter.md"
NAMES = {
    "tag": TAG, "keyspace": "shop", "table": "users", "destination": "d" * 32, "request": "nobody", "type": "backup",
    "node": "127.0.70.1", "property": "mode", "schedule": "s" * 32, "name": "nobody",
}  # fmt: skip
ROUTES = [(method, path) for method, path, _ in routes(cast(Api, None))]


@pytest.fixture(autouse=True)
def kept(cluster: ClusterInMemory) -> None:
    cluster.backups[ON_SERVER] = [backup(TAG, NOW, {"shop": ["orders", "users"]})]


async def place(client: Client) -> str:
    told = await client.post(f"{C}/backups/destinations", {"provider": "local", "path": "/backups"})
    return str(told["destination_id"]["id"])


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_slash_at_the_end_is_no_other_path(client: Client, method: str, path: str) -> None:
    """Whatever is answered without it is answered with it; an order is broken on purpose, so that none begins."""
    filled = path.format(cluster="Test_Cluster", **NAMES)
    body = None if method == "GET" else {"no such option": 1}
    assert await client.ask(method, filled, json=body) == await client.ask(method, f"{filled}/", json=body)


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path in ROUTES if "{cluster}" in path])
async def test_an_unknown_cluster_is_a_404_everywhere(
    client: Client, cluster: ClusterInMemory, method: str, path: str
) -> None:
    """In OpsCenter's words, before anything else of the order is looked at."""
    status, told = await client.ask(method, path.format(cluster="Nobody", **NAMES))
    assert (status, told["type"], in_form(told)) == (404, "NoSuchCluster", True)
    assert told["message"] == "There are no clusters with name or ID 'Nobody'"
    assert cluster.orders == []


@pytest.mark.parametrize("path", sorted({path for _, path in ROUTES}))
async def test_another_method_is_a_405_that_names_the_right_ones(client: Client, path: str) -> None:
    """PATCH is nowhere in this API, PUT for schedules and users alone."""
    served = {method for method, known in ROUTES if known == path}
    for method in {"PUT", "PATCH"} - served:
        status, told = await client.ask(method, path.format(cluster="Test_Cluster", **NAMES))
        assert (status, told["type"], in_form(told)) == (405, "MethodNotAllowed", True)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (RESTORE, {"keyspaces": {}, "truncate": True}, "keyspaces"),
        (RESTORE, {"keyspaces": [], "truncate": True}, "keyspaces"),
        (RESTORE, {"keyspaces": ""}, "keyspaces"),
        (RESTORE, {"keyspaces": {"shop": {"column-families": []}}}, "keyspaces.shop.column-families"),
        (f"{RESTORE}/shop", {"column-families": [], "truncate": True}, "column-families"),
        (f"{RESTORE}/shop", {"column-families": ""}, "column-families"),
        (RESTORE, {"excluded-nodes": ""}, "excluded-nodes"),
        (RESTORE, {"excluded-nodes": ["127.0.70.1", ""]}, "excluded-nodes"),
        (f"{RESTORE}?truncate=true", {}, "truncate"),
        (f"{RESTORE}/shop?destination=x", {}, "destination"),
        (f"{RESTORE}/shop/users?force=1", {}, "force"),
        (f"{RUN}?keyspaces=shop", {}, "keyspaces"),
        (f"{SYNC}?tag={TAG}", {"tag": TAG}, "tag"),
        (f"{C}/backups/destinations?delete_this=true", {}, "delete_this"),
        (RUN, {"throttle": "1_000"}, "throttle"),
        (RUN, {"throttle": "١٠"}, "throttle"),
        (RUN, {"throttle": "nan"}, "throttle"),
    ],
)
async def test_what_would_be_taken_for_more_than_it_says_is_refused(
    client: Client, cluster: ClusterInMemory, path: str, body: dict[str, Any], field: str
) -> None:
    """«If it is present, only the keyspaces listed will be restored»: nothing listed is not all. Options where nobody
    reads them, and numbers that only a programming language knows, are no options."""
    status, told = await client.ask("POST", path, json=body)
    assert (status, told["type"], told["fields"]["field"]) == (400, "InvalidArguments", field)
    assert cluster.orders == []


async def test_a_null_is_as_good_as_nothing(client: Client, cluster: ClusterInMemory) -> None:
    """Clients that write every option they know leave those unset that nobody chose."""
    options = dict.fromkeys(("keyspaces", "throttle", "excluded-nodes", "force", "force_schema", "destination"))
    await client.post(RESTORE, options)
    await client.post(RUN, {"keyspaces": None, "destinations": None, "throttle": None})
    restore, run = cluster.orders
    assert restore == RestoreOrder(tag=TAG)
    assert isinstance(run, BackupOrder)
    assert (run.keyspaces, run.keep, run.copies, run.throttle_bytes_per_second) == (None, True, [], 0)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", f"{C}/backups?tag={TAG}&tag=other"),
        ("DELETE", f"{C}/backups?tag={TAG}&destination=a&destination="),
        ("GET", f"{C}/backups?destination=a&destination=b"),
        ("GET", f"{C}/backup-activity?count=1&count=2"),
    ],
)
async def test_a_parameter_given_twice_is_refused(
    client: Client, cluster: ClusterInMemory, method: str, path: str
) -> None:
    """Nobody could tell which of the two would be deleted."""
    status, told = await client.ask(method, path)
    assert (status, told["type"], told["fields"]["field"] in path) == (400, "InvalidArguments", True)
    assert cluster.orders == []


async def test_a_list_may_be_one_text_and_the_document_says_where(client: Client, cluster: ClusterInMemory) -> None:
    """Text, list and object come to the same order, for each row of the document's table."""
    there = await place(client)
    cluster.orders.clear()
    whole: list[Any] = ["shop", ["shop"], {"shop": []}]
    for keyspaces in whole:
        await client.post(RUN, {"keyspaces": keyspaces})
    for tables in ("users", ["users"], {"column-families": "users"}):
        await client.post(RUN, {"keyspaces": {"shop": tables}})
    places: list[Any] = [there, [there], {there: {}}]
    for named in places:
        await client.post(SYNC, {"tag": TAG, "destinations": named})
    for keyspaces in [*whole[:2], {"shop": {}}]:
        await client.post(RESTORE, {"keyspaces": keyspaces, "excluded-nodes": "10.0.0.1"})
    for chosen in ("users", ["users"]):
        await client.post(f"{RESTORE}/shop", {"column-families": chosen, "excluded-nodes": ["10.0.0.1"]})
    runs = [order.keyspaces for order in cluster.orders if isinstance(order, BackupOrder)]
    assert runs == [{"shop": []}] * 3 + [{"shop": ["users"]}] * 3
    syncs = [[copy.destination for copy in order.copies] for order in cluster.orders if isinstance(order, SyncOrder)]
    assert syncs == [[there]] * 3
    restores = [order for order in cluster.orders if isinstance(order, RestoreOrder)]
    assert [order.keyspaces for order in restores] == [{"shop": RestoreTables()}] * 3 + [
        {"shop": RestoreTables(["users"])}
    ] * 2
    assert all(order.excluded_nodes == ["10.0.0.1"] for order in restores)
    table = DOCUMENT.read_text().split("### Where a list is asked for")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)`", table, re.MULTILINE)
    assert set(rows) == {"keyspaces", "column-families", "excluded-nodes", "destinations"}


@pytest.mark.parametrize("origin", ["http://[", "null", "http://elsewhere.example", "//", "http://[::1"])
async def test_an_origin_that_is_none_is_a_foreign_one(client: Client, origin: str) -> None:
    """A malformed header of a browser's is no fault of the coordinator."""
    status, told = await client.ask("POST", RUN, json={}, headers={"Origin": origin})
    assert (status, told["code"], in_form(told)) == (403, "foreign_origin", True)


async def test_a_misspelt_option_beside_delete_this_deletes_nothing(client: Client, cluster: ClusterInMemory) -> None:
    """What the text's own example sends beside it is allowed, other words are not."""
    there = await place(client)
    at = f"{C}/backups/destinations"
    status, told = await client.ask("POST", at, json={"id": there, "delete_this": True, "pth": "/x"})
    assert (status, told["fields"]["field"]) == (400, "pth")
    assert there in await client.get(at)
    await client.post(
        at, {"id": there, "delete_this": True, "provider": "local", "path": "/backups", "access_key": "x"}
    )
    assert there not in await client.get(at)


@pytest.mark.parametrize(("given", "bytes_per_second"), [("10", 10_000_000), (" .5 ", 500_000), (1e1, 10_000_000)])
def test_a_throttle_is_a_plain_number(given: object, bytes_per_second: int) -> None:
    """MB/s, as JSON or as text."""
    assert quirks.as_bytes_per_second(given, "throttle") == bytes_per_second
