"""The program that Cassandra calls for each segment that it has closed, and for each that a restore gives back to it.
In: a path. Out: the program there, in POSIX sh and coreutils.

    archive_command=<program> %path <directory>/%name
    restore_command=<program> %from %to restored

It links; where the kernel refuses that (another file system), it copies to a hidden name in the target's directory,
syncs and renames, so that a segment is there whole or not at all. A target that is there already with the same size and
CRC is success (Cassandra hands every segment that it finds at its start to the command once more), with other content a
failure. Its exit code is honest: Cassandra deletes what was archived, and keeps what was not until its next start; then
it calls once more and deletes the segment whatever the command says (4.1, 5.0). So what could not be archived is noted
as an empty file `<program>-failures/<name>`, beside the program and not in the archive directory, which may be full;
and what it was called for at all, before anything else, in `<program>-offered`. Other bytes under the segment's name
are noted as `<name>.differs`: Cassandra deletes its own at its next start, and then nothing else tells.
Nothing is put into a directory that bears no mark (agent.cassandra.commit_log.archive_directory): a volume may be
missing there. What was given back is noted as an empty file in `restored`, where that is beside the directory it came
from. A segment of which a restore had a part passed over (passing_over.py) is none of this log: it is not archived.

Cassandra splits the line at spaces and calls no shell: no path may have one, nor a `%`.
"""

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from agent.cassandra.commit_log.errors import ArchivingRefused
from agent.plan.segment_names import parse_segment
from kit.atomic_files import make_directory, sync_directory, write_atomically

RESTORED = "restored"
MARK = ".helenus-archive"
_DIFFERS = ".differs"
_PATH = re.compile(r"/[A-Za-z0-9._/@+=:~-]{1,900}")
_UNFINISHED = re.compile(r"\.(CommitLog-[0-9]+-[0-9]+\.log)\.[0-9]+\.tmp")

SCRIPT = r"""#!/bin/sh
# Helenus wrote this file and writes it anew. Cassandra calls it for each commit-log segment:
#   <this file> <segment> <target>             archive a closed segment
#   <this file> <segment> <target> restored    give a segment back before it is replayed
# Exit code 0: the target is there, whole and durable. Anything else: it is not.
set -u
LC_ALL=C
export LC_ALL

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    echo "usage: $0 <segment> <target> [restored]" >&2
    exit 64
fi
segment=$1
target=$2
purpose=${3:-archived}
directory=${target%/*}
name=${target##*/}
unfinished=$directory/.$name.$$.tmp
given_back=${segment%/*}/../restored

failed() {
    echo "$0: $segment: $1" >&2
    if [ "$purpose" = archived ]; then
        noted "$0-failures/$name"
    fi
    exit 1
}

noted() {
    # Never written over what is there: it might be a segment.
    [ -e "$1" ] || true >"$1"
}

there() {
    # The target is there: fine when it is the same segment.
    [ -f "$target" ] || failed "$target is no file"
    mine=$(cksum <"$segment") || failed "it can't be read"
    theirs=$(cksum <"$target") || failed "$target can't be read"
    if [ "$mine" != "$theirs" ]; then
        if [ "$purpose" = archived ]; then
            noted "$0-failures/$name.differs"
        fi
        failed "$target is there with other content"
    fi
}

lent() {
    # With a beginning that a restore had passed over: Cassandra ended amid its replay and was started again.
    # The first mutation of a plain segment begins at byte 36; this one's table is nobody's.
    [ "$(od -A n -t x1 -j 36 -N 17 "$segment" 2>/dev/null | tr -d ' \n')" = 0148656c656e751173a05b6e6f626f6479 ]
}

durable() {
    sync "$directory" || failed "$directory can't be synced"
    if [ "$purpose" = archived ] && [ -e "$0-failures/$name.differs" ]; then
        rm -f "$0-failures/$name.differs"
    fi
    if [ "$purpose" = restored ] && [ -d "$given_back" ]; then
        noted "$given_back/$name" || failed "$given_back can't be written"
    fi
    exit 0
}

if [ "$purpose" = archived ]; then
    if lent; then
        exit 0
    fi
    noted "$0-offered/$name" 2>/dev/null
fi
[ -f "$segment" ] || failed "it is no file"
[ ! -d "$target" ] || failed "$target is a directory"
if [ "$purpose" = archived ] && [ ! -e "$directory/.helenus-archive" ]; then
    failed "$directory is no archive directory: its mark .helenus-archive is not there. Is the volume mounted?"
fi
if ln "$segment" "$target" 2>/dev/null; then
    durable
fi
if [ -e "$target" ]; then
    there
    durable
fi

trap 'rm -f "$unfinished"' EXIT
trap 'exit 1' HUP INT TERM
cp -p "$segment" "$unfinished" || failed "it can't be copied to $directory"
sync "$unfinished" || failed "its copy can't be synced"
if [ -e "$target" ]; then
    there
else
    mv "$unfinished" "$target" || failed "its copy can't be renamed"
fi
durable
"""


def checked_path(path: str, setting: str) -> str:
    """The path, absolute and of characters that Cassandra's command line and properties file take as they are. Raises
    `ArchivingRefused` with `setting`."""
    if _PATH.fullmatch(path) is None or ".." in Path(path).parts:
        raise ArchivingRefused(
            f"{setting} must be an absolute path of letters, digits and . _ - + = @ : ~ / alone, as Cassandra splits "
            "its archive command at spaces",
            path=path,
            reason="path",
        )
    return path.rstrip("/")


def failures_of(program: Path) -> Path:
    """Where the program notes what it could not archive."""
    return program.with_name(f"{program.name}-failures")


def offers_of(program: Path) -> Path:
    """Where the program notes for what it was called."""
    return program.with_name(f"{program.name}-offered")


def install(program: Path, group: int | None = None) -> bool:
    """Put the program there, executable for everybody, and the directories of its notes, writable for `group` too
    where Cassandra is another user. True when it was not there as it is now. Raises `ArchivingRefused`."""
    checked_path(str(program), "the archive command")
    content = SCRIPT.encode()
    try:
        make_directory(program.parent)
        for notes in (failures_of(program), offers_of(program)):
            make_directory(notes, mode=0o770)
            if group is not None:
                os.chown(notes, -1, group)
            notes.chmod(0o770)
        if is_installed(program):
            return False
        write_atomically(program, content, mode=0o755)
    except OSError as error:
        raise ArchivingRefused(
            f"the archive command can't be put at {program}: {error.strerror}",
            path=str(program),
            reason=error.strerror or str(error),
        ) from error
    return True


def is_installed(program: Path) -> bool:
    """Whether the program is there as this version of Helenus writes it, and executable."""
    try:
        return program.read_bytes() == SCRIPT.encode() and program.stat().st_mode & 0o555 == 0o555
    except OSError:
        return False


def failures(program: Path) -> list[str]:
    """Names of segments that the program could not archive at least once, oldest first."""
    return _noted(failures_of(program))


def offers(program: Path) -> list[str]:
    """Names of segments that the program was called for, oldest first."""
    return _noted(offers_of(program))


def differing(program: Path) -> list[str]:
    """Names of segments under which the program found other bytes in the archive directory."""
    try:
        names = os.listdir(failures_of(program))
    except FileNotFoundError:
        return []
    return sorted(name.removesuffix(_DIFFERS) for name in names if name.endswith(_DIFFERS))


def forget_difference(program: Path, name: str) -> None:
    """Remove that note: the other bytes are gone, or are the same after all."""
    with contextlib.suppress(FileNotFoundError):
        (failures_of(program) / f"{name}{_DIFFERS}").unlink()


def forget_failure(program: Path, name: str) -> None:
    """Remove the notes of a segment: it is archived now, or its loss is recorded."""
    if parse_segment(name) is None:
        raise ValueError(f"«{name[:80]}» is no segment of a commit log")
    for directory in (offers_of(program), failures_of(program)):
        with contextlib.suppress(FileNotFoundError):
            (directory / name).unlink()
            sync_directory(directory)


def forget_offers(program: Path, names: Iterable[str]) -> None:
    """Remove the notes that the program was called for these: what became of them is known elsewhere."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            (offers_of(program) / name).unlink()


def _noted(directory: Path) -> list[str]:
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return [one.file_name for one in sorted(filter(None, map(parse_segment, names)))]


def unfinished_copies(directory: Path) -> list[Path]:
    """What copies that were cut left in an archive directory. One that is still being made is among them: only those
    that nobody has changed for a while may be removed."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return [directory / name for name in sorted(names) if _UNFINISHED.fullmatch(name)]
