"""What is to be done about a schedule now. In: its timetable, what is decided of it, the clock, whether its last run is
over. Out: the occurrence to run, the one that waits, those that are skipped and why, and when to look again. Pure.

Every occurrence is decided once: it is run, or it is skipped and that is said. After a time in which nobody looked (a
coordinator that was stopped, a machine that slept, a clock that jumped ahead) only the last one of those that came by
can be in time, so that a missed run comes once. `decided` goes up with each decision and never back, but for one case:
a clock that was set back by more than an interval had been wrong, and schedules must not stand still until it is that
late again. What was run by the wrong clock is not run a second time, for its request has the occurrence's id.
"""

import uuid
from collections.abc import Sequence

import msgspec

from coordinator.model.schedules import MOST_MISSED, Due, Missed, Timetable
from coordinator.schedule.occurrences import count_until, next_after, nth

LATE = "the coordinator did not run, or its clock was set, and half of the interval is over"
ONCE_LATE = "the coordinator did not run, or its clock was set, and it is more than 12 hours late"
PASSED = "the coordinator did not run, or its clock was set, and a later one came by too"
BUSY = "the run before it went on for more than half of the interval"
OVERTAKEN = "the run before it went on until the next one was due"


class Decision(msgspec.Struct, frozen=True):
    """`decided` and `waiting`: what to keep in the schedule, with `missed` (oldest first), before `run` begins. `wake`:
    when to look again at the latest, None = nothing comes any more. `set_back`: the clock had been wrong."""

    decided: float
    waiting: Due | None
    run: Due | None
    missed: list[Missed]
    wake: float | None
    set_back: bool = False


def decide(timetable: Timetable, decided: float, waiting: Due | None, now: float, *, busy: bool) -> Decision:
    """`busy`: the schedule's last run is not over yet."""
    missed: list[Missed] = []
    set_back = decided - now > (timetable.seconds or 0)
    if set_back:
        decided = now
    before, until = count_until(timetable, decided), count_until(timetable, now)
    if until > before:
        if waiting is not None:
            missed.append(_one(waiting, OVERTAKEN))
        last = nth(timetable, until - 1)
        if until - 1 > before:
            first, former = nth(timetable, before), nth(timetable, until - 2)
            missed.append(Missed(first, former, until - 1 - before, OVERTAKEN if busy else PASSED))
        waiting = Due(last, last + timetable.late_seconds)
        decided = last
    run = None
    if waiting is not None and now > waiting.until:
        late = LATE if timetable.seconds is not None else ONCE_LATE
        missed.append(_one(waiting, BUSY if busy else late))
        waiting = None
    elif waiting is not None and not busy:
        run, waiting = waiting, None
    following = next_after(timetable, max(decided, now))
    ends: list[float] = [] if following is None else [following]
    if waiting is not None:
        ends.append(waiting.until)
    return Decision(decided, waiting, run, missed, min(ends, default=None), set_back)


def add_missed(known: Sequence[Missed], new: Sequence[Missed], timetable: Timetable) -> list[Missed]:
    """The newest of what was missed, newest first; `new`: oldest first. What follows without a gap for the same reason
    is one entry."""
    kept = list(known)
    for each in new:
        former = kept[0] if kept else None
        if former is not None and former.why == each.why and next_after(timetable, former.last) == each.first:
            kept[0] = msgspec.structs.replace(former, last=each.last, count=former.count + each.count)
        else:
            kept.insert(0, each)
    return kept[:MOST_MISSED]


def request_of(schedule: str, at: int) -> str:
    """The id of the request that runs an occurrence: always the same one, whoever makes it, and however often."""
    return str(uuid.uuid5(uuid.UUID(schedule), f"occurrence {at}"))


def retry_of(run: str, attempt: int) -> str:
    """The id of the request that copies again what the run of that request did not reach."""
    return str(uuid.uuid5(uuid.UUID(run), f"retry {attempt}"))


def _one(due: Due, why: str) -> Missed:
    return Missed(due.at, due.at, 1, why)
