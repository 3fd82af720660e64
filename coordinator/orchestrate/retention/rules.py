"""Which backups of a place go by its rules. In: its listing, rules by backup id, the time, what is pinned. Out: a
verdict for each backup. Pure.

What makes it safe:
- Only `success` is good, and of that what no scrub found damaged and no
  running request may undo. The newest good backups of each backup id, as many as
  the rule's floor, never go; without a good one nothing goes, for what is left may be the last copy.
- An age is reckoned from the newest good backup, never from a clock that is ahead of it: where no backup is taken any
  more nothing grows old.
- Where the store tells when a backup's record was put, a backup goes only if it would go by those times too. So a
  clock of ours that jumps takes nothing along, nor does a store's, and an old backup that was copied there lately is
  new there.
- What runs, is being deleted, is pinned, or may still be written by another coordinator stays.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from math import inf

from agent.wire.backups import SUCCESS
from coordinator.model.cluster import Backup
from coordinator.model.retention import EVERY_ID, Rule, Verdict

ENDED = frozenset({SUCCESS, "partial", "failed"})
"""States of a backup that nobody writes or deletes."""


class _Clock:
    """The good backups of one backup id by one clock. `latest`: no age is reckoned from later than this. A clock that
    knows no good backup lets none go."""

    def __init__(self, at: Callable[[Backup], float | None], good: Sequence[Backup], latest: float) -> None:
        self._at = at
        self._good = [(time, each.tag) for each in good if (time := at(each)) is not None]
        self._from = min(latest, max((time for time, _ in self._good), default=-inf))

    def knows(self, backup: Backup) -> bool:
        return self._at(backup) is not None

    def age(self, backup: Backup) -> float:
        """Seconds by which it is older than the newest good one; negative when it is newer."""
        return self._from - (self._at(backup) or 0.0)

    def newer(self, backup: Backup) -> int:
        """How many good backups are newer."""
        mine = (self._at(backup) or 0.0, backup.tag)
        return sum(each > mine for each in self._good)


def judge(
    backups: Sequence[Backup],
    rules: Mapping[str, Rule],
    now: float,
    pinned: Mapping[str, str] | None = None,
    doubtful: Set[str] = frozenset(),
) -> list[Verdict]:
    """A verdict for every backup, oldest first. `now`: unix seconds by the slowest clock that was asked. `pinned`:
    tag → who needs it, as a clause. `doubtful`: tags that lost something, or may still be undone, which makes them
    no copy to count on."""
    by_id: dict[str, list[Backup]] = {}
    for backup in sorted(backups, key=lambda each: (each.time, each.tag)):
        by_id.setdefault(backup.backup_id, []).append(backup)
    found = [
        verdict
        for backup_id, group in by_id.items()
        for verdict in _judge_group(
            group, rules.get(backup_id, rules.get(EVERY_ID, Rule())), now, pinned or {}, doubtful
        )
    ]
    order = {backup.tag: (backup.time, backup.tag) for backup in backups}
    return sorted(found, key=lambda verdict: order[verdict.tag])


def _judge_group(
    group: Sequence[Backup], rule: Rule, now: float, pinned: Mapping[str, str], doubtful: Set[str]
) -> list[Verdict]:
    good = [backup for backup in group if backup.state == SUCCESS and backup.tag not in doubtful]
    clocks = [_Clock(lambda each: each.time, good, now), _Clock(lambda each: each.stored, good, inf)]
    verdicts = []
    for backup in group:
        goes, why = _fate(backup, rule, good, [clock for clock in clocks if clock.knows(backup)], pinned)
        verdicts.append(Verdict(backup.tag, backup.backup_id, goes, why))
    return verdicts


def _fate(
    backup: Backup, rule: Rule, good: Sequence[Backup], clocks: Sequence[_Clock], pinned: Mapping[str, str]
) -> tuple[bool, str]:
    if rule.retains_all:
        return False, "no rule lets it go"
    if backup.state not in ENDED:
        return False, f"it is {backup.state}"
    if backup.tag in pinned:
        return False, pinned[backup.tag]
    if not good:
        return False, "there is no good backup of this id"
    if backup in good and any(clock.newer(backup) < rule.floor for clock in clocks):
        return (
            False,
            "it is the newest good one" if rule.floor == 1 else f"it is one of the newest {rule.floor} good ones",
        )
    if rule.age and all(clock.age(backup) > rule.age_seconds for clock in clocks):
        return True, f"it is more than {rule.age} {rule.unit} older than the newest good one"
    if rule.count and all(clock.newer(backup) >= rule.count for clock in clocks):
        return True, "there is a newer good one" if rule.count == 1 else f"there are {rule.count} newer good ones"
    doubted = "" if backup in good or backup.state != SUCCESS else "not counted as good (damaged, or not through yet); "
    return False, f"{doubted}it is neither too old nor one too many"
