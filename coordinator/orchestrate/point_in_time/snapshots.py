"""Which backups a restore to a point may begin from. In: the listing of a place. Out: tags, newest first, and why
others are passed over. Pure."""

from collections.abc import Mapping
from typing import Any

from agent.wire.backups import RUNNING, Record
from agent.wire.node import Tables
from coordinator.orchestrate.listing import Joined

MOST = 20
"""Backups that are looked into: a table whose clients write times far ahead has no snapshot before any point."""

MOST_EARLIER = 3
MOST_NEXT = 3
MOST_NEWEST = 2
"""Backups beside the chosen one whose windows are told: each costs every node the head of a manifest."""

NO_COPY = "failed"
"""The state of a backup that nothing can be restored from."""


def may_begin(joined: Joined) -> bool:
    """Whether a restore to a point may begin with the backup, now or when it has ended. Retention of segments keeps the
    log for each of these, and a check uses no other: so that what a check needs is there."""
    return not joined.deleted and (joined.record is None or joined.record.state != NO_COPY)


def candidates(listed: Mapping[str, Joined], pit_micros: int, asked: Tables) -> tuple[list[str], dict[str, str]]:
    """Begun before the point, undeleted, ended; those first that hold all that is asked, for what they lack must have
    been made since. Then tag → why one that began before the point isn't among them."""
    passed_over: dict[str, str] = {}
    whole: list[tuple[float, str]] = []
    lacking: list[tuple[float, str]] = []
    for tag, joined in listed.items():
        time = _begun(joined)
        if time is None or joined.deleted or time * 1_000_000 > pit_micros:
            continue
        if not may_begin(joined):
            passed_over[tag] = "it failed"
            continue
        if joined.record is not None and joined.record.state == RUNNING:
            passed_over[tag] = "it has not ended"
            continue
        (whole if _holds(joined.record, asked) else lacking).append((time, tag))
    chosen = [*sorted(whole, reverse=True), *sorted(lacking, reverse=True)]
    return [tag for _, tag in chosen[:MOST]], passed_over


def beside(listed: Mapping[str, Joined], chosen: str, asked: Tables) -> list[str]:
    """Other backups that hold all that is asked and may lead to other points: a few before the chosen one, the next
    ones after it, and the newest; by age."""
    known = sorted((time, tag) for tag, joined in listed.items() if (time := _ended_well(joined, asked)) is not None)
    tags = [tag for _, tag in known]
    if chosen not in tags:
        return []
    place = tags.index(chosen)
    later = tags[place + 1 :]
    newest = [tag for tag in later[-MOST_NEWEST:] if tag not in later[:MOST_NEXT]]
    return [*tags[max(place - MOST_EARLIER, 0) : place], *later[:MOST_NEXT], *newest]


def first_after(listed: Mapping[str, Joined], pit_micros: int, asked: Tables) -> tuple[str, float] | None:
    """Tag and time of the first backup after the point that holds all that is asked."""
    known = [(time, tag) for tag, joined in listed.items() if (time := _ended_well(joined, asked)) is not None]
    time, tag = min((each for each in known if each[0] * 1_000_000 > pit_micros), default=(0.0, ""))
    return (tag, time) if tag else None


def why_incomplete(joined: Joined | None, ring: Mapping[str, str]) -> str:
    """Why a backup can't be used for the nodes of the ring (host id → address), as a clause; "" when it can."""
    if joined is None or joined.plan is None:
        return "its plan can't be read"
    if joined.deleted:
        return "it was deleted"
    if lost := [_told(error) for error in joined.unread.values()]:
        return f"a part of it can't be read ({lost[0]})"
    without = sorted(address for host_id, address in ring.items() if host_id not in joined.manifests)
    return f"it has no part of {', '.join(without)}" if without else ""


def _begun(joined: Joined) -> float | None:
    if joined.record is not None:
        return joined.record.time
    return joined.plan.time if joined.plan is not None else None


def _ended_well(joined: Joined, asked: Tables) -> float | None:
    """When it began; None: it can't be used for what is asked."""
    record = joined.record
    if record is None or not may_begin(joined) or record.state == RUNNING or not _holds(record, asked):
        return None
    return record.time


def _holds(record: Record | None, asked: Tables) -> bool:
    if record is None:
        return not asked
    return all(
        keyspace in record.keyspaces and {*tables} <= {*record.keyspaces[keyspace]}
        for keyspace, tables in asked.items()
    )


def _told(error: Mapping[str, Any]) -> str:
    return str(error.get("message") or error.get("code"))
