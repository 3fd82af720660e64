"""Each example of the OpsCenter text, sent as it is printed (made strict JSON), and the answer compared with the
printed one key by key, types too. The ids are the text's own; only its excluded node has another address here."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agent.wire.commands import Kind
from agent.wire.destinations import MASK
from tests.cluster.opscenter_examples import Example, differences, examples
from tests.cluster.toy_archiving import grows
from tests.cluster.toy_service import TEXT_CLUSTER
from tests.orchestrate.golden.conftest import EXCLUDED, Told

EXAMPLES = {name: example.with_words(EXCLUDED) for name, example in examples().items()}
C = f"/{TEXT_CLUSTER}"
PLACE = "fe85800f3f4043a88fbe76fc45b22b19"
FIRST = "06747042-5a9a-45e7-8fa0-297abb68448f"
RESTORED = "opscenter_4a269167-96c1-40c7-84b7-b070c6bcd0cd_2012-06-07-18-00-00-UTC"
ADHOC = "opscenter_adhoc_2017-03-17-15-06-09-UTC"


async def send(told: Told, name: str, status: int = 200) -> Any:
    """The answer of an example that has this status."""
    example: Example = EXAMPLES[name]
    found, answer = await told.service.ask(example.method, example.path, example.body)
    assert found == status, answer
    return answer


async def nothing(told: Told) -> None:
    """The example needs nothing to be there."""


async def place(told: Told) -> None:
    await told.destination(PLACE)


async def synced(told: Told) -> None:
    await told.destination(PLACE)
    await told.backup("opscenter_adhoc_2017-07-28-20-04-40-UTC")


async def deleted(told: Told) -> None:
    await told.destination("bdcff9240b614ebda64938bafb2abb09")
    await told.backup("opscenter_adhoc_2015-10-15-21-48-47-UTC", "bdcff9240b614ebda64938bafb2abb09", keep=False)


async def kept(told: Told) -> None:
    await told.backup(RESTORED)


async def stored(told: Told) -> None:
    await told.destination(PLACE)
    await told.backup(RESTORED, PLACE, keep=False)


async def archived(told: Told) -> None:
    await told.destination("9e626c6098ab48e9bcfb8f3d60dbf9ff")


async def added(told: Told) -> None:
    await told.destination(FIRST)


async def forgotten(told: Told) -> None:
    await told.destination("fee2232c-48ac-11e2-b1b9-e0b9a54a6d93")


REQUESTS: dict[str, Callable[[Told], Awaitable[None]]] = {
    "run-on-server": nothing,
    "run-to-a-destination": place,
    "sync": synced,
    "delete-a-backup": deleted,
    "enable-pit": archived,
    "disable-pit": nothing,
    "restore-on-server": kept,
    "restore-from-a-destination": stored,
    "restore-keyspace-on-server": kept,
    "restore-keyspace-from-a-destination": stored,
    "restore-table-on-server": kept,
    "restore-table-from-a-destination": stored,
    "delete-a-destination": forgotten,
}
"""Examples that answer a request's id, and what must be there before."""
OTHERS = {
    "backup-activity", "backups", "get-pit", "pit-logs", "pit-check", "pit-run", "graphs", "destinations",
    "destination", "add-a-destination", "edit-a-destination",
}  # fmt: skip
"""Examples that the other tests here send."""


def test_no_example_is_left_out() -> None:
    """Promise: every command of the text is sent by a test here."""
    assert EXAMPLES.keys() == REQUESTS.keys() | OTHERS


@pytest.mark.parametrize("name", REQUESTS)
async def test_what_orders_something_answers_a_requests_id(told: Told, name: str) -> None:
    """Promise: a bare JSON text, and under it the request that carries the order out to its end."""
    await REQUESTS[name](told)
    request = await send(told, name)
    assert differences(EXAMPLES[name].printed, request) == []
    status = await told.service.ended(request)
    well = status["state"] == "success" or (status["partial"] and "excluded-nodes" in (EXAMPLES[name].body or ""))
    assert well, status


async def test_the_activity_tells_of_a_running_and_of_an_ended_backup(told: Told) -> None:
    """Promise: one event per destination, with OpsCenter's keys; a running one has the request's whole status."""
    running = "140a4904e0da4e4e9e3dcbf8d21b56d6"
    await told.destination(running, "orion-backups-2")
    await told.backup(ADHOC)
    for node in told.service.world.nodes:
        node.gates[Kind.UPLOAD] = asyncio.Event()
    _, request = await told.service.ask("POST", f"{C}/backups/run", f'{{"destinations": ["{running}"]}}')
    async with asyncio.timeout(20):
        await asyncio.gather(*(node.begun[Kind.UPLOAD].wait() for node in told.service.world.nodes))
    events = await send(told, "backup-activity")
    ended_shape, running_shape = EXAMPLES["backup-activity"].printed
    assert [event["destination"]["id"] for event in events] == [running, "OPSC_ON_SERVER"]
    assert differences(running_shape, events[0]) == []
    assert differences(ended_shape, events[1]) == []
    assert "full_status" not in events[1]
    subrequests = events[0]["full_status"]["details"]["subrequests"]
    assert set(subrequests) == {node.address for node in told.service.world.nodes}
    assert all(each["details"]["sstables"]["OpsCenter"]["rollups60"] for each in subrequests.values())
    for node in told.service.world.nodes:
        node.gates.pop(Kind.UPLOAD).set()
    assert (await told.service.ended(request))["state"] == "success"


async def test_backups_are_listed_up_to_a_time(told: Told) -> None:
    """Promise: the backup of the very second is in, a later one isn't; its record has OpsCenter's keys, and so has that
    of one keyspace."""
    await told.backup("opscenter_adhoc_2012-04-19-17-41-12-UTC")
    await told.backup("opscenter_adhoc_2012-04-19-17-41-13-UTC")
    for path in ("", "/test"):
        listing = await send(told, "backups") if not path else None
        if listing is None:
            _, listing = await told.service.ask("GET", f"{C}/backups{path}?last_seen=1334857272")
        assert list(listing) == ["opscenter_adhoc_2012-04-19-17-41-12-UTC"]
        assert differences(EXAMPLES["backups"].printed, listing, "<names>") == []
        [record] = listing.values()
        assert (record["id"], record["time"]) == ("adhoc", 1334857272)
        assert set(record["keyspaces"]["test"]["cfs"]) == {"cf1", "cf2"}
    assert list(record["keyspaces"]) == ["test"]


async def test_archiving_is_told_as_it_was_ordered(told: Told) -> None:
    """Promise: what was switched on is told back with OpsCenter's keys; the logs tell a time for each node."""
    await told.destination("9e626c6098ab48e9bcfb8f3d60dbf9ff")
    await told.service.ended(await send(told, "enable-pit"))
    answer = await send(told, "get-pit")
    assert differences(EXAMPLES["get-pit"].printed, answer) == []
    assert answer["destinations"] == {
        "OPSC_ON_SERVER": {"compressed": False},
        "9e626c6098ab48e9bcfb8f3d60dbf9ff": {"compressed": True, "throttle": 10.0},
    }
    assert (answer["enabled"], answer["backup_directory"]) == (True, "/var/tmp")
    times = {agent.node.address: grows(agent.log) for agent in told.service.agents}
    logs = await send(told, "pit-logs")
    assert (differences(EXAMPLES["pit-logs"].printed, logs, "<names>"), logs) == ([], times)
    await told.service.ended(await send(told, "disable-pit"))
    assert (await send(told, "get-pit"))["enabled"] is False


@pytest.mark.parametrize(("name", "moment"), [("pit-check", "01:32:00"), ("pit-run", "01:51:00")])
async def test_a_point_without_a_snapshot_is_refused_in_the_texts_words(told: Told, name: str, moment: str) -> None:
    """Promise: the message is OpsCenter's to the letter (the text's second example prints the first one's time), and
    pit/run refuses by the same, with and without a slash at its end."""
    answer = await send(told, name, 400)
    printed = EXAMPLES[name].printed
    assert differences(printed, answer) == []
    assert {key: answer[key] for key in ("type", "brief")} == {"type": printed["type"], "brief": "error"}
    assert answer["message"] == f"No snapshots found before date and time: 12-15-2015 {moment} UTC"
    assert answer["message"] == printed["message"] or name == "pit-run"
    for path in ("pit/run", "pit/run/"):
        assert await told.service.ask("POST", f"{C}/backups/{path}", EXAMPLES[name].body) == (400, answer)


async def test_a_backup_has_no_graphs(told: Told) -> None:
    """Promise: the shape of the text, graph → keyspaces, without any: open-source Cassandra has none."""
    await told.destination(FIRST)
    await told.backup(ADHOC, FIRST, keep=False)
    assert await send(told, "graphs") == {}


async def test_destinations_are_told_with_masked_secrets(told: Told) -> None:
    """Promise: OpsCenter's keys and values, but for the secret, of all and of one."""
    for destination_id, printed in EXAMPLES["destinations"].printed.items():
        await told.destination(destination_id, printed["path"])
    everything, one = await send(told, "destinations"), await send(told, "destination")
    assert differences(EXAMPLES["destinations"].printed, everything, "<names>") == []
    assert differences(EXAMPLES["destination"].printed, one) == []
    assert everything[FIRST] == one
    for destination_id, printed in EXAMPLES["destinations"].printed.items():
        shown = {key: everything[destination_id][key] for key in printed}
        assert shown == {**printed, "access_secret": MASK}


async def test_a_destination_is_added_changed_and_deleted(told: Told) -> None:
    """Promise: both keys of the answer are literal; the id stands inside; with delete_this it is gone."""
    for name in ("add-a-destination", "edit-a-destination"):
        answer = await send(told, name)
        assert differences(EXAMPLES[name].printed, answer) == []
        assert answer["destination_id"]["id"] == FIRST
        assert (await told.service.ended(answer["request_id"]))["state"] == "success"
    gone = EXAMPLES["edit-a-destination"].body
    assert gone is not None
    at = EXAMPLES["edit-a-destination"].path
    status, answer = await told.service.ask("POST", at, gone.replace('"delete_this": false', '"delete_this": true'))
    assert (status, answer["destination_id"]) == (200, {"id": FIRST})
    await told.service.ended(answer["request_id"])
    assert (await told.service.ask("GET", at))[1] == {}
