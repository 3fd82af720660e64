"""What a person sees. In: lines and progress. Out: lines on standard output; progress on standard error, where that is
a terminal."""

import sys
import time
from collections.abc import Sequence
from typing import TextIO

_EVERY_SECONDS = 0.2
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


class Screen:
    """`out` takes the answer, `progress` what happens meanwhile."""

    def __init__(self, out: TextIO | None = None, progress: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._progress = progress or sys.stderr
        self._last = 0.0
        self._shown = False

    def line(self, text: str = "") -> None:
        """A line of the answer. What can't be printed in it is escaped: names come from a destination."""
        self.clear()
        print(printable(text), file=self._out, flush=True)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns as wide as they need to be."""
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
        for row in (head, *rows):
            self.line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def progress(self, text: str) -> None:
        """What happens now, in one line that the next one replaces."""
        now = time.monotonic()
        if self._progress.isatty() and now - self._last >= _EVERY_SECONDS:
            self._last, self._shown = now, True
            print(f"\r\x1b[K{printable(text)[:100]}", end="", file=self._progress, flush=True)

    def clear(self) -> None:
        """Take the line of progress away."""
        if self._shown:
            self._shown = False
            print("\r\x1b[K", end="", file=self._progress, flush=True)


def printable(text: str) -> str:
    """The text without control characters, which a terminal would obey."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def size_of(count: float) -> str:
    """Bytes as a person reads them."""
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def time_of(seconds: float | None) -> str:
    """Unix seconds as a date in UTC."""
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))
