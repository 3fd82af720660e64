"""The count of a node's bytes: fresh enough, never in the way of who asks."""

import threading
from pathlib import Path

import pytest

from agent.cassandra import held_bytes
from agent.cassandra.errors import CassandraUnavailable
from agent.cassandra.held_bytes import FRESH_SECONDS, HeldBytes

ID = "7fe7d710e77b11f18a68917191c0c181"


async def test_the_disks_are_read_once_a_minute_however_often_is_asked(tmp_path: Path) -> None:
    """A node may have 200,000 files."""
    now = [0.0]
    path = tmp_path / f"ks/t-{ID}/nb-1-big-Data.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * 100)

    async def data() -> list[str]:
        return [str(tmp_path)]

    held = HeldBytes(data, patience=60, clock=lambda: now[0])
    assert await held.read() == 100
    path.write_bytes(b"x" * 200)
    assert await held.read() == 100
    now[0] = FRESH_SECONDS
    assert await held.read() == 200
    await held.close()


async def test_a_disk_that_hangs_does_not_hold_up_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not known then, and known when the disk has answered."""
    answered = threading.Event()

    def slow(directories: list[str]) -> int:
        answered.wait()
        return 5

    monkeypatch.setattr(held_bytes, "live_bytes", slow)

    async def data() -> list[str]:
        return ["/somewhere"]

    held = HeldBytes(data, patience=0)
    assert await held.read() is None
    answered.set()
    held._patience = 60
    assert await held.read() == 5
    await held.close()


async def test_a_node_that_is_down_has_no_known_load(tmp_path: Path) -> None:
    """The report tells the trouble; the load alone must not end it."""

    async def data() -> list[str]:
        raise CassandraUnavailable("down")

    held = HeldBytes(data, patience=60)
    assert await held.read() is None
    await held.close()
