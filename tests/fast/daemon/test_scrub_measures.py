"""What Prometheus is told of scrubs."""

import asyncio
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from agent.daemon.scrub_measures import ScrubMeasures
from agent.jobs.scrub.notes import ScrubNote, ScrubNotes
from agent.plan.scrub import SLICES


def test_the_age_of_the_oldest_unread_byte_outlives_a_restart(tmp_path: Path) -> None:
    """Promise: it grows while nothing is read, is there after a restart, and goes with its destination."""
    read = (500.0,) * SLICES
    oldest = (100.0, *(None,) * (SLICES - 1))
    note = ScrubNote("far/away", "r1", "h1", read, oldest, 500.0, damaged=2, missing=3)
    asyncio.run(ScrubNotes(tmp_path).put(note))
    known, now = ["far/away"], 700.0
    registry = CollectorRegistry()
    registry.register(ScrubMeasures(ScrubNotes(tmp_path), lambda: known, lambda: now))
    told = generate_latest(registry).decode()
    assert 'helenus_agent_scrub_oldest_unread_age_seconds{destination="far/away"} 200.0' in told
    assert 'helenus_agent_scrub_last_timestamp_seconds{destination="far/away"} 500.0' in told
    assert 'helenus_agent_scrub_bad_objects{destination="far/away",problem="damaged"} 2.0' in told
    assert 'helenus_agent_scrub_bad_objects{destination="far/away",problem="missing"} 3.0' in told
    known.clear()
    assert "far/away" not in generate_latest(registry).decode()


def test_a_note_that_cannot_be_read_counts_as_lost(tmp_path: Path) -> None:
    """Promise: a damaged state only costs reading everything again."""
    (tmp_path / "scrubs").mkdir()
    (tmp_path / "scrubs" / "d1").write_bytes(b'{"destination": "d1", "read": [1.0]}')
    notes = ScrubNotes(tmp_path)
    assert notes.all() == []
    assert notes.of("d1", "r1", "h1").read == (None,) * SLICES
