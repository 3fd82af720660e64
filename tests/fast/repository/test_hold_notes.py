"""What an agent remembers of what is held under object lock."""

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from agent.plan.objects import ObjectIndex
from agent.repository.hold_notes import HoldNotes, HoldPlace
from kit.atomic_files import TEMPORARY

PLACE = HoldPlace("d1", ("s3", "http://store", "bucket", "p"), "r1", "c1", "11111111-2222-3333-4444-555555555555")


def noted() -> ObjectIndex:
    index = ObjectIndex()
    for number in range(300):
        index.add(bytes([number % 256, number // 256]) + bytes(30), number, number % 2)
    return index


def test_a_note_comes_back_as_it_was(tmp_path: Path) -> None:
    """Promise: every object with its codec, and until when; the next note takes the place of the one before."""
    HoldNotes(tmp_path / "holds").write(PLACE, ObjectIndex(), 1.0)
    HoldNotes(tmp_path / "holds").write(PLACE, noted(), 123.0)
    held = HoldNotes(tmp_path / "holds").read(PLACE)
    assert held is not None
    assert held.until == 123.0
    assert list(held.names.missing_from(ObjectIndex())) == list(noted().missing_from(ObjectIndex()))


@pytest.mark.parametrize(
    "other",
    [
        {"store": ("s3", "http://store", "other", "p")},
        {"repository_id": "r2"},
        {"cluster_id": "c2"},
        {"host_id": "21111111-2222-3333-4444-555555555555"},
        {"destination_id": "d2"},
    ],
)
def test_a_note_of_another_place_says_nothing(tmp_path: Path, other: dict[str, object]) -> None:
    """Promise: a copy of the repository in another bucket, another repository under the same name, another node:
    nothing of what was held elsewhere is believed."""
    notes = HoldNotes(tmp_path)
    notes.write(PLACE, noted(), 123.0)
    assert notes.read(msgspec.structs.replace(PLACE, **other)) is None


@pytest.mark.parametrize("cut", [0, 5, -3])
def test_a_broken_note_says_nothing(tmp_path: Path, cut: int) -> None:
    """Promise: a file that is cut short is no note; everything is held anew, and the log tells why so much is."""
    notes = HoldNotes(tmp_path)
    notes.write(PLACE, noted(), 123.0)
    [file] = tmp_path.glob("*.held")
    file.write_bytes(file.read_bytes()[:cut])
    with capture_logs() as logged:
        assert notes.read(PLACE) is None
    assert [(line["event"], line["destination"]) for line in logged] == [("hold_note_unreadable", "d1")]
    assert len(logged[0]["reason"]) > len("None")


def test_a_note_that_can_t_be_written_costs_requests_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a full state directory fails no backup whose bytes are held; what was noted before stays, and the log
    tells."""
    notes = HoldNotes(tmp_path)
    notes.write(PLACE, noted(), 123.0)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("agent.repository.hold_notes.write_atomically", full)
    with capture_logs() as logged:
        notes.write(PLACE, ObjectIndex(), 456.0)
    reason = "[Errno 28] No space left on device"
    assert logged == [{"event": "hold_note_not_written", "log_level": "warning", "destination": "d1", "reason": reason}]
    held = notes.read(PLACE)
    assert held is not None
    assert held.until == 123.0


def test_destinations_that_end_together_are_noted_side_by_side(tmp_path: Path) -> None:
    """Promise: a backup into two locked destinations notes both at a time, each in a thread of its own; what a process
    left half-written goes when the next one begins."""
    (tmp_path / f"{TEMPORARY}left").write_bytes(b"half")
    notes = HoldNotes(tmp_path)
    assert list(tmp_path.iterdir()) == []

    def write_often(destination: str) -> None:
        for _ in range(60):
            notes.write(msgspec.structs.replace(PLACE, destination_id=destination), noted(), 123.0)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write_often, ["d1", "d2"]))
    assert len(list(tmp_path.iterdir())) == 2
