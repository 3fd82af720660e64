"""What each node did of a request, for people. In: the request and its commands. Out: one part per node. Pure.

A request asks a node for several commands, and some of them only tidy up. What counts is whether the work was done.
"""

import uuid
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from agent.wire.commands import Counts, Kind, State
from agent.wire.destinations import ON_SERVER
from coordinator.fleet.reports import Live, Told
from coordinator.model.commands import PostedCommand
from coordinator.model.orders import (
    ArchivingOrder,
    BackupOrder,
    DeleteOrder,
    Order,
    PointInTimeOrder,
    RestoreOrder,
    ScrubOrder,
    SyncOrder,
    TrimLogsOrder,
)
from coordinator.model.requests import NodePart, Request, RequestState, order_of
from coordinator.model.table_counts import NO_TABLES, TableCounts
from coordinator.orchestrate.delete.adoption import ADOPT

_FAILED = frozenset({State.PARTIAL, State.FAILED, State.INTERRUPTED})
STILL_SECONDS = 10
"""A command that has told of no progress for so long is shown to stand still."""
QUEUED_SECONDS = 2
"""A command that is queued for so long waits for another one."""
_BEHIND_FETCH = frozenset({Kind.DROP_VIEWS, Kind.TRUNCATE, Kind.SCHEMA, Kind.IMPORT})
"""What a restore does once all is fetched, up to the import of it."""
PRE_SCRIPT = "pre_script"
"""The phase of the script before the snapshots."""
POST_SCRIPT = "post_script"
"""That of the one after them, before anything is copied."""
FOR_OTHERS = "sync-gone"
"""The phase in which a sync has the parts of nodes that left the ring copied by others, numbered by rounds."""
SCRUB_FOR_OTHERS = "scrub-gone"
"""The same of a scrub, which has them read."""
TRIM_FOR_OTHERS = "trim-gone"
"""The same of freeing segments, which has theirs freed."""
_GONE = (FOR_OTHERS, SCRUB_FOR_OTHERS, TRIM_FOR_OTHERS)
_NOTHING_TO_CLEAR = frozenset({"backup_not_found", "snapshot_missing"})


def parts_of(
    request: Request, commands: Iterable[PostedCommand], reports: Told, retrying: Mapping[str, str] | None = None
) -> list[NodePart]:
    """Each node's part of a request: its commands in the order in which they were posted, joined. `retrying`: id of a
    command that failed and will be tried again → what for that waits."""
    order = order_of(request)
    retrying = retrying or {}
    parts = [
        as_it_waits(lasting_part(request, order, posted, reports, retrying), posted[-1], reports, retrying)
        for posted in by_host(order, commands)
    ]
    return sorted(parts, key=place_of)


def by_host(order: Order, commands: Iterable[PostedCommand]) -> list[list[PostedCommand]]:
    """The commands, of each node together."""
    found: dict[str, list[PostedCommand]] = {}
    for command in _without_vain(order, list(commands)):
        found.setdefault(command.host_id, []).append(command)
    return [*found.values()]


def place_of(part: NodePart) -> tuple[str, str]:
    """By what parts are in order."""
    return part.address, part.host_id


def _without_vain(order: Order, commands: list[PostedCommand]) -> list[PostedCommand]:
    """The commands; where a backup is deleted of which a node has no part, there was nothing to do on it. That no node
    had any is the delete's error."""
    deletes = [command for command in commands if command.kind is Kind.DELETE]
    nothing_anywhere = all(command.state.terminal and command.state is not State.SUCCESS for command in deletes)
    if not isinstance(order, DeleteOrder) or nothing_anywhere:
        return commands
    return [
        msgspec.structs.replace(command, state=State.SUCCESS, error=None)
        if command.kind is Kind.DELETE and (command.error or {}).get("code") in _NOTHING_TO_CLEAR
        else command
        for command in commands
    ]


def as_it_waits(part: NodePart, current: PostedCommand, reports: Told, retrying: Mapping[str, str]) -> NodePart:
    """The part with what it waits for and how long it stands still, which time alone may change. `current`: the node's
    last command."""
    waiting = _waiting(current, reports, retrying)
    still = None if waiting else _still(current, reports)
    if not waiting and still is None:
        return part
    return msgspec.structs.replace(part, still_seconds=still, waiting=waiting)


def lasting_part(
    request: Request, order: Order, commands: list[PostedCommand], reports: Told, retrying: Mapping[str, str]
) -> NodePart:
    """What of a node's part stays the same until one of its commands changes, or a report of one, or whether the last
    is tried again (or the request's state or order)."""
    work = [command for command in commands if not _tidies_up(order, command)]
    own = [command for command in commands if not command.phase.startswith(_GONE)]
    # Attempts that failed and were followed by another one are history.
    newest = list({(command.phase, command.kind): command for command in work}.values())
    current = commands[-1]
    state = request.state if current.id in retrying else _state(request, order, newest)
    last = work[-1] if work else current
    return NodePart(
        address=last.address,
        host_id=last.host_id,
        id=_id(request.id, last.host_id),
        state=state,
        started=commands[0].posted,
        finished=None if state is RequestState.RUNNING else last.finished,
        # While it is undone or tidied up, that is what is under way.
        phase=last.phase if current.state.terminal else current.phase,
        rests=current.state is State.SUCCESS,
        created=_created(request, order, own),
        progress=_progress(order, own, reports),
        errors=_errors(order, own, reports) if own else [],
    )


@lru_cache(maxsize=10_000)
def _id(request_id: str, host_id: str) -> str:
    """Of a node's part, however often it is looked at."""
    return str(uuid.uuid5(uuid.UUID(request_id), host_id))


def _state(request: Request, order: Order, newest: list[PostedCommand]) -> RequestState:
    states = {command.state for command in newest}
    if states & _FAILED:
        return RequestState.ERROR
    if State.CANCELLED in states:
        return RequestState.CANCELLED
    finished = _all_asked(order, newest) and all(state.terminal for state in states)
    # A node that wasn't asked for all of its part ends as the request does.
    return RequestState.SUCCESS if finished else request.state


def _all_asked(order: Order, newest: list[PostedCommand]) -> bool:
    """Whether the node was asked for all of its part; of a backup that stays there the script comes last."""
    if isinstance(order, BackupOrder) and order.post_script and POST_SCRIPT not in {each.phase for each in newest}:
        return False
    return any(command.kind is _last_of(order) for command in newest)


def _last_of(order: Order) -> Kind | None:
    """The command with whose success a node has done its part."""
    match order:
        case BackupOrder():
            return Kind.UPLOAD if order.copies else Kind.SNAPSHOT
        case SyncOrder():
            return Kind.SYNC
        case DeleteOrder():
            return Kind.DELETE if order.destination is None else Kind.SWEEP
        case RestoreOrder():
            return Kind.CLEAN
        case PointInTimeOrder():
            return Kind.PIT_CHECK if order.check else Kind.PIT_CLEAN
        case ScrubOrder():
            return Kind.SCRUB
        case ArchivingOrder():
            return Kind.RESTART
        case TrimLogsOrder():
            return Kind.TRIM_LOGS
    return None


def _tidies_up(order: Order, command: PostedCommand) -> bool:
    """Whether a command removes what a failed or ended request, or a node that left the ring, has left, or copies or
    reads what is there of such a node: how it ends says nothing of this node's part of the request."""
    if isinstance(order, BackupOrder | SyncOrder):
        return command.kind is Kind.DELETE or command.phase.startswith(FOR_OTHERS)
    return command.phase.startswith(("undo-", ADOPT, SCRUB_FOR_OTHERS, TRIM_FOR_OTHERS))


def _created(request: Request, order: Order, commands: list[PostedCommand]) -> bool:
    """Whether the node's manifests are written, and were not taken back."""
    if not isinstance(order, BackupOrder | SyncOrder) or request.state is RequestState.CANCELLED:
        return False
    created = False
    for command in commands:
        if command.kind is _last_of(order):
            created = command.state is State.SUCCESS
        elif _tidies_up(order, command) and command.kind is Kind.DELETE and _last_of(order) is Kind.SNAPSHOT:
            created = False
    return created


def _still(command: PostedCommand, reports: Told) -> int | None:
    seconds = None if command.state.terminal else reports.still(command.id)
    # An agent that reports seldom is silent for so long while it works.
    return int(seconds) if seconds is not None and seconds >= STILL_SECONDS + reports.interval else None


def _waiting(command: PostedCommand, reports: Told, retrying: Mapping[str, str]) -> str:
    """What the command waits for: its node, by its agent's own word, or in its agent's queue."""
    if command.id in retrying:
        return retrying[command.id]
    live = None if command.state.terminal else reports.live(command.id)
    if live is None:
        return ""
    if live.lost is not None:
        silent = int(reports.lost_for(command.id) or 0.0)
        why = live.lost.get("message", "")
        return f"waits for its agent, silent for {silent} s ({why}); it goes on when the agent is back"
    if live.state is State.WAITING:
        return str((live.error or {}).get("message", ""))
    if live.state is not State.QUEUED or (reports.still(command.id) or 0.0) < QUEUED_SECONDS:
        return ""
    before = [_told(other) for other in reports.before(command.id)]
    if not before:  # of another coordinator, or begun before this one heard of it
        return "waits for its turn; what its agent does before it, GET /v1/commands of that agent tells"
    return f"waits for what its agent does before it: {'; '.join(before)}"


def _told(other: Live) -> str:
    """Which command it is that another one waits for, and what that one waits for itself."""
    why = str((other.error or {}).get("message", "")) if other.state is State.WAITING else ""
    return (other.what or other.kind) + (f", which {why}" if why else "")


def _progress(order: Order, commands: list[PostedCommand], reports: Told) -> dict[str, TableCounts]:
    """The counts of all commands joined, the later one's where two count the same table. What one phase has done isn't
    shown as done in the next one that counts the same files: a snapshot that doesn't stay is shown until its copies
    begin, what was fetched until tables are changed, and then nothing of them until they are counted anew."""
    progress: dict[str, TableCounts] = {}
    fetched: dict[str, TableCounts] | None = None
    taken_in = ""
    for command in commands:
        live = reports.live(command.id)
        counted = live.progress if live is not None else {}
        if command.kind is Kind.SNAPSHOT and command.phase != taken_in:
            taken_in, progress = command.phase, {}
        if command.kind is Kind.UPLOAD and isinstance(order, BackupOrder):
            taken = (progress.get if order.keep else progress.pop)(ON_SERVER, NO_TABLES)
            for copy in order.copies:
                counting = counted.get(copy.destination, NO_TABLES)
                if copy.destination not in progress and counting.layout is not taken.layout:
                    progress[copy.destination] = taken.none_done()
        if command.kind in _BEHIND_FETCH and fetched is None:
            fetched = progress
            progress = {destination: counts.none_done() for destination, counts in fetched.items()}
        if command.kind is Kind.IMPORT and command.state is State.SUCCESS and fetched is not None:
            progress = dict(fetched)
        for destination, counts in counted.items():
            before = progress.get(destination, NO_TABLES)
            if command.kind is Kind.IMPORT:
                counts = _all_imported(before, counts)
            progress[destination] = counts.over(before)
    return progress


def _all_imported(fetched: TableCounts, imported: TableCounts) -> TableCounts:
    """See `_imported`, of each table that the import counts."""
    if not fetched.layout.names:
        return imported
    if imported.layout is fetched.layout:
        return imported.where_sized(fetched)
    before = {keyspace: fetched[keyspace] for keyspace in fetched}
    shown = {
        keyspace: {table: _imported(before.get(keyspace, {}).get(table), counts) for table, counts in tables.items()}
        for keyspace, tables in imported.items()
    }
    return fetched.told(shown)


def _imported(fetched: Counts | None, imported: Counts) -> Counts:
    """An import counts the files and bytes that were fetched, from 0 of all. One that tells of no bytes leaves what was
    fetched: none of it done, and all when the import ended well."""
    if fetched is None:
        return imported
    shown = imported if imported.total_bytes else fetched
    return msgspec.structs.replace(shown, errors=[*fetched.errors, *imported.errors])


def _errors(order: Order, commands: list[PostedCommand], reports: Told) -> list[dict[str, Any]]:
    last = commands[-1]
    live = reports.live(last.id)
    failed = {(c.phase, c.kind): c.error for c in commands if c.error}
    for command in commands:
        # Attempts that failed and were followed by one that went well are history, not errors of the node.
        if command.state in (State.SUCCESS, State.RUNNING) or (
            _tidies_up(order, command) and (command.error or {}).get("code") in _NOTHING_TO_CLEAR
        ):
            failed.pop((command.phase, command.kind), None)
    found: list[dict[str, Any]] = []
    for error in [live.lost if live is not None else None, *failed.values()]:
        if error and error not in found:
            found.append(dict(error))
    return found
