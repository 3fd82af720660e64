"""The API answers as OpsCenter's text shows: paths, parameters, shapes."""

from typing import Any

from agent.wire.destinations import MASK, ON_SERVER, LocalSettings, S3Settings
from coordinator.model.cluster import ClusterNode
from coordinator.model.orders import (
    BackupOrder,
    Copy,
    DeleteOrder,
    DestinationOrder,
    RestoreOrder,
    RestoreTables,
    SyncOrder,
)
from coordinator.model.requests import RequestState
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory, backup, counts
from tests.fast.coordinator.conftest import NOW, Client

C = "/Test_Cluster"
TAG = "opscenter_adhoc_2017-03-17-15-06-09-UTC"
S3 = {
    "access_key": "AKIAIDGKF45VQXGUYIQQ",
    "access_secret": "gMizFwIoFHzIo7RrNmXUUd9zKea8hSkh6+wXLCT1",
    "path": "example-opscenter-backups-1",
    "provider": "s3",
}


async def add(client: Client, **attributes: Any) -> str:
    """Add a destination; its id."""
    told = await client.post(f"{C}/backups/destinations", {"provider": "local", "path": "/backups", **attributes})
    return str(told["destination_id"]["id"])


async def test_the_first_curl_starts_an_on_server_backup(client: Client, cluster: ClusterInMemory) -> None:
    """POST backups/run with keyspaces and no destination answers a bare request id."""
    request = await client.post(f"{C}/backups/run", {"keyspaces": ["shop", "Mixed"]})
    assert request == "00000000-0000-4000-8000-000000000001"
    assert cluster.orders == [BackupOrder(tag=TAG, time=NOW, keyspaces={"shop": [], "Mixed": []}, keep=True, copies=[])]


async def test_curls_content_type_does_not_matter(client: Client, cluster: ClusterInMemory) -> None:
    """curl -d says form-urlencoded; a body may also be missing, then all keyspaces are backed up."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, _ = await client.ask("POST", f"{C}/backups/run", data=b'{"keyspaces": ["shop"]}', headers=form)
    assert status == 200
    assert await client.post(f"{C}/backups/run/", {"keyspaces": []})
    status, _ = await client.ask("POST", f"{C}/backups/run")
    assert status == 200
    asked = [order.keyspaces for order in cluster.orders if isinstance(order, BackupOrder)]
    assert asked == [{"shop": []}, None, None]
    tags = [order.tag[-6:] for order in cluster.orders if isinstance(order, BackupOrder)]
    assert tags == ["09-UTC", "10-UTC", "11-UTC"]


async def test_destinations_are_copies_and_keep_nothing_unless_named(client: Client, cluster: ClusterInMemory) -> None:
    """OPSC_ON_SERVER beside a destination keeps the snapshot, a destination alone doesn't; throttles are MB/s."""
    place = await add(client)
    await client.post(f"{C}/backups/run", {"destinations": {place: {"throttle": "1.5"}}, "throttle": 4})
    await client.post(
        f"{C}/backups/run", {"destinations": {place: {}, ON_SERVER: {}}, "keyspaces": {"shop": ["users"]}}
    )
    await client.post(f"{C}/backups/run", {"destinations": [place], "force": "true"})
    first, second, third = (order for order in cluster.orders if isinstance(order, BackupOrder))
    assert (first.keep, first.copies, first.throttle_bytes_per_second) == (False, [Copy(place, 1_500_000)], 4_000_000)
    assert (second.keep, second.copies, second.keyspaces) == (True, [Copy(place)], {"shop": ["users"]})
    assert (third.keep, third.partial) == (False, True)


async def test_a_running_backup_tells_its_counts_in_activity_and_status(
    client: Client, cluster: ClusterInMemory
) -> None:
    """One event per backup and destination; running ones carry full_status with the counts of that destination."""
    place = await add(client, path="orion-backups-2", throttle=2)
    request = await client.post(f"{C}/backups/run", {"keyspaces": ["shop"], "destinations": {place: {}, ON_SERVER: {}}})
    cluster.tell(request, {place: {"shop": {"users": counts(1, 6)}}, ON_SERVER: {"shop": {"users": counts(6, 6)}}})
    events = await client.get(f"{C}/backup-activity")
    assert [event["destination"]["id"] for event in events] == [place, ON_SERVER]
    copied, kept = events
    assert copied["destination"] == {
        "id": place,
        "provider": "local",
        "path": "orion-backups-2",
        "shared": False,
        "throttle_bytes_per_second": "2000000",
        "delete_this": "False",
    }
    assert kept["destination"] == {"id": ON_SERVER, "provider": "server", "path": ""}
    status = copied.pop("full_status")
    assert copied | {"destination": None} == {
        "week": "201711",
        "destination": None,
        "type": "backup",
        "deleted_at": None,
        "backup_id": TAG,
        "request_id": request,
        "keyspaces": {"shop": ["orders", "users"]},
        "event_time": NOW,
        "status": "running",
    }
    assert status == {
        "id": request,
        "state": "running",
        "type": "backup",
        "asked_by": "anyone on this machine",
        "tag": TAG,
        "started": NOW,
        "finished": None,
        "cluster_id": "Test_Cluster",
        "keyspaces": {"shop": ["orders", "users"]},
        "destinations": [ON_SERVER, place],
        "details": {
            "message": "begun; no node tells of its work yet",
            "subrequests": {
                "127.0.70.1": {
                    "id": f"command of {request}",
                    "state": "running",
                    "started": NOW,
                    "finished": None,
                    "cluster_id": None,
                    "host_id": "host-1",
                    "details": {
                        "metadata": {"created": False, "errors": []},
                        "sstables": {
                            "shop": {
                                "users": {
                                    "done_files": 1,
                                    "total_files": 6,
                                    "done_size": 10,
                                    "total_size": 60,
                                    "errors": [],
                                }
                            }
                        },
                    },
                }
            },
        },
    }
    told = kept["full_status"]["details"]["subrequests"]["127.0.70.1"]["details"]["sstables"]["shop"]["users"]
    assert (told["done_files"], told["total_files"]) == (6, 6)
    whole = await client.get(f"/request/{request}/status")
    told = whole["details"]["subrequests"]["127.0.70.1"]["details"]["sstables"]["shop"]["users"]
    assert (told["done_files"], told["total_files"]) == (7, 12)


async def test_a_finished_backup_is_listed_and_its_event_has_no_full_status(
    client: Client, cluster: ClusterInMemory
) -> None:
    """The listing has OpsCenter's record; the status of the request stays readable with its nodes' counts."""
    request = await client.post(f"{C}/backups/run", {"keyspaces": ["shop"]})
    assert await client.get(f"{C}/backups") == {}
    cluster.tell(request, {ON_SERVER: {"shop": {"users": counts(6, 6)}}})
    await cluster.end(request)
    assert await client.get(f"{C}/backups") == {
        TAG: {
            "id": "adhoc",
            "keyspaces": {"shop": {"cfs": ["orders", "users"], "nodes": ["127.0.70.1"], "size": 2000}},
            "time": NOW,
            "status": "success",
        }
    }
    (event,) = await client.get(f"{C}/backup-activity?count=6")
    assert event["status"] == "success"
    assert "full_status" not in event
    status = await client.get(f"/request/{request}/status")
    assert (status["state"], status["finished"]) == ("success", NOW + 5)
    assert status["details"]["subrequests"]["127.0.70.1"]["details"]["sstables"]["shop"]["users"]["done_files"] == 6


async def test_partial_shows_as_error_and_partial(client: Client, cluster: ClusterInMemory) -> None:
    """OpsCenter has no state «partial»."""
    request = await client.post(f"{C}/backups/run", {"force": True})
    await cluster.end(request, RequestState.ERROR, partial=True)
    status = await client.get(f"/request/{request}/status")
    assert (status["state"], status["partial"]) == ("error", True)
    (event,) = await client.get(f"{C}/backup-activity")
    assert (event["status"], event["partial"]) == ("error", True)


def fill(cluster: ClusterInMemory) -> None:
    """Four backups: two by hand, two by a schedule, one of them failed."""
    cluster.backups[ON_SERVER] = [
        backup("opscenter_adhoc_2012-04-19-17-41-12-UTC", 1_334_857_272, {"shop": ["users"], "test": ["cf1"]}),
        backup("opscenter_adhoc_2012-04-19-17-41-13-UTC", 1_334_857_273, {"shop": ["users"]}),
        backup("opscenter_s1_2012-04-19-17-41-14-UTC", 1_334_857_274, {"gone": ["t"]}, by="s1"),
        backup("opscenter_s1_2012-04-19-17-41-15-UTC", 1_334_857_275, {"shop": ["users"]}, "failed", "s1"),
    ]


async def test_listings_are_paged_and_filtered(client: Client, cluster: ClusterInMemory) -> None:
    """last_seen as time (inclusive, as in the contract's example) or tag (exclusive), amount, match, list_all."""
    fill(cluster)

    async def seconds(query: str) -> list[str]:
        return [tag[-6:-4] for tag in await client.get(f"{C}/backups{query}")]

    assert await seconds("") == ["14", "13", "12"]
    assert await seconds("?list_all=1") == ["15", "14", "13", "12"]
    assert await seconds("?last_seen=1334857272") == ["12"]
    assert await seconds("?amount=1") == ["14"]
    assert await seconds("?amount=2&last_seen=opscenter_s1_2012-04-19-17-41-14-UTC") == ["13", "12"]
    assert await seconds("?amount=0") == []
    assert await seconds("?match=adhoc") == ["13", "12"]
    assert await seconds("?match=s1") == ["14"]
    assert await seconds("?destination=OPSC_ON_SERVER&amount=1") == ["14"]
    place = await add(client)
    assert await seconds(f"?destination={place}") == []


async def test_a_keyspaces_listing_shows_that_keyspace_only(client: Client, cluster: ClusterInMemory) -> None:
    """Also of a keyspace that was dropped; a live one without backups is an empty listing."""
    fill(cluster)
    listing = await client.get(f"{C}/backups/test")
    assert list(listing) == ["opscenter_adhoc_2012-04-19-17-41-12-UTC"]
    assert list(listing["opscenter_adhoc_2012-04-19-17-41-12-UTC"]["keyspaces"]) == ["test"]
    assert len(await client.get(f"{C}/backups/gone")) == 1
    assert await client.get(f"{C}/backups/Mixed/") == {}
    cluster.tables["run"] = ["t"]
    assert await client.get(f"{C}/backups/run") == {}


async def test_a_delete_answers_a_request_that_tells_the_bytes_freed(client: Client, cluster: ClusterInMemory) -> None:
    """Options as query parameters, as curl shows them; the page's own sentence for remove_destination is no yes."""
    place = await add(client)
    cluster.backups[place] = [backup(TAG, NOW, {"shop": ["users"]}), backup("other", NOW, {"shop": ["users"]})]
    status, request = await client.ask(
        "DELETE", f"{C}/backups?tag={TAG}&destination={place}&remove_destination=Delete%20Backup%20Data"
    )
    assert status == 200
    assert cluster.orders[-1] == DeleteOrder(TAG, place)
    await cluster.end(request, result={"bytes_freed": 2000})
    assert (await client.get(f"/request/{request}/status"))["details"]["bytes_freed"] == 2000
    body = {"tag": "other", "destination": place, "remove_destination": True}
    status, _ = await client.ask("DELETE", f"{C}/backups", json=body)
    assert status == 200
    assert cluster.orders[-1] == DeleteOrder("other", place, remove_destination=True)


async def test_restore_takes_every_option_at_its_path(client: Client, cluster: ClusterInMemory) -> None:
    """Whole backup with per-keyspace options, one keyspace, one table; hyphen and underscore alike."""
    place = await add(client)
    for where in (ON_SERVER, place):
        cluster.backups[where] = [backup(TAG, NOW, {"shop": ["orders", "users"], "Mixed": ["Case"]})]
    at = f"{C}/backups/restore/{TAG}"
    await client.post(
        at,
        {
            "throttle": 10,
            "excluded-nodes": ["192.168.100.7"],
            "destination": place,
            "force": True,
            "force_schema": "1",
            "keyspaces": {"shop": {"column-families": ["users"], "truncate": True}, "Mixed": {"truncate": False}},
        },
    )
    assert cluster.orders[-1] == RestoreOrder(
        tag=TAG,
        destination=place,
        keyspaces={"shop": RestoreTables(["users"], True), "Mixed": RestoreTables([], False)},
        throttle_bytes_per_second=10_000_000,
        excluded_nodes=["192.168.100.7"],
        force=True,
        force_schema=True,
    )
    await client.post(at, {"truncate": True, "keyspaces": ["shop"]})
    assert cluster.orders[-1] == RestoreOrder(tag=TAG, keyspaces={"shop": RestoreTables([], True)}, truncate=True)
    await client.post(f"{at}/shop", {"column_families": ["orders"], "truncate": True, "excluded_nodes": "10.0.0.1"})
    assert cluster.orders[-1] == RestoreOrder(
        tag=TAG, keyspaces={"shop": RestoreTables(["orders"], True)}, truncate=True, excluded_nodes=["10.0.0.1"]
    )
    await client.post(f"{at}/Mixed/Case/", {"destination": ON_SERVER})
    assert cluster.orders[-1] == RestoreOrder(tag=TAG, keyspaces={"Mixed": RestoreTables(["Case"])})
    await client.post(at, {"truncate": True})
    assert cluster.orders[-1] == RestoreOrder(tag=TAG, truncate=True)


async def test_sync_copies_a_backup_to_destinations(client: Client, cluster: ClusterInMemory) -> None:
    """As the contract's curl; its event is a backup at the destination."""
    place = await add(client)
    cluster.backups[ON_SERVER] = [backup(TAG, NOW, {"shop": ["users"]})]
    request = await client.post(f"{C}/backups/sync", {"tag": TAG, "destinations": {place: {}}})
    assert cluster.orders[-1] == SyncOrder(TAG, [Copy(place)])
    (event,) = await client.get(f"{C}/backup-activity")
    assert (event["type"], event["destination"]["id"], event["request_id"]) == ("backup", place, request)


async def test_a_destination_is_added_shown_masked_updated_and_deleted(
    client: Client, cluster: ClusterInMemory
) -> None:
    """The literal key destination_id holds the attributes with the new id; a mask sent back means «unchanged»."""
    told = await client.post(f"{C}/backups/destinations", S3)
    place = told["destination_id"]["id"]
    assert set(told) == {"destination_id", "request_id"}
    assert len(place) == 32
    assert told["destination_id"]["access_secret"] == MASK
    shown = await client.get(f"{C}/backups/destinations/{place}")
    assert {name: shown[name] for name in S3} == {**S3, "access_secret": MASK}
    assert await client.get(f"{C}/backups/destinations") == {place: shown}

    await client.post(f"{C}/backups/destinations", {"id": place, **shown, "connections": "8", "delete_this": False})
    order = cluster.orders[-1]
    assert isinstance(order, DestinationOrder)
    assert isinstance(order.settings, S3Settings)
    assert (order.action, order.settings.connections) == ("update", 8)
    assert order.settings.access_secret == S3["access_secret"]

    for changed in ({**shown, "endpoint": "https://elsewhere.example"}, {"endpoint": "https://elsewhere.example"}):
        status, refused = await client.ask("POST", f"{C}/backups/destinations", json={"id": place, **changed})
        assert (status, refused["fields"]["field"]) == (400, "access_secret")

    status, request = await client.ask("DELETE", f"{C}/backups/destinations/{place}")
    assert (status, type(request)) == (200, str)
    assert await client.get(f"{C}/backups/destinations") == {}


async def test_the_answer_of_an_update_warns_of_backups_that_stay_behind(client: Client) -> None:
    """Ours, beside the literal keys and only when there is something to say."""
    place = await add(client)
    told = await client.post(f"{C}/backups/destinations", {"id": place, "path": "/elsewhere"})
    assert set(told) == {"destination_id", "request_id", "warnings"}
    assert told["warnings"] == ["backups stay at the former place"]
    told = await client.post(f"{C}/backups/destinations", {"id": place, "throttle": 1})
    assert set(told) == {"destination_id", "request_id"}


async def test_delete_this_deletes_a_named_one_and_makes_a_new_one_single_use(
    client: Client, cluster: ClusterInMemory
) -> None:
    """The key's two meanings: with an id at once, without one after the first backup."""
    place = await add(client, delete_this=True, shared="true")
    assert cluster.orders[-1] == DestinationOrder("add", place, LocalSettings("/backups", True), one_shot=True)
    told = await client.post(f"{C}/backups/destinations", {"id": place, "delete_this": "true"})
    assert told["destination_id"] == {"id": place}
    assert await client.get(f"{C}/backups/destinations") == {}


async def test_opscenters_boolean_for_encryption_at_rest_is_understood(
    client: Client, cluster: ClusterInMemory
) -> None:
    """server_side_encryption was true or false there."""
    told = await client.post(f"{C}/backups/destinations", {**S3, "server_side_encryption": True, "compressed": False})
    assert told["destination_id"]["server_side_encryption"] is True
    stored = await cluster.store.destinations.get("Test_Cluster", told["destination_id"]["id"])
    assert stored is not None
    assert isinstance(stored.settings, S3Settings)
    assert stored.settings.server_side_encryption == "AES256"
    told = await client.post(f"{C}/backups/destinations", {**S3, "server_side_encryption": "False"})
    assert told["destination_id"]["server_side_encryption"] is False
    told = await client.post(f"{C}/backups/destinations", {**S3, "server_side_encryption": "aws:kms"})
    assert told["destination_id"]["server_side_encryption"] == "aws:kms"


async def test_clusters_are_named_by_id_or_name_and_list_their_nodes(client: Client, cluster: ClusterInMemory) -> None:
    """GET /cluster-configs is keyed by id; a path takes the name as well; a node is known by node_ip."""
    assert await client.get("/cluster-configs") == {
        "Test_Cluster": {"name": "Test Cluster", "agents": {"urls": ["http://127.0.70.1:61621"]}}
    }
    cluster.members = [
        ClusterNode("127.0.70.2", "h2", "", False, state="NORMAL", up=False),
        ClusterNode(
            "127.0.70.1",
            "h1",
            "http://a",
            True,
            version="5.0.9",
            agent_version="0.1",
            state="NORMAL",
            up=True,
            tokens=["-5"],
            held_bytes=4_096,
            strays=["lost"],
        ),
    ]
    first, second = await client.get("/Test%20Cluster/nodes/")
    assert (first["node_ip"], first["mode"], first["agent"]["up"]) == ("127.0.70.1", "normal", True)
    assert first["node_version"] == {"cassandra": "5.0.9", "agent": "0.1"}
    assert (second["node_ip"], second["agent"]["url"]) == ("127.0.70.2", None)
    assert (first["up"], second["up"]) == (True, False)
    assert (first["data_held"], second["data_held"]) == (4_096, None)
    assert (first["stray_snapshots"]["tags"], "stray_snapshots" in second) == (["lost"], False)
    assert "clearsnapshot -t" in first["stray_snapshots"]["todo"]


async def test_a_cancel_is_noted_and_answered_with_the_id(client: Client, cluster: ClusterInMemory) -> None:
    """Ours: POST /request/{id}/cancel; the status shows it until the request ends."""
    request = await client.post(f"{C}/backups/run")
    assert await client.post(f"/request/{request}/cancel", {"force": True}) == request
    assert (await client.get(f"/request/{request}/status"))["details"]["cancelling"] == "force"
    await cluster.end(request, RequestState.CANCELLED)
    status, error = await client.ask("POST", f"/request/{request}/cancel")
    assert (status, error["code"]) == (409, "request_finished")
