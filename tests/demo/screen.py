"""What a person sees while the demo runs. In: steps and request statuses. Out: lines on standard output."""

import time
from typing import Any

_UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_INDENT = " " * 11
_COUNTED = frozenset({"upload", "fetch", "import"})
"""Phases that count files. What isn't snapshot yet counts tables, 0 of 1 each: that would only puzzle."""


class Screen:
    """Prints steps with their times, and progress only when it moved."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._phases: dict[str, str] = {}
        self._counts: dict[tuple[str, str], str] = {}
        self._counting: dict[str, str] = {}

    def step(self, text: str) -> None:
        """A step begins."""
        self._phases.clear()
        self._counts.clear()
        self._counting.clear()
        print(f"[{time.monotonic() - self._began:6.1f} s] {text}", flush=True)

    def line(self, text: str) -> None:
        """A fact that belongs to the step."""
        print(f"{_INDENT}{text}", flush=True)

    def progress(self, status: dict[str, Any]) -> None:
        """What changed in a running request: the phase that a node is in, and its counts of each keyspace."""
        for address, part in sorted(status.get("details", {}).get("subrequests", {}).items()):
            for line in self._changes(address, part["details"]):
                self.line(line)

    def _changes(self, address: str, details: dict[str, Any]) -> list[str]:
        phase = details.get("phase", "")
        if phase in _COUNTED:
            self._counting[address] = phase
        # The last counts of a phase may come when the node is further on already.
        counting = self._counting.get(address, "")
        lines = []
        if counting:
            for keyspace, tables in sorted(details.get("sstables", {}).items()):
                text = counted(tables)
                if text and self._counts.get((address, keyspace)) != text:
                    self._counts[address, keyspace] = text
                    lines.append(f"{address}  {counting:<8}  {keyspace:<12}  {text}")
        if phase and self._phases.get(address) != phase:
            self._phases[address] = phase
            if not lines or counting != phase:
                lines.append(f"{address}  {phase}")
        return lines


def counted(tables: dict[str, Any]) -> str:
    """Files and bytes of a keyspace's tables, done of all; '' while nothing is done."""
    done, total, done_size, total_size = (
        sum(table[key] for table in tables.values()) for key in ("done_files", "total_files", "done_size", "total_size")
    )
    return f"{done} of {total} files, {size(done_size)} of {size(total_size)}" if done or done_size else ""


def size(count: float) -> str:
    """Bytes in the unit that fits."""
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count:.0f} B"
