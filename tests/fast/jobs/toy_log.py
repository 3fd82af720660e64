"""A toy Cassandra's commit log: real segments of 64 KiB, written, closed, archived and deleted as Cassandra does it."""

import os
import struct
import subprocess
import zlib
from pathlib import Path

SIZE = 64 * 1024


def header(number: int, parameters: bytes = b"{}") -> bytes:
    fixed = struct.pack(">iqH", 7, number, len(parameters)) + parameters
    low, high = number & 0xFFFFFFFF, number >> 32
    checksum = zlib.crc32(parameters, zlib.crc32(struct.pack(">iIII", 7, low, high, len(parameters))))
    return fixed + struct.pack(">I", checksum)


def section(number: int, at: int, payloads: list[bytes]) -> bytes:
    """A section that begins at byte `at`: its marker and mutations."""
    body = b""
    for payload in payloads:
        size = struct.pack(">I", len(payload))
        body += size + struct.pack(">I", zlib.crc32(size)) + payload
        body += struct.pack(">I", zlib.crc32(payload, zlib.crc32(size)))
    marker = zlib.crc32(struct.pack(">III", number & 0xFFFFFFFF, number >> 32, at))
    return struct.pack(">II", at + 8 + len(body), marker) + body


class ToyLog:
    """`now`: unix seconds, moved by the test. Each payload is written as a section of its own."""

    def __init__(self, directory: Path, program: Path, archive: Path, now: float) -> None:
        self.directory = directory
        self.program = program
        self.archive = archive
        self.now = now
        self.active = 0
        self.lives = 0
        self.at = 0
        directory.mkdir(parents=True, exist_ok=True)

    def path(self, number: int) -> Path:
        return self.directory / f"CommitLog-7-{number}.log"

    def start(self) -> None:
        """A life begins: what is left is archived and deleted, as a replay does it."""
        for path in sorted(self.directory.iterdir()):
            self.offer(path)
            path.unlink()
        self.lives += 1
        self.active = int(self.now * 1000)
        self._make(self.active)
        self._make(self.active + 1)
        self.at = len(header(self.active))

    def write(self, *payloads: bytes) -> None:
        found = section(self.active, self.at, list(payloads))
        with self.path(self.active).open("r+b") as file:
            file.seek(self.at)
            file.write(found)
        self.at += len(found)
        self._touch(self.path(self.active))

    def rotate(self, *, delete: bool = True, archives: bool = True) -> Path:
        """Close the active one, hand it to the archive command and, where that went well, delete it when asked."""
        closed = self.path(self.active)
        self._touch(closed)
        self.active += 1
        self.at = len(header(self.active))
        self._make(self.active + 1)
        done = archives and self.offer(closed)
        if delete and (done or not archives):
            closed.unlink()
        return closed

    def offer(self, path: Path) -> bool:
        command = [str(self.program), str(path), str(self.archive / path.name)]
        try:
            return not subprocess.run(command, check=False, capture_output=True).returncode
        except OSError:
            return False

    def _make(self, number: int) -> None:
        self.path(number).write_bytes(header(number).ljust(SIZE, b"\0"))
        self._touch(self.path(number))

    def _touch(self, path: Path) -> None:
        os.utime(path, (self.now, self.now))
