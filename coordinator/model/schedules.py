"""Schedules of backups: when they run, what they back up, and what became of their runs. Times are unix seconds."""

from typing import Any, Literal

import msgspec

from agent.wire.destinations import ON_SERVER
from coordinator.model.orders import BackupOrder, Copy

Unit = Literal["minutes", "hours", "days", "weeks"]
UNIT_SECONDS: dict[Unit, int] = {"minutes": 60, "hours": 3_600, "days": 86_400, "weeks": 604_800}
ONCE = -1
ONCE_LATE_SECONDS = 43_200
"""How late a run that comes once may be: as one that comes every day."""
MOST_MISSED = 20
"""Entries of what was skipped that a schedule keeps, the newest ones."""


class Timetable(msgspec.Struct, frozen=True):
    """First at `date` (YYYY-MM-DD) and `time` (hh:mm:ss) by the clocks of `zone` (IANA's name), then every `interval`
    units; an interval of `ONCE` has no unit, and is that."""

    date: str
    time: str
    zone: str
    interval: int
    unit: Unit | None = None

    @property
    def seconds(self) -> int | None:
        """From one run to the next, where no clock changes between them; None = there is no next."""
        return None if self.unit is None else self.interval * UNIT_SECONDS[self.unit]

    @property
    def late_seconds(self) -> float:
        """By how much a run may be late."""
        return ONCE_LATE_SECONDS if self.seconds is None else self.seconds / 2


class BackupJob(msgspec.Struct, frozen=True):
    """What each run backs up, and where to: the fields of `BackupOrder` that don't change from run to run."""

    keyspaces: dict[str, list[str]] | None = None
    keep: bool = True
    copies: list[Copy] = []
    throttle_bytes_per_second: int = 0
    partial: bool = False
    pre_script: str = ""
    post_script: str = ""

    @property
    def places(self) -> list[str]:
        """Where its backups stand: ids of destinations, and OPSC_ON_SERVER for the nodes."""
        return [copy.destination for copy in self.copies] + ([ON_SERVER] if self.keep else [])

    def order(self, tag: str, time: int, backup_id: str) -> BackupOrder:
        """The order of a backup by that name, of that time (unix seconds)."""
        return BackupOrder(tag, time, backup_id, *msgspec.structs.astuple(self))


class Due(msgspec.Struct, frozen=True):
    """An occurrence that is to be run: since `at`, and not later than `until`."""

    at: int
    until: float


class Missed(msgspec.Struct, frozen=True):
    """So many occurrences in a row, from `first` to `last`, that were not run, and why, as a clause for people. `at`:
    when the first was given up."""

    first: int
    last: int
    count: int
    why: str
    at: float = 0.0


class ScheduledRun(msgspec.Struct, frozen=True):
    """The newest run. `state`: `starting` (decided; its request may exist or not; `message`: what keeps it from
    beginning for now), then what its request is (`running`, `success`, `error`, `cancelled`), or `refused` (no request
    could be made), or `gone` (there is no such request any more). `request`: its id, decided before it is made.
    `began`: when it was decided. `partial`: as its request's. `given_up`: when it was, of one that never had a
    request."""

    due: Due
    request: str
    order: BackupOrder
    began: float
    state: str = "starting"
    partial: bool = False
    message: str = ""
    given_up: float = 0.0


class CopyRetry(msgspec.Struct, frozen=True):
    """Destinations that a run did not reach and that are copied to from where it holds. `run`: its request. `source`: a
    destination that has the backup, None = the nodes. `attempts`: syncs that were begun; `request`: the one that runs
    (its id is decided before it is made), "" = the next one comes `at`. `parts`: of how many nodes the source has a
    whole part."""

    run: str
    tag: str
    destinations: list[str]
    source: str | None
    at: float
    attempts: int = 0
    request: str = ""
    parts: int = 0


class Schedule(msgspec.Struct, frozen=True):
    """A schedule as the store keeps it; each `version` is one more than the one that it replaced.

    `params`: the job as it was sent, for who looks at it. `decided`: of all occurrences until then it is decided what
    becomes of them. `waiting`: one that waits for the end of the run before it. `missed`: newest first.
    `succeeded`: when the last run that was whole ended, 0 = none was.
    """

    id: str
    cluster: str
    version: int
    timetable: Timetable
    job: BackupJob
    params: dict[str, Any]
    decided: float
    waiting: Due | None = None
    run: ScheduledRun | None = None
    missed: list[Missed] = []
    retries: list[CopyRetry] = []
    succeeded: float = 0.0
