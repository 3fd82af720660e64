"""What Cassandra's own log tells of a replay. In: the log's file, and where it ended before the start. Out: counts and
lines. Texts of CommitLog and CommitLogReplayer in 4.1 and 5.0 [X].
"""

import re
from pathlib import Path

import msgspec

_SKIPPED_EMPTY = re.compile(r"Skipping playback of empty log: \S*?(CommitLog-\d+-\d+\.log)")
_OF_ONE = "(CL version"
"""In the line that DEBUG adds for each segment; that which begins a replay names them all."""
_COMPLETE = re.compile(r"Log replay complete, (\d+) replayed mutations")
_NOTHING = "No commitlog files found; skipping replay"
_SEGMENT = re.compile(r"CommitLog-\d+-\d+\.log")
_UNKNOWN = re.compile(r"Skipped (\d+) mutations from unknown \(probably removed\) CF with id ([0-9a-f-]{36})")
_INCOMPLETE = "likely due to incomplete flush to disk"
_ERROR = re.compile(r"Ignoring commit log replay error|Replay stopped|CommitLogReplayException|CommitLogReadException")
_SHOWN = 300
_MOST_LINES = 50
_PACKED = (".zip", ".gz")


class ReplayTold(msgspec.Struct, frozen=True):
    """Of the last replay. `begun`: whether the log tells of one. `segments`: those that Cassandra found, and did not
    pass over as empty (`empty`). `mutations`: how many it replayed, None: the log doesn't say that the replay has
    ended. `unknown`: table id → mutations that were left out because the table is not there. `cut`: lines that tell
    of a last segment that ends in a write. `errors`: lines that tell of any other error."""

    begun: bool = False
    segments: frozenset[str] = frozenset()
    empty: frozenset[str] = frozenset()
    mutations: int | None = None
    unknown: dict[str, int] = {}
    cut: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


class LogEnd(msgspec.Struct, frozen=True):
    """Where a log ended: its file's inode, and its size in bytes; 0 when there was none."""

    inode: int = 0
    size: int = 0


def log_end(path: Path) -> LogEnd:
    """Where the log ends now."""
    try:
        about = path.stat()
    except OSError:
        return LogEnd()
    return LogEnd(about.st_ino, about.st_size)


def since(path: Path, end: LogEnd) -> str | None:
    """What came to the log since; when it was rotated, also what came to the older file, if that is still there and
    plain. None when it can't be read."""
    try:
        about = path.stat()
        if about.st_ino == end.inode and about.st_size >= end.size:
            return _text(path, end.size)
        older = [one for one in path.parent.iterdir() if one != path and one.stat().st_ino == end.inode]
        return "".join([*(_text(one, end.size) for one in older if one.suffix not in _PACKED), _text(path, 0)])
    except OSError:
        return None


def replay_told(text: str) -> ReplayTold:
    """What the log's text says of the last replay in it: of an earlier one, of a start that failed, nothing counts."""
    found: set[str] | None = None
    empty: set[str] = set()
    mutations: int | None = None
    unknown: dict[str, int] = {}
    cut: list[str] = []
    errors: list[str] = []
    for line in text.splitlines():
        names = _SEGMENT.findall(line.partition("Replaying ")[2]) if "Replaying " in line else []
        if (names and _OF_ONE not in line) or _NOTHING in line:
            found, empty, unknown, cut, errors = set(names), set(), {}, [], []
            mutations = None if names else 0
        elif (skipped_segment := _SKIPPED_EMPTY.search(line)) is not None:
            empty.add(skipped_segment[1])
        elif (complete := _COMPLETE.search(line)) is not None:
            mutations = int(complete[1])
        elif (skipped := _UNKNOWN.search(line)) is not None:
            unknown[skipped[2].replace("-", "")] = int(skipped[1])
        elif _INCOMPLETE in line:
            cut.append(line[:_SHOWN])
        elif _ERROR.search(line) is not None and len(errors) < _MOST_LINES:
            errors.append(line[:_SHOWN])
    segments = frozenset(found or ()) - empty
    return ReplayTold(found is not None, segments, frozenset(empty), mutations, unknown, tuple(cut), tuple(errors))


def _text(path: Path, offset: int) -> str:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read().decode(errors="replace")
