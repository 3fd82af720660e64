"""GET, POST and DELETE /{cluster}/backups/pit, and GET …/pit/logs."""

from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from agent.wire.archiving import LogGap
from agent.wire.destinations import ON_SERVER
from coordinator.model.archiving import NodeArchiving
from coordinator.model.orders import ArchivingOrder, LogCopy
from coordinator.opscenter.measures import Measures
from coordinator.store.sqlite import SqliteStore
from kit.metrics import ProcessMetrics
from tests.fast.coordinator.archiving_in_memory import ArchivingInMemory
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory, backup
from tests.fast.coordinator.conftest import NOW, Client, api_of
from tests.fast.coordinator.test_bad_input import PLACES, C

PIT = f"{C}/backups/pit"


async def place(client: Client) -> str:
    """The id of a new destination."""
    return str((await client.post(PLACES, {"provider": "local", "path": "/a"}))["destination_id"]["id"])


async def test_before_anything_was_ordered(client: Client) -> None:
    """Promise: off, with OpsCenter's two keys; nothing is safe anywhere."""
    told = await client.get(PIT)
    assert (told["enabled"], told["destinations"]) == (False, {})
    assert await client.get(f"{PIT}/logs") == {}


async def test_it_is_switched_on_as_opscenter_is_told(client: Client, archiving: ArchivingInMemory) -> None:
    """Promise: the example of the reference: a request id comes back, the throttle is in MB/s, and GET shows the
    destinations; numbers and booleans may be texts."""
    there = await place(client)
    body = {
        "destinations": {ON_SERVER: {"compressed": False}, there: {"compressed": True, "throttle": 10}},
        "backup_directory": "/var/tmp",
        "sleep": "5",
        "drain_first": "True",
    }
    request = await client.post(PIT, body)
    assert archiving.order == ArchivingOrder(
        True, [LogCopy(there, True, 10_000_000)], keep=True, directory="/var/tmp", sleep=5.0, drain=True
    )
    assert (await client.get(f"/request/{request}/status"))["type"] == "archiving"
    told = await client.get(f"{PIT}/")
    assert told["enabled"] is True
    assert told["destinations"] == {there: {"compressed": True, "throttle": 10.0}, ON_SERVER: {"compressed": False}}
    assert told["backup_directory"] == "/var/tmp"
    [event, _] = await client.get(f"{C}/backup-activity?filter_type=archiving")
    assert event["request_id"] == request


@pytest.mark.parametrize("body", [{}, {"destinations": {}}, {"destinations": [ON_SERVER]}])
async def test_without_a_destination_segments_stay_on_the_nodes(
    client: Client, archiving: ArchivingInMemory, body: dict[str, Any]
) -> None:
    """Promise: none, or the nodes by name: they are kept there, by the agents' own directory."""
    await client.post(PIT, body)
    assert archiving.order == ArchivingOrder(True, keep=True)


@pytest.mark.parametrize("way", ["body", "query", "nothing"])
async def test_it_is_switched_off_with_a_body_or_without(
    client: Client, archiving: ArchivingInMemory, way: str
) -> None:
    """Promise: a DELETE's options are read in its body, as curl sends it, or in its query; none are needed."""
    ways: dict[str, dict[str, Any]] = {
        "body": {"data": '{"sleep": 5, "drain_first": true}'},
        "query": {"params": {"sleep": "5", "drain-first": "1"}},
        "nothing": {},
    }
    status, request = await client.ask("DELETE", PIT, **ways[way])
    assert (status, type(request)) == (200, str)
    wanted = ArchivingOrder(False) if way == "nothing" else ArchivingOrder(False, sleep=5.0, drain=True)
    assert archiving.order == wanted


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("POST", {"backup_directory": "var/tmp"}, "backup_directory"),
    ("POST", {"backup_directory": "/var/my logs"}, "backup_directory"),
    ("POST", {"backup_directory": "/var/../etc"}, "backup_directory"),
    ("POST", {"backup_directory": "/"}, "backup_directory"),
    ("POST", {"backup_directory": ""}, "backup_directory"),
    ("POST", {"backup_directory": "/var/%name"}, "backup_directory"),
    ("POST", {"backup_directory": 5}, "backup_directory"),
    ("POST", {"sleep": -1}, "sleep"),
    ("POST", {"sleep": "soon"}, "sleep"),
    ("POST", {"sleep": 1e9}, "sleep"),
    ("POST", {"sleep": True}, "sleep"),
    ("POST", {"tail_seconds": 0.1}, "tail_seconds"),
    ("POST", {"drain_first": "perhaps"}, "drain_first"),
    ("POST", {"enroll": []}, "enroll"),
    ("POST", {"backup_dir": "/var"}, "backup_dir"),
    ("POST", {"destinations": 7}, "destinations"),
    ("POST", {"destinations": {ON_SERVER: {"compressed": True}}}, f"destinations.{ON_SERVER}.compressed"),
    ("POST", {"destinations": {ON_SERVER: {"throttle": -1}}}, f"destinations.{ON_SERVER}.throttle"),
    ("POST", {"destinations": {ON_SERVER: {"cleanup_age": 1}}}, f"destinations.{ON_SERVER}.cleanup_age"),
    ("DELETE", {"sleep": "soon"}, "sleep"),
    ("DELETE", {"destinations": {}}, "destinations"),
]


@pytest.mark.parametrize(("method", "body", "field"), WRONG)
async def test_what_is_wrong_is_refused_by_name(
    client: Client, archiving: ArchivingInMemory, method: str, body: dict[str, Any], field: str
) -> None:
    """Promise: nothing is begun, and the field is named; a directory with spaces would cut Cassandra's command."""
    status, told = await client.ask(method, PIT, json=body)
    assert (status, told["fields"]["field"]) == (400, field)
    assert archiving.order is None


async def test_a_destination_that_is_not_known_is_refused(client: Client, archiving: ArchivingInMemory) -> None:
    """Promise: 404 for an unknown id, of the order as of the logs; an option given twice is refused."""
    for method, path, body in (
        ("POST", PIT, {"destinations": ["nowhere"]}),
        ("GET", f"{PIT}/logs?destination=nowhere", None),
    ):
        status, told = await client.ask(method, path, json=body)
        assert (status, told["code"]) == (404, "unknown_destination")
    status, told = await client.ask("DELETE", f"{PIT}?sleep=5", json={"sleep": 5})
    assert (status, told["fields"]["field"]) == (400, "sleep")
    assert archiving.order is None


async def test_nodes_tell_how_they_stand(
    client: Client, archiving: ArchivingInMemory, cluster: ClusterInMemory
) -> None:
    """Promise: who doesn't archive is named with the reason; of each node the time that is safe, and its gaps."""
    there = await place(client)
    await client.post(PIT, {"destinations": [there], "tail_seconds": 5})
    gap = LogGap("CommitLog-7-1.log", "CommitLog-7-3.log", 1.0, 2.0, "the directory was full")
    archiving.nodes = [
        NodeArchiving("127.0.70.1", "h1", "on", safe={there: 1450135082.502205}, since={there: 5.0}, gaps=[gap]),
        NodeArchiving("127.0.70.2", "h2", "lost", without="its properties were replaced", safe={there: None}),
        NodeArchiving("127.0.70.3", "h3", "on", tail_refused="the log is compressed"),
    ]
    told = await client.get(PIT)
    assert told["nodes_without"] == [{"address": "127.0.70.2", "host_id": "h2", "why": "its properties were replaced"}]
    assert told["nodes"]["127.0.70.1"]["gaps"][0]["reason"] == "the directory was full"
    assert told["nodes"]["127.0.70.3"]["tail_refused"] == "the log is compressed"
    assert await client.get(f"{PIT}/logs") == {
        "127.0.70.1": 1450135082.502205,
        "127.0.70.2": None,
        "127.0.70.3": None,
    }
    assert (await client.get(f"{PIT}/logs?destination={there}"))["127.0.70.1"] == 1450135082.502205
    assert len(cluster.orders) == 2


async def test_the_time_that_is_complete_is_told_by_place(client: Client, archiving: ArchivingInMemory) -> None:
    """Promise: since when and until when the log of every node is there; none where a node has nothing, or where one's
    began after another's ended."""
    archiving.order = ArchivingOrder(True, keep=True)
    safe: list[dict[str, float | None]] = [{"a": 20.0, "b": 9.0, "c": 5.0}, {"a": 18.0, "b": 30.0, "c": None}]
    since: list[dict[str, float | None]] = [{"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 4.0, "b": 10.0, "c": None}]
    archiving.nodes = [
        NodeArchiving(f"127.0.70.{number}", f"h{number}", "on", safe=until, since=begin)
        for number, (until, begin) in enumerate(zip(safe, since, strict=True), 1)
    ]
    archiving.nodes.append(NodeArchiving("127.0.70.3", "h3", "off", without="its Cassandra doesn't archive"))
    assert (await client.get(PIT))["complete"] == {"a": {"since": 4.0, "until": 18.0}, "b": None, "c": None}


async def test_a_backup_tells_whether_its_log_is_there(
    client: Client, archiving: ArchivingInMemory, cluster: ClusterInMemory
) -> None:
    """Promise: apart from its own success, up to when the log from the backup on is complete, by place; null where the
    log began later, or a node has none; without archiving nothing is said."""
    cluster.backups[ON_SERVER] += [backup("old", 3.0, {"shop": ["users"]}), backup("new", 6.0, {"shop": ["users"]})]
    assert "commit_log" not in (await client.get(f"{C}/backups"))["new"]
    archiving.nodes = [
        NodeArchiving("127.0.70.1", "h1", "on", safe={"a": 20.0, "b": None}, since={"a": 5.0, "b": None}),
        NodeArchiving("127.0.70.2", "h2", "on", safe={"a": 18.0, "b": 9.0}, since={"a": 4.0, "b": 1.0}),
    ]
    listed = await client.get(f"{C}/backups")
    assert listed["new"]["commit_log"] == {"a": 18.0, "b": None}
    assert listed["old"]["commit_log"] == {"a": None, "b": None}
    archiving.nodes.append(NodeArchiving("127.0.70.3", "h3", "off", without="its Cassandra doesn't archive"))
    assert (await client.get(f"{C}/backups"))["new"]["commit_log"] == {"a": None, "b": None}


async def test_archiving_is_measured(
    store: SqliteStore, archiving: ArchivingInMemory, cluster: ClusterInMemory
) -> None:
    """Promise: Prometheus has the nodes without, the age of the oldest write that isn't safe, the bytes that wait and
    the gaps; of a cluster that never archived nothing, and where it is off nothing grows older."""
    metrics = ProcessMetrics("coordinator", "0")
    measures = Measures(api_of(store, cluster, archiving), metrics, "0")

    async def told(name: str) -> float | None:
        await measures.metrics(make_mocked_request("GET", "/metrics"))
        return metrics.registry.get_sample_value(f"helenus_archiving_{name}", {"cluster": "Test_Cluster"})

    assert await told("nodes_without") is None
    gap = LogGap("a", "b", 1.0, 2.0, "it was full")
    archiving.nodes = [
        NodeArchiving("127.0.70.1", "h1", "on", safe={"a": NOW - 7.0, "b": NOW - 30.0}, waiting_bytes=5, gaps=[gap]),
        NodeArchiving("127.0.70.2", "h2", "lost", without="lost", safe={"a": NOW - 3.0}, waiting_bytes=6),
    ]
    names = ("nodes_without", "lag_seconds", "waiting_bytes", "gaps")
    assert [await told(name) for name in names] == [1.0, 30.0, 11.0, 1.0]
    archiving.nodes = [NodeArchiving("127.0.70.1", "h1", "off", safe={"a": 5.0})]
    assert await told("lag_seconds") == 0.0
