"""`commitlog_archiving.properties` for one start that replays to a point in time. In: the file's text as it is. Out:
the same text, but for what says what to restore. Pure.

All else stays as it was, `archive_command` above all (an operator's own as well as ours): what is written from that
start on is archived as before.
"""

import re
from collections.abc import Iterator

from agent.cassandra.commit_log.archive_command import RESTORED, checked_path
from agent.cassandra.commit_log.archiving_properties import Restoring, point_text

_REPLACED = frozenset(
    {"restore_command", "restore_directories", "restore_point_in_time", "snapshot_commitlog_position"}
)
"""Keys of 4.1 and 5.0; `precision` says how clients write their times, which a restore doesn't change."""
_KEY = re.compile(r"\s*([^\s=:#!][^\s=:]*)")


def with_restore(text: str, program: str, restoring: Restoring) -> str:
    """The text that makes Cassandra replay the segments of `restoring.directory`, given back by `program`. Raises
    `ArchivingRefused` for a path that Cassandra would take apart."""
    command = checked_path(program, "the archive command")
    lines = [
        f"restore_command={command} %from %to {RESTORED}",
        f"restore_directories={checked_path(restoring.directory, 'the directory of segments to restore')}",
    ]
    if restoring.pit_micros is not None:
        lines.append(f"restore_point_in_time={point_text(restoring.pit_micros, restoring.digits)}")
    return without_restore(text) + "\n".join(lines) + "\n"


def without_restore(text: str) -> str:
    """The text without anything that is to be restored."""
    if not text:
        return ""
    kept = [line for line in _logical_lines(text) if _key(line) not in _REPLACED]
    return "".join(f"{line}\n" for line in kept)


def restores(text: str, directory: str) -> bool:
    """Whether the text has segments restored from that directory."""
    return any(line.strip() == f"restore_directories={directory}" for line in _logical_lines(text))


def _key(line: str) -> str:
    found = _KEY.match(line)
    return "" if found is None else found[1]


def _logical_lines(text: str) -> Iterator[str]:
    """The lines, those together that a backslash at the end joins."""
    joined: list[str] = []
    for line in text.replace("\r\n", "\n").removesuffix("\n").split("\n"):
        joined.append(line)
        comment = len(joined) == 1 and line.lstrip()[:1] in ("#", "!")
        if comment or (len(line) - len(line.rstrip("\\"))) % 2 == 0:
            yield "\n".join(joined)
            joined = []
    if joined:
        yield "\n".join(joined)
