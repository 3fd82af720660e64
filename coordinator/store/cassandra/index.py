"""Which entries follow from a record's rows: pure. In: a key and a row with its JSON. Out: entries.

log        scope                    order          what for
running    –                        made           requests that run
requests   cluster/kind/week        made           all requests of a kind
tags       cluster/tag              made           requests of a backup
activity   cluster/week             event's time   the activity log
backups    cluster/tag              –              events that a deletion marks
commands   one of 16                –              which request a command is of
owed       –                        first put      commands whose agents are still to be told of a cancel
ended      week                     its end        requests that have ended
outbox     hook                     a number       notices that wait for the hook
periods    requests | activity | …  week           which scopes of requests, activity and ended there are
"""

import zlib
from collections.abc import Iterable

import msgspec

from coordinator.model.activity import ActivityEvent
from coordinator.model.requests import Request, RequestState
from coordinator.store.cassandra.packing import ROW_BYTES, packed
from coordinator.store.cassandra.tables import Entry, Kept, Key, Row

REQUEST, PLACES, TAG, FENCE, VALUE, SEAL, LEASE = "request", "places", "tag", "fence", "value", "seal", "lease"
USERS, SESSIONS, OUTBOX = "users", "sessions", "outbox"
"""Kinds of records; the last one is a log too."""
HEAD, EVENT, COMMAND, STEP, PARTS = "request", "event", "command", "step", "parts"
"""Parts of a request's record."""
WAITING = "waiting"
"""The part of the outbox that isn't done."""
OWED = "owed"
"""The mark of a command whose agent is still to be told that it is cancelled."""
RUNNING, REQUESTS, TAGS, ACTIVITY, BACKUPS, COMMANDS, ENDED, PERIODS = (
    "running",
    "requests",
    "tags",
    "activity",
    "backups",
    "commands",
    "ended",
    "periods",
)
BY_WEEKS = (REQUESTS, ACTIVITY, ENDED)
"""Logs that are divided by weeks."""
WEEK = 604_800
_MICROS = 1_000_000


class Head(msgspec.Struct, frozen=True):
    """A request as its record holds it. `made`: microseconds, in the order of creation. `forget`: destinations that
    went with its end (id → the name of the attempt that ended it). `trimmed`: its details were dropped by age."""

    request: Request
    made: int
    forget: dict[str, str] = {}
    trimmed: bool = False


def entries_of(key: Key, row: Row) -> list[Kept]:
    """All entries of a row."""
    if key.kind == OUTBOX and row.part == WAITING:
        hook, _, notice = row.name.partition("/")
        return [Kept(Entry(OUTBOX, hook, row.position, notice), key.id)]
    if key.kind != REQUEST:
        return []
    if row.part == HEAD:
        return _of_head(row)
    if row.part == EVENT:
        return _of_event(row)
    if row.part == COMMAND:
        found = [Kept(command_entry(row.name), key.id)]
        if row.mark == OWED:
            found.append(Kept(Entry(OWED, "", row.position, f"{key.id}/{row.name}"), key.id))
        return found
    return []


def waiting_name(hook: str, notice_id: str) -> str:
    """The row's name of a notice that waits for the hook. Hooks' names have no slash."""
    return f"{hook}/{notice_id}"


def command_entry(command_id: str) -> Entry:
    """The entry of a command. In few scopes, so that those of a large cluster are few writes."""
    return Entry(COMMANDS, f"{zlib.crc32(command_id.encode()) % 16:x}", 0, command_id)


def period_of(entry: Entry) -> Entry | None:
    """The entry that makes this one's scope known, if it is of a log that is divided by weeks."""
    if entry.log not in BY_WEEKS:
        return None
    what, _, week = entry.scope.rpartition("/")
    return Entry(PERIODS, entry.log, int(week), what)


def scope_of(period: Entry) -> str:
    """The scope that an entry of `periods` tells of."""
    return f"{period.name}/{period.position}"


def week_of(seconds: float) -> int:
    """The number of the week that a time (unix seconds) lies in."""
    return int(seconds // WEEK)


def _of_head(row: Row) -> list[Kept]:
    head = msgspec.json.decode(row.data, type=Head)
    request, made = head.request, head.made
    runs = request.state is RequestState.RUNNING
    copy = None if runs else _copy(row.data)
    scope = f"{request.cluster}/{request.kind.value}/{week_of(made / _MICROS)}"
    found = [Kept(Entry(REQUESTS, scope, made, request.id), request.id, copy)]
    if runs:
        found.append(Kept(Entry(RUNNING, "", made, request.id), request.id))
    elif request.finished is not None:
        of_week = f"/{week_of(request.finished)}"
        found.append(Kept(Entry(ENDED, of_week, int(request.finished * _MICROS), request.id), request.id))
    if request.tag is not None:
        found.append(Kept(Entry(TAGS, f"{request.cluster}/{request.tag}", made, request.id), request.id, copy))
    return found


def _of_event(row: Row) -> list[Kept]:
    event = msgspec.json.decode(row.data, type=ActivityEvent)
    name = f"{row.position:020d}/{event.request}/{row.name}"
    scope = f"{event.cluster}/{week_of(event.event_time)}"
    copy = None if event.status == RequestState.RUNNING.value else _copy(row.data)
    found = [Kept(Entry(ACTIVITY, scope, event.event_time, name), event.request, copy)]
    if event.type == "backup":
        found.append(
            Kept(Entry(BACKUPS, f"{event.cluster}/{event.tag}", 0, f"{event.request}/{row.name}"), event.request)
        )
    return found


def _copy(data: bytes) -> bytes | None:
    """None for what is too large to stand twice: its entry stays open."""
    small = packed(data)
    return small if len(small) <= ROW_BYTES else None


def difference(key: Key, before: Iterable[Row], after: Iterable[Row]) -> tuple[list[Kept], list[Kept], list[Entry]]:
    """What changes in the entries when the rows become others: those to be opened first, those to be written then,
    those to be erased then."""
    old = {kept.entry: kept for row in before for kept in entries_of(key, row)}
    new = {kept.entry: kept for row in after for kept in entries_of(key, row)}
    changed = [kept for entry, kept in new.items() if old.get(entry) != kept]
    gone = [kept for entry, kept in old.items() if entry not in new]
    # One that is open already needs no opening; a copy must be, also before it goes: until then it is believed.
    opened = [
        msgspec.structs.replace(kept, data=None)
        for kept in (*changed, *gone)
        if kept.entry not in old or old[kept.entry].data is not None
    ]
    written = [kept for kept in changed if kept.data is not None]
    return opened, written, [kept.entry for kept in gone]
