"""What a person sees while the demo runs. In: steps and request statuses. Out: lines on standard output."""

import time
from typing import Any


class Screen:
    """Prints steps with their times, and progress only when it moved."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._shown: dict[tuple[str, str, str], str] = {}

    def step(self, text: str) -> None:
        """A step begins."""
        self._shown.clear()
        print(f"[{time.monotonic() - self._began:6.1f} s] {text}", flush=True)

    def line(self, text: str) -> None:
        """A fact that belongs to the step."""
        print(f"           {text}", flush=True)

    def progress(self, status: dict[str, Any]) -> None:
        """The counts of a running request, per phase, node and keyspace."""
        for address, part in sorted(status.get("details", {}).get("subrequests", {}).items()):
            details = part["details"]
            phase = details.get("phase", "")
            for keyspace, tables in sorted(details.get("sstables", {}).items()):
                done = sum(table["done_files"] for table in tables.values())
                total = sum(table["total_files"] for table in tables.values())
                size = sum(table["total_size"] for table in tables.values())
                text = f"{done}/{total} files, {mib(size)}"
                if total and self._shown.get((address, phase, keyspace)) != text:
                    self._shown[address, phase, keyspace] = text
                    self.line(f"{phase:<8} {address}  {keyspace:<20} {text}")


def mib(size: float) -> str:
    """Bytes as MiB."""
    return f"{size / 2**20:.1f} MiB"
