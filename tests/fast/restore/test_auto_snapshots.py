"""Cassandra's own snapshots of what was there before a restore."""

import os
from pathlib import Path
from typing import Any

import pytest

from agent.jobs.restore.check import auto_snapshots

ID = "0123456789abcdef0123456789abcdef"


def test_snapshots_of_emptied_and_dropped_tables_are_counted_and_nobody_elses(tmp_path: Path) -> None:
    """With the bytes that only they hold; a backup's snapshot isn't Cassandra's own."""
    live = tmp_path / f"shop/orders-{ID}/nb-1-big-Data.db"
    live.parent.mkdir(parents=True)
    live.write_bytes(bytes(100))
    for tag, size in (("truncated-1-orders", 7), ("dropped-2-orders", 30), ("opscenter_adhoc_x", 500)):
        place = live.parent / "snapshots" / tag
        place.mkdir(parents=True)
        (place / "nb-2-big-Data.db").write_bytes(bytes(size))
        (place / "nb-1-big-Data.db").hardlink_to(live)
    assert auto_snapshots([str(tmp_path)]) == (2, 37)


def test_each_directory_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: every TRUNCATE leaves a snapshot of its own tag, and a node of thousands of tables has thousands of
    them: they are counted in one walk."""
    for number in range(30):
        place = tmp_path / f"shop/t{number}-{ID}/snapshots/truncated-{number}-t{number}/.by_name"
        place.mkdir(parents=True)
        (place / "nb-1-big-Data.db").write_bytes(b"x")
    looked: list[str] = []
    really = os.scandir

    def noted(path: Any) -> Any:
        looked.append(str(path))
        return really(path)

    monkeypatch.setattr(os, "scandir", noted)
    assert auto_snapshots([str(tmp_path)]) == (30, 30)
    assert len([path for path in looked if path.endswith("/snapshots")]) == 30
    assert len(looked) < 30 * 5
