"""What the demo prints of a running request."""

from typing import Any

import pytest

from tests.demo.screen import Screen, size


def _status(phase: str, done: int, *, kind: str = "backup", total: int = 10) -> dict[str, Any]:
    counts = {"done_files": done, "total_files": total, "done_size": done * 2**20, "total_size": total * 2**20}
    details = {"phase": phase, "sstables": {"shop": {"orders": counts}, "empty": {}}}
    return {"type": kind, "details": {"subrequests": {"127.0.1.1": {"details": details}}}}


def test_a_line_is_printed_when_something_changed_and_only_then(capsys: pytest.CaptureFixture[str]) -> None:
    """Promise: progress shows done of all, per node and keyspace, and nothing twice."""
    screen = Screen()
    for status in (_status("snapshot", 0, total=1), *[_status("upload", done) for done in (0, 4, 4, 10, 10)]):
        screen.progress(status)
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == [
        "127.0.1.1 snapshot",
        "127.0.1.1 upload",
        "127.0.1.1 upload shop 4 of 10 files, 4.0 MiB of 10.0 MiB",
        "127.0.1.1 upload shop 10 of 10 files, 10.0 MiB of 10.0 MiB",
    ]


def test_counts_are_told_by_the_phase_that_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """Promise: what was fetched is not repeated by the phases that move no bytes, and an import counts for itself."""
    screen = Screen()
    for phase, done in (("fetch", 10), ("truncate", 10), ("import", 10), ("import", 0), ("import", 4), ("check", 10)):
        screen.progress(_status(phase, done, kind="restore"))
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == [
        "127.0.1.1 fetch shop 10 of 10 files, 10.0 MiB of 10.0 MiB",
        "127.0.1.1 truncate",
        "127.0.1.1 import",
        "127.0.1.1 import shop 4 of 10 files, 4.0 MiB of 10.0 MiB",
        "127.0.1.1 import shop 10 of 10 files, 10.0 MiB of 10.0 MiB",
        "127.0.1.1 check",
    ]


def test_sizes_are_said_in_the_unit_that_fits() -> None:
    """Promise: a small keyspace is not «0.0 MiB»."""
    assert [size(count) for count in (0, 1023, 1536, 3 * 2**20)] == ["0 B", "1023 B", "1.5 KiB", "3.0 MiB"]
