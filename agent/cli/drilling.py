"""`drill`: in, the directories that a backup's tables were extracted to; out, what is wrong with its SSTables, on the
screen.

Every component that TOC.txt names must be there, and Data.db must have the checksum that Cassandra wrote beside it.
"""

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from agent.cli.screen import Screen

_CHUNK = 8 * 1024 * 1024


def drill(extracted: Path, directories: Iterable[Path], screen: Screen) -> int:
    """Verify every SSTable in the directories, which are below `extracted`; how many are wrong. That there is none is
    wrong too: a drill that proves nothing must not look like one that did."""
    wrong = seen = unsummed = 0
    for data in _data_files(directories):
        seen += 1
        screen.progress(f"{seen} SSTables: {data.name}")
        reasons = [f"{name} is missing" for name in _missing(data)]
        summed = data.with_name(data.name.removesuffix("Data.db") + "Digest.crc32")
        if not summed.is_file():
            unsummed += 1
        elif summed.read_text(encoding="ascii", errors="replace").strip() != str(_crc32(data)):
            reasons.append("Data.db differs from Digest.crc32")
        for reason in reasons:
            screen.line(f"{data.relative_to(extracted)}: {reason}")
        wrong += bool(reasons)
    if not seen:
        screen.line("0 SSTables: nothing was verified")
        return 1
    note = f", {unsummed} without a Digest.crc32" if unsummed else ""
    screen.line(f"{seen} SSTables{note}: " + (f"{wrong} are wrong" if wrong else "all are whole"))
    return wrong


def _data_files(directories: Iterable[Path]) -> Iterator[Path]:
    for directory in sorted(directories):
        yield from (path for path in sorted(directory.rglob("*-Data.db")) if path.is_file() and not path.is_symlink())


def _missing(data: Path) -> list[str]:
    """Components of its TOC.txt that aren't there."""
    start = data.name.removesuffix("Data.db")
    toc = data.with_name(f"{start}TOC.txt")
    if not toc.is_file():
        return ["TOC.txt"]
    names = [name.strip() for name in toc.read_text(encoding="utf-8", errors="replace").splitlines()]
    return [name for name in names if name and "/" not in name and not data.with_name(start + name).is_file()]


def _crc32(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc
