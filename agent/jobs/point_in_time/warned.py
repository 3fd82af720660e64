"""What a person should know of a node before it goes back in time: plain sentences. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime

from agent.jobs.point_in_time.point import pit_seconds
from agent.jobs.point_in_time.tables_then import TableThen
from agent.jobs.point_in_time.writes import NewestWrite, is_odd
from agent.model.manifest import Head
from agent.plan.replay_set import ReplaySet, clock_steps
from agent.wire.point_in_time import PitArguments


def warnings_of(
    arguments: PitArguments,
    head: Head,
    tables: Sequence[TableThen],
    wanted: ReplaySet,
    newest: NewestWrite | None,
) -> list[str]:
    """In the order in which they matter."""
    warnings = []
    if head.commitlog_floor is None:
        warnings.append("the snapshot does not say from which segment on the commit log is needed")
    for before, after in clock_steps(wanted.segments):
        warnings.append(
            f"the node's clock went back from {_told(before)} to {_told(after)} or before: which writes of the time "
            "between are before the point can't be told"
        )
    hidden = [one.name for one in tables if one.hidden]
    if hidden:
        warnings.append(
            f"truncated after the point, and its auto-snapshot is gone, so that an earlier TRUNCATE between snapshot "
            f"and point could not be seen; rows that such a one had removed come back: {', '.join(hidden)}"
        )
    forgotten = [one.name for one in tables if one.forgotten]
    if forgotten and not head.flushed and any(one.opened_at < head.taken_at for one in wanted.segments[:1]):
        warnings.append(
            "how much of the log is in the snapshot is not known (of a compressed or encrypted one it can't be); "
            f"rows that a TRUNCATE shortly before it had removed come back: {', '.join(forgotten)}"
        )
    empty = [one.name for one in tables if one.beginning == "empty"]
    if empty:
        warnings.append(
            f"made or truncated between snapshot and point, so that only the log brings it back: {', '.join(empty)}"
        )
    if newest is not None and is_odd(newest):
        warnings.append(
            f"the newest write in the snapshot, in {newest.table}, has the time {newest.micros}: clients that don't "
            "give microseconds make a point in time mean nothing for what they write"
        )
    late = pit_seconds(arguments) + arguments.late_seconds
    if wanted.covered_until is not None and not wanted.goes_on and wanted.covered_until < late:
        warnings.append(
            f"the log ends at {_told(wanted.covered_until)}: writes from before the point that came to this node later "
            "(hints) are not in it"
        )
    return warnings


def _told(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
