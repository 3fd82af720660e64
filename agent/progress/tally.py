"""A command's counters. In: files and bytes, piece by piece, from any thread. Out: frozen views, and what changed since
a sequence of the event log."""

import threading

from agent.wire.commands import Counts, Progress

MAX_ERRORS = 100
"""Errors kept per table; the last one then says how many more there were."""
MAX_ERROR_LENGTH = 2_000

_Key = tuple[str, str, str]


class _Cell:
    """The counts of one table in one destination, and the event sequence at which they were last shown as changed."""

    __slots__ = ("done_bytes", "done_files", "errors", "mark", "total_bytes", "total_files", "unlisted_errors")

    def __init__(self) -> None:
        self.done_files = 0
        self.done_bytes = 0
        self.total_files = 0
        self.total_bytes = 0
        self.errors: list[str] = []
        self.unlisted_errors = 0
        self.mark = 0

    def counts(self) -> Counts:
        more = [f"… and {self.unlisted_errors} more"] if self.unlisted_errors else []
        return Counts(self.done_files, self.total_files, self.done_bytes, self.total_bytes, [*self.errors, *more])


class CommandTally:
    """Implements agent.model.job.Tally. A call costs a lock and two look-ups: cheap enough per piece."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cells: dict[_Key, _Cell] = {}
        self._changed: set[_Key] = set()

    def expect(self, destination: str, keyspace: str, table: str, files: int, size: int) -> None:
        """Set the totals of a table (bytes)."""
        with self._lock:
            cell = self._cell((destination, keyspace, table))
            cell.total_files = files
            cell.total_bytes = size

    def anew(self, destination: str) -> None:
        """Take back all that was counted as done of a destination, and what was wrong."""
        with self._lock:
            for key, cell in self._cells.items():
                if key[0] == destination:
                    cell.done_files = cell.done_bytes = cell.unlisted_errors = 0
                    cell.errors.clear()
                    self._changed.add(key)

    def done(self, destination: str, keyspace: str, table: str, files: int, size: int) -> None:
        """Add files that are finished, and bytes that are there or on their way; fewer than none takes some back."""
        with self._lock:
            cell = self._cell((destination, keyspace, table))
            cell.done_files += files
            cell.done_bytes += size

    def error(self, destination: str, keyspace: str, table: str, text: str) -> None:
        """Note what went wrong with a table; after the first hundred only their number."""
        with self._lock:
            cell = self._cell((destination, keyspace, table))
            if len(cell.errors) < MAX_ERRORS:
                cell.errors.append(text[:MAX_ERROR_LENGTH])
            else:
                cell.unlisted_errors += 1

    @property
    def changed(self) -> bool:
        """Whether anything was counted since the last `mark`."""
        return bool(self._changed)

    def mark(self, sequence: int) -> None:
        """Let what changed since the last mark belong to the event `sequence`."""
        with self._lock:
            for key in self._changed:
                self._cells[key].mark = sequence
            self._changed.clear()

    def postpone(self, after: int, sequence: int) -> None:
        """Let what was marked after one sequence belong to a later event: a reader could not be told it yet."""
        with self._lock:
            for cell in self._cells.values():
                if cell.mark > after:
                    cell.mark = sequence

    def since(self, sequence: int) -> Progress:
        """The counts, as they are now, of the tables marked after `sequence`."""
        with self._lock:
            return self._nested([(key, cell.counts()) for key, cell in self._cells.items() if cell.mark > sequence])

    def view(self) -> Progress:
        """All counts as they are now."""
        with self._lock:
            return self._nested([(key, cell.counts()) for key, cell in self._cells.items()])

    def _cell(self, key: _Key) -> _Cell:
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = _Cell()
        self._changed.add(key)
        return cell

    @staticmethod
    def _nested(counted: list[tuple[_Key, Counts]]) -> Progress:
        progress: Progress = {}
        for (destination, keyspace, table), counts in counted:
            progress.setdefault(destination, {}).setdefault(keyspace, {})[table] = counts
        return progress
