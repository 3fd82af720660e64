"""Rules of retention: which backups of one place and backup id are kept, and how long."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec

AgeUnit = Literal["minutes", "hours", "days", "weeks"]
SECONDS_OF: dict[str, int] = {"minutes": 60, "hours": 3_600, "days": 86_400, "weeks": 604_800}
EVERY_ID = ""
"""The backup id of a rule that holds for each backup id at its place that has no rule of its own."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A backup goes when it is older than `age` units, or when there are `count` newer good ones; 0 = it never goes for
    that. The newest `floor` good backups never go."""

    age: int = 0
    unit: AgeUnit = "days"
    count: int = 0
    floor: Annotated[int, msgspec.Meta(ge=1)] = 1

    @property
    def age_seconds(self) -> int:
        """The age in seconds; 0 = any."""
        return self.age * SECONDS_OF[self.unit]

    @property
    def retains_all(self) -> bool:
        """Whether nothing ever goes by it."""
        return not self.age and not self.count


class KeptRule(msgspec.Struct, frozen=True):
    """A rule as the store keeps it: `destination` is a destination's id or OPSC_ON_SERVER, `backup_id` "adhoc", a
    schedule's id, or `EVERY_ID`. One of an id may retain all: then `EVERY_ID`'s doesn't hold for it."""

    cluster: str
    destination: str
    backup_id: str
    rule: Rule


def ruled_places(rules: Iterable[KeptRule]) -> list[str]:
    """Where something may go by the rules."""
    return sorted({kept.destination for kept in rules if not kept.rule.retains_all})


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of a backup, and why, as a clause for people."""

    tag: str
    backup_id: str
    goes: bool
    why: str


class RetentionNote(msgspec.Struct, frozen=True):
    """How the last run at a place went; times in unix seconds, 0 = never. `asked`: a person wants a run, or one was cut
    off. `after`: the requests of successful backups that were there when it began. `error`: what it failed with, None
    after one that did not; `failed`: since when runs fail with that. `ruled`: when the place's first rule was seen,
    from when on runs may be due; until the first run `after` is of then.
    """

    begun: float = 0.0
    ended: float = 0.0
    asked: bool = False
    after: list[str] = []
    deleted: list[str] = []
    error: dict[str, Any] | None = None
    ruled: float = 0.0
    failed: float = 0.0
