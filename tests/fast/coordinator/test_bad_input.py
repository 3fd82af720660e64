"""Bad input is a clear error in OpsCenter's form that names the field, and nothing is begun."""

import io
import json
from typing import Any
from urllib.parse import quote

import pytest

from agent.wire.destinations import MASK
from tests.fast.coordinator.cluster_in_memory import WRONG_SECRET, ClusterInMemory, backup
from tests.fast.coordinator.conftest import MOST, NOW, Client

C = "/Test_Cluster"
TAG = "opscenter_adhoc_2017-03-17-15-06-09-UTC"
RUN, SYNC, PLACES = f"{C}/backups/run", f"{C}/backups/sync", f"{C}/backups/destinations"
RESTORE = f"{C}/backups/restore/{TAG}"
ODD_NAMES = ["../etc", "a\0b", "x" * 300, '"quoted"', "a b", "ä", "", "a/b", "a\nb", ".", ".."]


def in_form(body: Any) -> bool:
    """Whether it is an error as OpsCenter's clients read it, with our keys beside."""
    return set(body) == {"brief", "message", "type", "code", "todo", "fields"} and body["brief"] == "error"


WRONG: list[tuple[str, str, Any, str]] = [
    ("POST", RUN, {"keyspaces": 5}, "keyspaces"),
    ("POST", RUN, {"keyspaces": [5]}, "keyspaces"),
    ("POST", RUN, {"keyspaces": {"shop": 5}}, "keyspaces.shop"),
    ("POST", RUN, {"keyspaces": {"shop": {"colum-families": []}}}, "keyspaces.shop.colum_families"),
    ("POST", RUN, {"keyspaces": ["nobody"]}, "keyspaces"),
    ("POST", RUN, {"keyspaces": {"shop": ["nobody"]}}, "column-families"),
    ("POST", RUN, {"destinations": 7}, "destinations"),
    ("POST", RUN, {"destinations": {"OPSC_ON_SERVER": []}}, "destinations.OPSC_ON_SERVER"),
    ("POST", RUN, {"destinations": {"OPSC_ON_SERVER": {"compressed": True}}}, "destinations.OPSC_ON_SERVER.compressed"),
    ("POST", RUN, {"cleanup_age": -1}, "cleanup_age"),
    ("POST", RUN, {"cleanup_age": 3, "cleanup_age_unit": "years"}, "cleanup_age_unit"),
    ("POST", RUN, {"cleanup_floor": 0}, "cleanup_floor"),
    ("POST", RUN, {"cleanup_count": 1.5}, "cleanup_count"),
    ("POST", RUN, {"throttle": -1}, "throttle"),
    ("POST", RUN, {"throttle": "fast"}, "throttle"),
    ("POST", RUN, {"throttle": True}, "throttle"),
    ("POST", RUN, {"throttle": 1e300}, "throttle"),
    ("POST", RUN, {"throttle": 1e-9}, "throttle"),
    ("POST", RUN, {"force": "perhaps"}, "force"),
    ("POST", RUN, {"force": [True]}, "force"),
    ("POST", RUN, {"pre_snapshot_script": "./rm"}, "pre_snapshot_script"),
    ("POST", RUN, {"type": "best-practice"}, "type"),
    ("POST", RUN, {"keyspace": ["shop"]}, "keyspace"),
    ("POST", SYNC, {}, "tag"),
    ("POST", SYNC, {"tag": ["x"], "destinations": {}}, "tag"),
    ("POST", SYNC, {"tag": "../x"}, "tag"),
    ("POST", SYNC, {"tag": TAG}, "destinations"),
    ("POST", SYNC, {"tag": TAG, "destinations": ["OPSC_ON_SERVER"]}, "destinations"),
    ("DELETE", f"{C}/backups", None, "tag"),
    ("DELETE", f"{C}/backups?tag=-rf", None, "tag"),
    ("DELETE", f"{C}/backups?tag={TAG}&destinaton=x", None, "destinaton"),
    ("DELETE", f"{C}/backups?tag={TAG}&remove_destination=true", None, "remove_destination"),
    ("DELETE", f"{C}/backups?tag={TAG}&dry_run=perhaps", None, "dry_run"),
    ("DELETE", f"{C}/backups?tag={TAG}&dry_run=", None, "dry_run"),
    ("DELETE", f"{C}/backups", {"tag": 5}, "tag"),
    ("POST", RESTORE, {"truncat": True}, "truncat"),
    ("POST", RESTORE, {"truncate": "maybe"}, "truncate"),
    ("POST", RESTORE, {"keyspaces": {"shop": True}}, "keyspaces.shop"),
    ("POST", RESTORE, {"keyspaces": {"shop": {"column-families": [None]}}}, "keyspaces.shop.column-families"),
    ("POST", RESTORE, {"keyspaces": {"shop": {"truncate": 3}}}, "keyspaces.shop.truncate"),
    ("POST", RESTORE, {"excluded-nodes": {"a": 1}}, "excluded-nodes"),
    ("POST", RESTORE, {"excluded-nodes": [1]}, "excluded-nodes"),
    ("POST", RESTORE, {"excluded-nodes": [], "excluded_nodes": []}, "excluded_nodes"),
    ("POST", RESTORE, {"destination": {}}, "destination"),
    ("POST", f"{RESTORE}/shop", {"keyspaces": ["shop"]}, "keyspaces"),
    ("POST", f"{RESTORE}/shop/users", {"column-families": ["users"]}, "column_families"),
    ("POST", f"{RESTORE}/nobody", {}, "keyspaces"),
    ("POST", f"{RESTORE}/shop/nobody", {}, "column-families"),
    ("POST", f"{C}/backups/restore/-rf", {}, "tag"),
    ("POST", PLACES, {}, "provider"),
    ("POST", PLACES, {"provider": "ftp", "path": "/x"}, "provider"),
    ("POST", PLACES, {"provider": ["s3"], "path": "/x"}, "provider"),
    ("POST", PLACES, {"provider": "local"}, "path"),
    ("POST", PLACES, {"provider": "local", "path": 5}, "path"),
    ("POST", PLACES, {"provider": "local", "path": "/"}, "path"),
    ("POST", PLACES, {"provider": "local", "path": "/a/../b"}, "path"),
    ("POST", PLACES, {"provider": "local", "path": "/a\0b"}, "path"),
    ("POST", PLACES, {"provider": "local", "path": "/" + "a" * 2000}, "path"),
    ("POST", PLACES, {"provider": "local", "path": "/a", "compressed": "true"}, "compressed"),
    ("POST", PLACES, {"provider": "local", "path": "/a", "access_key": "x"}, "access_key"),
    ("POST", PLACES, {"provider": "local", "path": "/a", "shared": "who knows"}, "shared"),
    ("POST", PLACES, {"provider": "local", "path": "/a", "throttle": 1, "throttle_bytes_per_second": 1}, "throttle"),
    ("POST", PLACES, {"provider": "local", "path": "/a", "delete_this": "soon"}, "delete_this"),
    ("POST", PLACES, {"provider": "s3", "path": "bucket", "connections": 65}, "connections"),
    ("POST", PLACES, {"provider": "s3", "path": "bucket", "connections": 0}, "connections"),
    ("POST", PLACES, {"provider": "s3", "path": "bucket", "access_key": "AK"}, "access_secret"),
    ("POST", PLACES, {"provider": "s3", "path": "bucket", "access_key": "A", "access_secret": MASK}, "access_secret"),
    ("POST", PLACES, {"provider": "s3", "path": "bucket", "endpoint": "http://u:p@host"}, "endpoint"),
    ("POST", PLACES, {"provider": "s3", "path": "bucket", "endpoint": "file:///etc"}, "endpoint"),
    ("POST", PLACES, {"provider": "s3", "path": "bucket", "checksum": "MD5"}, "checksum"),
    ("POST", PLACES, {"provider": "gcs", "path": "bucket", "connections": 65}, "connections"),
    ("POST", PLACES, {"provider": "gcs", "path": "bucket", "endpoint": "http://u:p@host"}, "endpoint"),
    ("POST", PLACES, {"provider": "gcs", "path": "bucket", "access_key": "AK"}, "access_key"),
    ("POST", PLACES, {"provider": "gcs", "path": "bucket", "service_account_key": {}}, "service_account_key"),
    ("POST", PLACES, {"provider": "azure", "path": "c"}, "account"),
    ("POST", PLACES, {"provider": "azure", "path": "c", "account": "A(b", "endpoint": "http://h"}, "account"),
    ("POST", PLACES, {"provider": "azure", "path": "/c", "account": "acme"}, "path"),
    ("POST", PLACES, {"provider": "azure", "path": "c", "account": "acme", "endpoint": "http://h/else"}, "endpoint"),
    ("POST", PLACES, {"provider": "azure", "path": "c", "account": "acme", "connections": 65}, "connections"),
    ("POST", PLACES, {"provider": "azure", "path": "c", "account": "a1b", "account_key": MASK}, "account_key"),
    (
        "POST",
        PLACES,
        {"provider": "azure", "path": "c", "account": "acme", "account_key": "a", "sas_token": "b"},
        "sas_token",
    ),
    ("POST", PLACES, {"id": 5, "provider": "local", "path": "/a"}, "id"),
    ("GET", f"{C}/backups?amount=many", None, "amount"),
    ("GET", f"{C}/backups?amount=-1", None, "amount"),
    ("GET", f"{C}/backups?list_all=perhaps", None, "list_all"),
    ("GET", f"{C}/backups?last_seen=yesterday", None, "last_seen"),
    ("GET", f"{C}/backups?last_seen=" + "9" * 30, None, "last_seen"),
    ("GET", f"{C}/backups/nobody", None, "ks_name"),
    ("GET", f"{C}/backup-activity?count=x", None, "count"),
    ("GET", f"{C}/backup-activity?timestamp=1.5", None, "timestamp"),
    ("GET", f"{C}/backup-activity?filter_type=party", None, "filter_type"),
    ("GET", f"{C}/backup-activity?first_backup_id=nobody", None, "first_backup_id"),
]


@pytest.mark.parametrize(("method", "path", "body", "field"), WRONG)
async def test_a_wrong_value_is_a_400_that_names_the_field(
    client: Client, cluster: ClusterInMemory, method: str, path: str, body: Any, field: str
) -> None:
    """InvalidArguments, the field in `fields`, and no order reaches the orchestrator."""
    cluster.backups["OPSC_ON_SERVER"] = [backup(TAG, NOW, {"shop": ["orders", "users"]})]
    status, told = await client.ask(method, path, **({} if body is None else {"json": body}))
    assert status == 400, told
    assert in_form(told)
    assert (told["type"], told["fields"]["field"]) == ("InvalidArguments", field)
    assert told["todo"]
    assert cluster.orders == []


UNKNOWN = [
    ("GET", "/nobody/backups", "NoSuchCluster"),
    ("GET", "/nobody/nodes", "NoSuchCluster"),
    ("GET", "/nobody/backup-activity", "NoSuchCluster"),
    ("POST", "/nobody/backups/run", "NoSuchCluster"),
    ("DELETE", f"/nobody/backups?tag={TAG}", "NoSuchCluster"),
    ("GET", "/%2E%2E%2Fetc/backups", "NoSuchCluster"),
    ("GET", "/a%00b/backups", "NoSuchCluster"),
    ("GET", f"{C}/backups?destination=nobody", "NoSuchDestination"),
    ("GET", f"{PLACES}/nobody", "NoSuchDestination"),
    ("DELETE", f"{PLACES}/nobody", "NoSuchDestination"),
    ("DELETE", f"{C}/backups?tag={TAG}&destination=nobody", "NoSuchDestination"),
    ("DELETE", f"{C}/backups?tag={TAG}", "NoSuchBackup"),
    ("POST", RESTORE, "NoSuchBackup"),
    ("GET", f"{C}/job-schedules/nobody", "NoSuchSchedule"),
    ("DELETE", f"{C}/job-schedules/a%00b", "NoSuchSchedule"),
    ("GET", "/request/nobody/status", "NoSuchRequest"),
    ("GET", "/request/a%00b/status", "NoSuchRequest"),
    ("POST", "/request/nobody/cancel", "NoSuchRequest"),
    ("GET", f"{C}/backups/pit/nowhere", "NotFound"),
    ("GET", f"{C}/backups/graphs/{TAG}/x", "NoSuchDestination"),
    ("GET", f"{C}/nodes/x", "NoSuchNode"),
    ("GET", "/", "NotFound"),
    ("GET", "//etc/passwd", "NotFound"),
]


@pytest.mark.parametrize(("method", "path", "kind"), UNKNOWN)
async def test_an_unknown_thing_is_a_404_of_its_own_type(client: Client, method: str, path: str, kind: str) -> None:
    """Also paths of OpsCenter's API that are not built."""
    status, told = await client.ask(method, path)
    assert (status, told["type"]) == (404, kind)
    assert in_form(told)


async def test_an_unknown_cluster_is_told_in_opscenters_words(client: Client) -> None:
    """Clients look for the sentence."""
    _, told = await client.ask("GET", "/nobody/backups")
    assert told["message"] == "There are no clusters with name or ID 'nobody'"


@pytest.mark.parametrize("path", [RUN, SYNC, RESTORE, PLACES, f"{RESTORE}/shop"])
@pytest.mark.parametrize(
    "raw",
    [
        b"keyspaces=shop",
        b'{"keyspaces": ["shop"],}',
        b"[]",
        b'"text"',
        b"5",
        b"null",
        b"{'a': 1}",
        b"\xff\xfe{}",
        b'{"a": NaN}',
        b'{"keyspaces": "\\ud800"}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(
    client: Client, cluster: ClusterInMemory, path: str, raw: bytes
) -> None:
    """Broken, deeply nested, of another type, not UTF-8."""
    status, told = await client.ask("POST", path, data=raw)
    assert status == 400
    assert in_form(told)
    assert cluster.orders == []


@pytest.mark.parametrize("path", [RUN, RESTORE, PLACES])
async def test_a_body_that_is_too_large_is_a_413(client: Client, cluster: ClusterInMemory, path: str) -> None:
    """Nobody fills the coordinator's memory."""
    status, told = await client.ask("POST", path, data=io.BytesIO(b'{"a": "' + b"x" * MOST + b'"}'))
    assert (status, told["code"], told["fields"]) == (413, "body_too_large", {"most": MOST})
    assert f"larger than {MOST} bytes" in told["message"]
    assert in_form(told)
    assert cluster.orders == []


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_odd_names_are_refused_wherever_they_stand(client: Client, cluster: ClusterInMemory, name: str) -> None:
    """../, NUL, 300 bytes, quotes: in bodies, paths and queries."""
    cluster.backups["OPSC_ON_SERVER"] = [backup(TAG, NOW, {"shop": ["users"]})]
    in_path = quote(name, safe="").replace(".", "%2E")
    asked: list[tuple[str, str, Any]] = [
        ("POST", RUN, {"keyspaces": [name]}),
        ("POST", RUN, {"keyspaces": {"shop": [name]}}),
        ("POST", RESTORE, {"keyspaces": {"shop": {"column-families": [name]}}}),
        ("POST", f"{RESTORE}/shop", {"column-families": [name]}),
        ("POST", f"{RESTORE}/{in_path}", {}),
        ("POST", f"{RESTORE}/shop/{in_path}", {}),
        ("POST", f"{C}/backups/restore/{in_path}", {}),
        ("POST", SYNC, {"tag": name, "destinations": ["x"]}),
        ("POST", RUN, {"destinations": {name: {}}}),
        ("DELETE", f"{C}/backups?tag={in_path}", None),
        ("GET", f"{C}/backups/{in_path}", None),
        ("GET", f"{PLACES}/{in_path}", None),
        ("DELETE", f"{PLACES}/{in_path}", None),
    ]
    for method, path, body in asked:
        if name == "" and method != "DELETE" and path.endswith("/"):
            continue  # without a name it is the shorter path, which is another request
        if name == "" and path.endswith("destinations/"):
            continue
        status, told = await client.ask(method, path, **({} if body is None else {"json": body}))
        assert status in (400, 404), (method, path, told)
        assert in_form(told)
        assert "\0" not in json.dumps(told)
    assert cluster.orders == []


async def test_a_method_that_is_not_served_is_a_405(client: Client) -> None:
    """In the same form."""
    status, told = await client.ask("PUT", f"{C}/backups")
    assert (status, told["type"]) == (405, "MethodNotAllowed")
    assert in_form(told)


async def test_compression_is_refused_by_its_own_code(client: Client) -> None:
    """Until it exists: never quietly stored uncompressed."""
    _, told = await client.ask("POST", PLACES, json={"provider": "local", "path": "/a", "compressed": True})
    assert told["code"] == "compression_not_available"


async def test_a_store_that_the_agents_refuse_is_not_added(client: Client, cluster: ClusterInMemory) -> None:
    """The agents try the real store first; what they say is the answer."""
    body = {"provider": "s3", "path": "bucket", "access_key": "AK", "access_secret": WRONG_SECRET}
    status, told = await client.ask("POST", PLACES, json=body)
    assert (status, told["code"]) == (400, "destination_check_failed")
    assert await client.get(PLACES) == {}


async def test_a_secret_is_never_repeated(client: Client, cluster: ClusterInMemory) -> None:
    """Not in answers, listings, activity, request status or errors, wherever it was put by mistake (I9)."""
    secret = "gMizFwIoFHzIo7RrNmXUUd9zKea8hSkh6"
    body = {"provider": "s3", "path": "bucket", "access_key": "AK", "access_secret": secret}
    added = await client.post(PLACES, body)
    place = added["destination_id"]["id"]
    request = await client.post(RUN, {"destinations": {place: {}}})
    told = [
        added,
        await client.get(PLACES),
        await client.get(f"{PLACES}/{place}"),
        await client.get(f"{C}/backup-activity"),
        await client.get(f"/request/{request}/status"),
        await client.get(f"/request/{added['request_id']}/status"),
        await client.ask("POST", PLACES, json={**body, "connections": [secret]}),
        await client.ask("POST", PLACES, json={**body, "checksum": secret}),
        await client.ask("POST", PLACES, json={**body, "access_secret": {"text": secret}}),
        await client.ask("POST", PLACES, json={**body, "server_side_encryption": secret}),
        await client.ask("POST", PLACES, json={**body, "access_secret": f"{secret}\0"}),
    ]
    assert secret not in json.dumps(told)


async def test_what_is_needed_by_something_running_answers_409(client: Client, cluster: ClusterInMemory) -> None:
    """A running restore pins its backup and its destination."""
    place = (await client.post(PLACES, {"provider": "local", "path": "/a"}))["destination_id"]["id"]
    cluster.backups[place] = [backup(TAG, NOW, {"shop": ["users"]})]
    request = await client.post(RESTORE, {"destination": place})
    for path in (f"{C}/backups?tag={TAG}&destination={place}", f"{PLACES}/{place}"):
        status, told = await client.ask("DELETE", path)
        assert (status, told["type"], told["fields"]["request"]) == (409, "Conflict", request)
        assert in_form(told)


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}, {"Host": "evil.example:8888"}],
)
async def test_web_pages_of_other_sites_are_kept_out(
    client: Client, cluster: ClusterInMemory, headers: dict[str, str]
) -> None:
    """A browser would post text/plain for any page, and bodies are taken whatever their type."""
    status, told = await client.ask("POST", RUN, data=b"{}", headers=headers)
    assert (status, told["code"]) == (403, "foreign_origin")
    assert cluster.orders == []
    status, _ = await client.ask("POST", RUN, data=b"{}", headers={"Origin": client.url})
    assert status == 200


async def test_a_fault_of_the_coordinator_is_a_500_without_its_inside(
    client: Client, cluster: ClusterInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracebacks go to the log."""

    async def broken(_: str) -> list[Any]:
        raise RuntimeError("inside")

    monkeypatch.setattr(cluster, "nodes", broken)
    status, told = await client.ask("GET", f"{C}/nodes")
    assert (status, told["code"]) == (500, "internal")
    assert in_form(told)
    assert "inside" not in json.dumps(told)


async def test_half_a_surrogate_pair_is_named(client: Client) -> None:
    """Such a body is well-formed JSON of an impossible text: «truncated» would send people looking elsewhere."""
    status, told = await client.ask("POST", RUN, data=b'{"keyspaces": ["\\ud800"]}')
    assert (status, told["fields"]["field"]) == (400, "body")
    assert "surrogate" in told["message"]
    assert in_form(told)
