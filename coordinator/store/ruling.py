"""What becomes of a cluster's rules of retention when places and schedules change: pure, the same for every store.

In: the rules that are kept. Out: those to be written, and those to be removed, in one step with what they follow from.

Where a backup id's own rule ends, an explicit one that retains all stands in its place, so that the wider one of its
place doesn't take it: for that the rules of a destination that is forgotten leave such ones for its repository.
"""

from collections.abc import Iterable
from typing import NamedTuple

from coordinator.model.retention import EVERY_ID, KeptRule, Rule

FORGOTTEN = "forgotten:"
"""Before a repository's id: the place of rules whose destination is forgotten. No destination's id has a colon."""


class Named(NamedTuple):
    """Which of a cluster's rules."""

    place: str
    backup_id: str


class Ruling:
    """A cluster's rules, all of them, as they were and as they become."""

    def __init__(self, cluster: str, kept: Iterable[KeptRule]) -> None:
        self._cluster = cluster
        self._before = {Named(each.destination, each.backup_id): each for each in kept}
        self._after = dict(self._before)

    @property
    def puts(self) -> list[KeptRule]:
        """Those that are new or changed."""
        return [kept for name, kept in self._after.items() if self._before.get(name) != kept]

    @property
    def drops(self) -> list[Named]:
        """Those that are none any more."""
        return [name for name in self._before if name not in self._after]

    def put(self, rules: Iterable[KeptRule]) -> None:
        """Each in the place of a former one. One of `EVERY_ID` that retains all is none: nothing wider takes its
        place."""
        for kept in rules:
            name = Named(kept.destination, kept.backup_id)
            if kept.backup_id == EVERY_ID and kept.rule.retains_all:
                self._after.pop(name, None)
            else:
                self._after[name] = kept

    def retain_all_of(self, backup_id: str, places: Iterable[str]) -> None:
        """From now on nothing of the backup id goes by itself, at the places and wherever it has a rule."""
        ruled = {name.place for name in self._after if name.backup_id == backup_id}
        self._retain_all((place, backup_id) for place in sorted({*places, *ruled}))

    def forget(self, destination: str, repository_id: str | None) -> None:
        """Its rules go with it: of ids that had one nothing goes by itself when its repository is added anew. None:
        there is no such destination."""
        if repository_id is not None:
            self._leave(destination, repository_id)
        self._after = {name: kept for name, kept in self._after.items() if name.place != destination}

    def remember(self, destination: str, repository_id: str, former: str | None) -> None:
        """It is put, in the place of one with the repository `former`, if any: ids that had rules of their own in its
        repository before retain all."""
        if former is not None and former != repository_id:
            self._leave(destination, former)
        new = self._ids(f"{FORGOTTEN}{repository_id}") - self._ids(destination)
        self._retain_all((destination, backup_id) for backup_id in sorted(new))

    def _leave(self, destination: str, repository_id: str) -> None:
        there = f"{FORGOTTEN}{repository_id}"
        self._retain_all((there, backup_id) for backup_id in sorted(self._ids(destination)))

    def _retain_all(self, names: Iterable[tuple[str, str]]) -> None:
        self.put([KeptRule(self._cluster, place, backup_id, Rule()) for place, backup_id in names])

    def _ids(self, place: str) -> set[str]:
        """The backup ids that have a rule of their own there."""
        return {name.backup_id for name in self._after if name.place == place and name.backup_id != EVERY_ID}
