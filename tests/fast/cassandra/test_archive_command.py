"""The program that Cassandra calls for each closed segment, run as Cassandra runs it."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from agent.cassandra.commit_log import archive_command
from agent.cassandra.commit_log.errors import ArchivingRefused
from tests.cluster.log_segments import name_of, segment

NUMBER = 1_795_904_262_200
NAME = name_of(NUMBER)


class Place:
    """A commit-log directory, an archive directory and the program."""

    def __init__(self, root: Path) -> None:
        self.log, self.archive, self.program = (
            root / "commitlog",
            root / "archive",
            root / "state" / "archive-commitlog",
        )
        self.log.mkdir()
        self.archive.mkdir()
        (self.archive / archive_command.MARK).touch()
        archive_command.install(self.program)
        self.segment = self.log / NAME
        self.segment.write_bytes(segment(NUMBER, size=65_536))
        self.target = self.archive / NAME

    def run(self, *more: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
        """As Cassandra does: the line split at single spaces, no shell."""
        line = f"{self.program} {self.segment} {self.target}"
        environment = {**os.environ, "PATH": path} if path else None
        return subprocess.run(
            [*line.split(" "), *more], capture_output=True, text=True, check=False, timeout=60, env=environment
        )

    def without_links(self, root: Path) -> str:
        """A PATH on which every hard link is refused, as by another file system."""
        (root / "bin").mkdir()
        refusing = root / "bin" / "ln"
        refusing.write_text("#!/bin/sh\nexit 1\n")
        refusing.chmod(0o755)
        return f"{root / 'bin'}:{os.environ['PATH']}"

    def left(self) -> list[str]:
        """What is in the archive directory."""
        return sorted(name for name in os.listdir(self.archive) if name != archive_command.MARK)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Fresh directories."""
    return Place(tmp_path)


def test_a_segment_is_linked(place: Place) -> None:
    """Promise: archiving costs no copy where both directories are on one file system."""
    assert place.run().returncode == 0
    assert place.target.samefile(place.segment)
    assert place.left() == [NAME]
    assert archive_command.failures(place.program) == []


def test_the_same_segment_again_is_fine(place: Place) -> None:
    """Promise: Cassandra hands over what it finds at its start once more: linked or copied, that is success."""
    assert place.run().returncode == 0
    assert place.run().returncode == 0
    content = place.segment.read_bytes()
    place.target.unlink()
    place.target.write_bytes(content)
    assert place.run().returncode == 0
    assert not place.target.samefile(place.segment)
    assert place.left() == [NAME]


def test_a_target_with_other_content_is_a_failure_and_stays(place: Place) -> None:
    """Promise: nothing is overwritten, Cassandra keeps the segment, and the failure is noted for the agent."""
    for other in (b"", place.segment.read_bytes()[:-1], place.segment.read_bytes()[:-1] + b"x"):
        place.target.write_bytes(other)
        told = place.run()
        assert told.returncode == 1
        assert "other content" in told.stderr
        assert place.target.read_bytes() == other
        assert place.left() == [NAME]
    assert archive_command.failures(place.program) == [NAME]
    archive_command.forget_failure(place.program, NAME)
    archive_command.forget_failure(place.program, NAME)
    assert archive_command.failures(place.program) == []
    place.target.unlink()
    place.target.mkdir()
    assert place.run().returncode == 1
    assert place.left() == [NAME]
    assert list(place.target.iterdir()) == []


def test_where_links_are_refused_it_copies_with_the_same_time(place: Place, tmp_path: Path) -> None:
    """Promise: another file system gets a whole copy under a hidden name first; its time is the segment's."""
    os.utime(place.segment, (1_000_000, 1_000_000))
    assert place.run(path=place.without_links(tmp_path)).returncode == 0
    assert place.target.read_bytes() == place.segment.read_bytes()
    assert not place.target.samefile(place.segment)
    assert place.target.stat().st_mtime == 1_000_000
    assert place.left() == [NAME]


def test_a_copy_that_is_cut_leaves_no_target_and_the_next_one_succeeds(place: Place, tmp_path: Path) -> None:
    """Promise: killed in the middle of a copy, the archive has nothing that looks like a segment; what is left is told
    to the agent."""
    path = place.without_links(tmp_path)
    slow = tmp_path / "bin" / "cp"
    slow.write_text('#!/bin/sh\nhead -c 100 "$2" > "$3"\nsleep 60\n')
    slow.chmod(0o755)
    running = subprocess.Popen(
        [place.program, place.segment, place.target], env={**os.environ, "PATH": path}, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not archive_command.unfinished_copies(place.archive):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    (left,) = archive_command.unfinished_copies(place.archive)
    assert left.name.startswith(f".{NAME}.")
    assert not place.target.exists()
    slow.unlink()
    assert place.run(path=path).returncode == 0
    assert place.target.read_bytes() == place.segment.read_bytes()


def test_a_copy_that_fails_is_a_failure_and_removes_what_it_began(place: Place, tmp_path: Path) -> None:
    """Promise: the exit code is honest when the disk is full: no target, nothing left, noted."""
    path = place.without_links(tmp_path)
    for program, text in (("cp", 'head -c 100 "$2" > "$3"\nexit 1'), ("sync", "exit 1"), ("mv", "exit 1")):
        failing = tmp_path / "bin" / program
        failing.write_text(f"#!/bin/sh\n{text}\n")
        failing.chmod(0o755)
        assert place.run(path=path).returncode == 1, program
        assert place.left() == [], program
        assert archive_command.failures(place.program) == [NAME]
        archive_command.forget_failure(place.program, NAME)
        failing.unlink()


def test_a_missing_segment_or_directory_is_a_failure(place: Place) -> None:
    """Promise: nothing is called archived that isn't there, and nothing is put where a volume should be mounted."""
    place.archive.rename(place.archive.with_name("away"))
    assert place.run().returncode == 1
    place.archive.with_name("away").rename(place.archive)
    content = place.segment.read_bytes()
    place.segment.unlink()
    assert place.run().returncode == 1
    assert place.left() == []
    place.segment.write_bytes(content)
    (place.archive / archive_command.MARK).unlink()
    told = place.run()
    assert (told.returncode, place.left()) == (1, [])
    assert "mounted" in told.stderr
    assert subprocess.run([place.program], capture_output=True, check=False).returncode == 64


def test_what_it_is_called_for_is_noted_and_needs_no_note(place: Place) -> None:
    """Promise: the agent learns of a segment that came and went meanwhile; where no note can be made, archiving goes
    on."""
    assert place.run().returncode == 0
    assert archive_command.offers(place.program) == [NAME]
    archive_command.forget_offers(place.program, [NAME, NAME])
    assert archive_command.offers(place.program) == []
    archive_command.offers_of(place.program).rmdir()
    place.target.unlink()
    assert place.run().returncode == 0
    assert archive_command.offers(place.program) == []


def test_giving_a_segment_back_notes_no_failed_archiving(place: Place) -> None:
    """Promise: the same program restores, and what fails there is no segment that the archive lacks."""
    assert place.run(archive_command.RESTORED).returncode == 0
    assert place.target.samefile(place.segment)
    place.target.unlink()
    place.target.write_bytes(b"other")
    assert place.run(archive_command.RESTORED).returncode == 1
    assert archive_command.failures(place.program) == []
    assert archive_command.offers(place.program) == []


def test_a_note_of_what_was_given_back_never_empties_a_segment(place: Place) -> None:
    """Promise: where the directory of the notes is the one that segments are given back from, they stay what they
    are."""
    restored = place.log.parent / "restored"
    place.log.rename(restored)
    place.segment = restored / NAME
    content = place.segment.read_bytes()
    assert place.run(archive_command.RESTORED).returncode == 0
    assert place.segment.read_bytes() == place.target.read_bytes() == content
    (restored / NAME).rename(place.archive / "other")
    place.segment = place.archive / "other"
    place.target.unlink()
    assert place.run(archive_command.RESTORED).returncode == 0
    assert (restored / NAME).read_bytes() == b""


def test_failures_are_told_in_order_and_nothing_else(place: Place) -> None:
    """Promise: what others put beside the notes is not taken for a segment."""
    notes = archive_command.failures_of(place.program)
    for name in (name_of(20), name_of(3), "other", ".CommitLog-7-1.log.5.tmp"):
        (notes / name).touch()
    assert archive_command.failures(place.program) == [name_of(3), name_of(20)]
    assert archive_command.failures(place.program.with_name("nothing")) == []
    with pytest.raises(ValueError, match="no segment"):
        archive_command.forget_failure(place.program, "../archive")


def test_an_old_or_broken_program_is_written_anew(place: Place) -> None:
    """Promise: Cassandra finds the program of this version, executable, after every start of the agent."""
    assert archive_command.is_installed(place.program)
    assert not archive_command.install(place.program)
    place.program.write_text("#!/bin/sh\nexit 0\n")
    assert not archive_command.is_installed(place.program)
    assert archive_command.install(place.program)
    place.program.chmod(0o600)
    assert not archive_command.is_installed(place.program)
    assert archive_command.install(place.program)
    assert place.program.stat().st_mode & 0o777 == 0o755
    assert archive_command.failures_of(place.program).stat().st_mode & 0o777 == 0o770


def test_a_program_that_cant_be_put_there_is_refused_with_the_reason(tmp_path: Path) -> None:
    """Promise: a wrong path is told when archiving is ordered, not by a Cassandra that keeps every segment."""
    (tmp_path / "file").touch()
    with pytest.raises(ArchivingRefused, match="can't be put at") as told:
        archive_command.install(tmp_path / "file" / "archive-commitlog")
    assert told.value.fields["path"] == str(tmp_path / "file" / "archive-commitlog")
    for path in ("/with space/x", "relative", "/a/%name", "/a\\b", "/a,b", "/a/../b", "/", ""):
        with pytest.raises(ArchivingRefused, match="splits its archive command"):
            archive_command.checked_path(path, "the archive directory")
    assert archive_command.checked_path("/var/lib/helenus/archive/", "x") == "/var/lib/helenus/archive"


def test_the_script_is_plain_posix(place: Place) -> None:
    """Promise: it runs under the smallest shell there is; here it is at least parsed by each that is installed."""
    for shell in ("sh", "dash", "bash"):
        try:
            told = subprocess.run([shell, "-n", place.program], capture_output=True, check=False)
        except FileNotFoundError:
            continue
        assert told.returncode == 0, told.stderr
