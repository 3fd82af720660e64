"""Cassandra's own snapshots of what was there before a restore."""

from pathlib import Path

from agent.jobs.check import auto_snapshots

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
