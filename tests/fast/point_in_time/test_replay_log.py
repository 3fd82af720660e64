"""What is read in Cassandra's log, in the properties file, and in a version: texts in, facts out."""

import os
from pathlib import Path

import pytest

from agent.cassandra.commit_log.archiving_properties import Restoring
from agent.cassandra.commit_log.errors import ArchivingRefused
from agent.cassandra.commit_log.restore_properties import restores, with_restore, without_restore
from agent.cassandra.replay_log import LogEnd, log_end, replay_told, since
from agent.plan.point_precision import fraction_digits

LOG = """INFO  [main] CommitLog.java:190 - Replaying /c/CommitLog-7-11.log, /c/CommitLog-7-12.log
WARN  [main] CommitLogReplayer.java:5 - Skipped 3 mutations from unknown (probably removed) CF with id \
00000000-0000-0000-0000-000000000001
ERROR [main] CommitLogReplayer.java:536 - Ignoring commit log replay error likely due to incomplete flush to disk
ERROR [main] CommitLogReplayer.java:540 - Ignoring commit log replay error
INFO  [main] CommitLog.java:201 - Log replay complete, 52 replayed mutations in 476 ms
INFO  [main] Other.java:1 - Replaying nothing of a commit log
"""


def test_a_replay_is_read_from_the_log() -> None:
    """Promise: segments, mutations, tables that were not there, a cut end and other errors, each for itself."""
    told = replay_told(LOG)
    assert told.segments == {"CommitLog-7-11.log", "CommitLog-7-12.log"}
    assert told.mutations == 52
    assert told.unknown == {"0" * 31 + "1": 3}
    assert [line.rpartition(":")[2][:3] for line in told.cut] == ["536"]
    assert [line.rpartition(":")[2][:3] for line in told.errors] == ["540"]
    assert replay_told("INFO - No commitlog files found; skipping replay").mutations == 0
    assert replay_told("").mutations is None


def test_of_several_starts_only_the_last_one_counts() -> None:
    """Promise: neither segments nor errors of a start that failed are taken for those of the one that came up; a
    segment that was passed over as empty is none that was replayed; the lines of DEBUG begin no replay."""
    one = "DEBUG [main] CommitLogReader.java:9 - Replaying /c/CommitLog-7-12.log (CL version 7, messaging version 12)"
    empty = "INFO  [main] CommitLogReplayer.java:8 - Skipping playback of empty log: CommitLog-7-13.log"
    again = "INFO  [main] CommitLog.java:190 - Replaying /c/CommitLog-7-12.log, /c/CommitLog-7-13.log"
    told = replay_told(f"{LOG}{again}\n{empty}\n{one}\n")
    assert told.begun
    assert told.segments == {"CommitLog-7-12.log"}
    assert told.empty == {"CommitLog-7-13.log"}
    assert (told.mutations, told.unknown, told.cut, told.errors) == (None, {}, (), ())
    assert not replay_told("").begun


def test_only_what_came_since_is_read_over_a_rotation(tmp_path: Path) -> None:
    """Promise: an earlier start's replay doesn't count, and what a rotation took away is read where it went."""
    log = tmp_path / "system.log"
    assert log_end(log) == LogEnd()
    assert since(log, LogEnd()) is None
    log.write_text("old ")
    end = log_end(log)
    with log.open("a") as file:
        file.write("new ")
    assert since(log, end) == "new "
    log.rename(tmp_path / "system.log.1")
    log.write_text("newer")
    assert since(log, end) == "new newer"
    os.rename(tmp_path / "system.log.1", tmp_path / "system.log.1.zip")
    assert since(log, end) == "newer"


def test_properties_get_and_lose_only_what_says_what_to_restore() -> None:
    """Promise: comments, joined lines and foreign keys stay as they are; what goes in comes out again."""
    text = "# restore_command=x\narchive_command=a \\\n  b\nrestore_directories : /o, \\\n  /older\n! c\nother=1\\\\\n"
    restoring = Restoring("/seg", 1_700_000_000_000_000, 0)
    changed = with_restore(text, "/p", restoring)
    assert changed == (
        "# restore_command=x\narchive_command=a \\\n  b\n! c\nother=1\\\\\n"
        "restore_command=/p %from %to restored\nrestore_directories=/seg\nrestore_point_in_time=2023:11:14 22:13:20\n"
    )
    assert restores(changed, "/seg")
    assert not restores(text, "/old")
    assert without_restore(changed) == without_restore(text)
    assert with_restore("", "/p", Restoring("/seg")).count("\n") == 2
    assert without_restore("a=1\\") == "a=1\\\n"
    with pytest.raises(ArchivingRefused):
        with_restore("", "/p", Restoring("/with a space"))


@pytest.mark.parametrize(
    ("version", "digits"),
    [("3.11.9", 0), ("4.0.11", 0), ("4.0.17", 6), ("4.1.3", 0), ("4.1.10", 6), ("5.0.9", 6), ("5.1-SNAPSHOT", 6)],
)
def test_a_point_is_as_fine_as_the_version_reads_it(version: str, digits: int) -> None:
    """Promise: a version that isn't known to read fractions gets whole seconds, cut."""
    assert fraction_digits(version) == digits


def test_a_version_that_cannot_be_read_gets_whole_seconds() -> None:
    """Promise: the coarser one, when in doubt."""
    assert fraction_digits("unknown") == 0
