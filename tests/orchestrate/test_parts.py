"""What people are told of each node's part in a request."""

import asyncio
import uuid

import msgspec
import pytest

from agent.wire.commands import CommandView, Counts, Kind, State
from agent.wire.destinations import ON_SERVER
from coordinator.fleet.reports import Reports
from coordinator.model.commands import PostedCommand
from coordinator.model.orders import BackupOrder, RestoreOrder, SyncOrder
from coordinator.model.requests import NodePart, Request, RequestKind, RequestState, spec_of
from coordinator.opscenter.shapes import request_status
from coordinator.orchestrate.parts import parts_of
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.orchestrate.conftest import Scene


async def test_a_node_whose_upload_failed_has_failed_though_its_snapshot_was_cleared(scene: Scene) -> None:
    """The clearing that follows a failed upload succeeds, and says nothing of the backup."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    scene.nodes[1].failures[Kind.UPLOAD] = [ToyFailure("destination_full", "the destination is full")] * 20
    tag, request = await coordinator.backup(keep=False, copies=copies("there"))
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert request.message == f"{scene.nodes[1].address}: the destination is full"
    assert tag not in scene.nodes[1].snapshots
    parts = await coordinator.orchestrator.progress(request.id)
    told = [(part.state, part.created) for part in parts]
    success, error = (RequestState.SUCCESS, True), (RequestState.ERROR, False)
    assert told == [success, error, success]
    assert parts[1].phase == "upload"
    assert [each["code"] for each in parts[1].errors] == ["destination_full"]


async def test_a_node_runs_until_its_part_is_done_and_keeps_one_id(scene: Scene) -> None:
    """After the snapshot and before the end of the upload a node is running, without manifests."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    seen: list[dict[str, str]] = []
    for kind in (Kind.SNAPSHOT, Kind.UPLOAD):
        scene.nodes[0].gates[kind] = asyncio.Event()
    backup = asyncio.create_task(coordinator.backup(keep=False, copies=copies("there")))
    for kind in (Kind.SNAPSHOT, Kind.UPLOAD):
        await asyncio.wait_for(scene.nodes[0].begun[kind].wait(), 10)
        if kind is Kind.SNAPSHOT:
            await scene.until(lambda: scene.world.count(Kind.SNAPSHOT) == 2)
        [request] = await coordinator.store.requests.find(state=RequestState.RUNNING, tag=None)
        parts = await coordinator.orchestrator.progress(request.id)
        first = next(part for part in parts if part.host_id == scene.nodes[0].host_id)
        assert (first.state, first.created, first.finished) == (RequestState.RUNNING, False, None)
        if kind is Kind.SNAPSHOT:
            assert {part.state for part in parts} == {RequestState.RUNNING}
        seen.append({part.host_id: part.id for part in parts})
        scene.nodes[0].gates[kind].set()
    _, request = await backup
    parts = await coordinator.orchestrator.progress(request.id)
    assert {(part.state, part.created) for part in parts} == {(RequestState.SUCCESS, True)}
    seen.append({part.host_id: part.id for part in parts})
    assert seen[0] == seen[1] == seen[2]
    assert len(set(seen[0].values())) == 3


async def test_a_snapshot_that_was_cleared_because_another_node_failed_is_no_success(scene: Scene) -> None:
    """Nothing of the backup is left on the node."""
    coordinator = await scene.coordinator()
    scene.nodes[1].failures[Kind.SNAPSHOT] = [ToyFailure("not_enough_space", "5 % free")]
    _, request = await coordinator.backup()
    parts = await coordinator.orchestrator.progress(request.id)
    assert not any(part.created for part in parts)
    assert parts[1].state is RequestState.ERROR
    assert parts[0].errors == []


async def test_an_on_server_backup_is_made_with_its_snapshots(scene: Scene) -> None:
    """Its manifests are written with them."""
    coordinator = await scene.coordinator()
    _, request = await coordinator.backup()
    parts = await coordinator.orchestrator.progress(request.id)
    assert {(part.state, part.created) for part in parts} == {(RequestState.SUCCESS, True)}


def counted(parts: list[NodePart]) -> list[dict[str, tuple[int, int, int, int]]]:
    """Per node: place → done and total files, done and total bytes of shop.orders."""
    return [
        {
            place: (counts.done_files, counts.total_files, counts.done_bytes, counts.total_bytes)
            for place, counts in ((place, tables["shop"]["orders"]) for place, tables in part.progress.items())
        }
        for part in parts
    ]


async def test_the_snapshot_is_counted_until_its_copies_are(scene: Scene) -> None:
    """A backup on the nodes has counts; a copy that has none of its own yet is 0 of what the snapshot holds."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    _, request = await coordinator.backup()
    done = (1, 1, 30, 30)
    assert counted(await coordinator.orchestrator.progress(request.id)) == [{ON_SERVER: done}] * 3
    _, request = await coordinator.backup(keep=True, copies=copies("there"))
    assert counted(await coordinator.orchestrator.progress(request.id)) == [{ON_SERVER: done, "there": done}] * 3
    scene.nodes[0].gates[Kind.UPLOAD] = asyncio.Event()
    order = BackupOrder("tag", 5, keep=False, copies=copies("there"))
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, order)
    await scene.until(lambda: scene.world.count(Kind.UPLOAD) == 5)
    [first, *_] = counted(await coordinator.orchestrator.progress(request_id))
    assert first == {"there": (0, 1, 0, 30)}
    scene.nodes[0].gates[Kind.UPLOAD].set()
    await coordinator.ended(request_id)
    assert counted(await coordinator.orchestrator.progress(request_id)) == [{"there": done}] * 3


async def test_a_coordinator_that_starts_again_shows_the_counts_of_before(scene: Scene) -> None:
    """Promise: whoever asks first after a restart doesn't see nothing of nothing."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    scene.nodes[0].gates[Kind.UPLOAD] = asyncio.Event()
    order = BackupOrder("tag", 5, keep=False, copies=copies("there"))
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, order)
    await scene.until(lambda: scene.world.count(Kind.UPLOAD) == 2)
    await scene.until(lambda: all("tag" not in node.snapshots for node in scene.nodes[1:]))
    await coordinator.__aexit__(None, None, None)
    again = await scene.coordinator()
    [first, *others] = counted(await again.orchestrator.progress(request_id))
    assert first == {"there": (0, 1, 0, 30)}
    assert others == [{"there": (1, 1, 30, 30)}] * 2
    scene.nodes[0].gates[Kind.UPLOAD].set()
    assert (await again.ended(request_id)).state is RequestState.SUCCESS


def test_an_agent_that_starts_again_takes_no_counts_away() -> None:
    """Promise: what it doesn't count again stays as it was last told, and a success is never less than was done."""
    reports = Reports()
    view = CommandView("id", Kind.UPLOAD, State.RUNNING, "", None, "upload", 0, 1.0, 1.0, None, {})

    def tell(state: State, counts: Counts | None) -> Counts:
        progress = {} if counts is None else {"there": {"shop": {"orders": counts}}}
        reports.learn("url", msgspec.structs.replace(view, state=state, progress=progress))
        live = reports.live("id")
        assert live is not None
        return live.progress["there"]["shop"]["orders"]

    whole = Counts(36, 36, 900, 900)
    assert tell(State.RUNNING, whole) == whole
    assert tell(State.RUNNING, None) == whole
    assert tell(State.SUCCESS, None) == whole
    assert tell(State.SUCCESS, Counts(0, 36, 0, 900)) == whole
    assert tell(State.SUCCESS, Counts(30, 30, 900, 900)) == Counts(30, 30, 900, 900)
    assert tell(State.RUNNING, Counts(0, 30, 0, 900)) == Counts(30, 30, 900, 900)


async def test_a_restore_keeps_the_sizes_that_were_fetched(scene: Scene) -> None:
    """The import counts SSTables without sizes: after it done_size and total_size are those of the fetch still."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    order = RestoreOrder(tag, destination="there", truncate=True)
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS
    assert counted(await coordinator.orchestrator.progress(request_id)) == [{"there": (1, 1, 30, 30)}] * 3


async def test_a_command_that_stands_still_is_named_with_its_node() -> None:
    """What is under way and tells of no progress is shown after seconds; any progress takes that back."""
    now = 100.0
    reports = Reports(clock=lambda: now)
    request = Request(
        str(uuid.UUID(int=1)), RequestKind.SYNC, "c", RequestState.RUNNING, 1.0, spec_of(SyncOrder("t", []))
    )
    posted = PostedCommand("id", request.id, "url", "host", "127.0.80.1", "sync", Kind.SYNC, {}, 0, 1.0)
    view = CommandView("id", Kind.SYNC, State.RUNNING, "sending", None, "sync", 0, 1.0, 1.0, None, {})

    def told() -> str:
        return str(request_status(request, parts_of(request, [posted], reports))["details"]["message"])

    reports.learn("url", view)
    now += 9
    reports.learn("url", view)
    assert told() == "copying"
    now += 3
    assert told() == "127.0.80.1: copying has told of no progress for 12 s"
    reports.learn("url", msgspec.structs.replace(view, progress={"there": {"shop": {"orders": Counts(1, 2)}}}))
    assert told() == "copying, 1 of 2 files"


def posted(request: Request, kind: Kind, phase: str = "", state: State = State.RUNNING) -> PostedCommand:
    """A command of the request to the one node there is."""
    phase = phase or kind.value
    return PostedCommand(phase, request.id, "url", "host", "127.0.80.1", phase, kind, {}, 0, 1.0, state=state)


def tell(reports: Reports, command: PostedCommand, place: str, counts: Counts) -> None:
    """The command's agent tells of one table."""
    progress = {place: {"shop": {"orders": counts}}}
    reports.learn(
        "url",
        CommandView(command.id, command.kind, State.RUNNING, "", None, command.phase, 0, 1.0, 1.0, None, progress),
    )


RESTORE = Request(
    str(uuid.UUID(int=1)), RequestKind.RESTORE, "c", RequestState.RUNNING, 1.0, spec_of(RestoreOrder("t", "there"))
)


def test_an_import_counts_from_nothing_to_all_that_was_fetched() -> None:
    """Promise: while a node imports, its own files and bytes are shown; of an import that tells none, nothing is done
    of what was fetched until it has ended well."""
    reports = Reports()
    fetch, importing = posted(RESTORE, Kind.FETCH), posted(RESTORE, Kind.IMPORT)
    tell(reports, fetch, "there", Counts(8, 8, 80, 80))
    tell(reports, importing, "there", Counts(2, 8, 20, 80))
    assert counted(parts_of(RESTORE, [fetch, importing], reports)) == [{"there": (2, 8, 20, 80)}]
    tell(reports, importing, "there", Counts(1, 3, 0, 0))
    assert counted(parts_of(RESTORE, [fetch, importing], reports)) == [{"there": (0, 8, 0, 80)}]
    ended = msgspec.structs.replace(importing, state=State.SUCCESS)
    assert counted(parts_of(RESTORE, [fetch, ended], reports)) == [{"there": (8, 8, 80, 80)}]


@pytest.mark.parametrize("kind", [Kind.DROP_VIEWS, Kind.TRUNCATE, Kind.SCHEMA, Kind.IMPORT])
def test_what_was_fetched_is_not_shown_as_done_in_a_later_phase(kind: Kind) -> None:
    """Promise: the counts belong to the phase that they stand under. Until an import has counted, nothing of the files
    that it will import is done: who waits for all of them doesn't stop when they are only fetched."""
    reports = Reports()
    fetch = posted(RESTORE, Kind.FETCH, state=State.SUCCESS)
    tell(reports, fetch, "there", Counts(8, 8, 80, 80))
    assert counted(parts_of(RESTORE, [fetch], reports)) == [{"there": (8, 8, 80, 80)}]
    [part] = parts_of(RESTORE, [fetch, posted(RESTORE, kind)], reports)
    assert (part.phase, counted([part])) == (kind.value, [{"there": (0, 8, 0, 80)}])


def test_what_was_imported_stays_counted_while_it_is_checked_and_cleaned() -> None:
    """Promise: phases that count nothing after the import take nothing of it back, nor does an import that is tried
    once more, before it has counted."""
    reports = Reports()
    commands = [posted(RESTORE, kind, state=State.SUCCESS) for kind in (Kind.FETCH, Kind.IMPORT)]
    tell(reports, commands[0], "there", Counts(8, 8, 80, 80))
    tell(reports, commands[1], "there", Counts(7, 8, 70, 80))
    for kind in (Kind.CHECK, Kind.CREATE_VIEWS, Kind.CLEAN):
        commands.append(posted(RESTORE, kind))
        assert counted(parts_of(RESTORE, commands, reports)) == [{"there": (7, 8, 70, 80)}]
    again = msgspec.structs.replace(posted(RESTORE, Kind.IMPORT), id="again")
    failed = msgspec.structs.replace(commands[1], state=State.INTERRUPTED)
    assert counted(parts_of(RESTORE, [commands[0], failed, again], reports)) == [{"there": (7, 8, 70, 80)}]


def test_snapshots_that_are_taken_anew_begin_to_count_anew() -> None:
    """Promise: what was counted of snapshots that were cleared isn't shown under the ones that follow them."""
    reports = Reports()
    order = BackupOrder("t", 5, keep=True, copies=[])
    request = Request(str(uuid.UUID(int=1)), RequestKind.BACKUP, "c", RequestState.RUNNING, 1.0, spec_of(order))
    first = posted(request, Kind.SNAPSHOT, "snapshot", State.SUCCESS)
    tell(reports, first, ON_SERVER, Counts(8, 8, 80, 80))
    assert counted(parts_of(request, [first], reports)) == [{ON_SERVER: (8, 8, 80, 80)}]
    clear = posted(request, Kind.DELETE, "snapshot-clear", State.SUCCESS)
    second = posted(request, Kind.SNAPSHOT, "snapshot-2")
    assert counted(parts_of(request, [first, clear, second], reports)) == [{}]
    tell(reports, second, ON_SERVER, Counts(1, 9, 10, 90))
    assert counted(parts_of(request, [first, clear, second], reports)) == [{ON_SERVER: (1, 9, 10, 90)}]
