"""The playground's processes, on record: what runs, how it was started, how it is ended and started again.

In: `build/cluster/parts.json`. Out: processes of just these records, told from others by pid and start time. An agent
or a coordinator that a person started by hand is known by the lock of its state directory, which holds its pid, a node
that its agent started by what its launcher noted.
"""

import fcntl
import os
import signal
import time
from pathlib import Path

import msgspec

from tests.cluster import node_launchers
from tests.cluster.processes import Child, answers, tail
from tests.cluster.reaper import start_time

GRACE_SECONDS = 20.0
START_SECONDS = 120.0
_POLL = 0.1
_FILE = "parts.json"


class PartError(Exception):
    """What was asked of a part can't be done; the message says why."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A process of the playground. `pid` and `began` are of its last start by us; `state`: its state directory, ''
    when it has none of ours; `noted_in`: the directory in which a node's launcher notes each run, '' of a service."""

    name: str
    argv: list[str]
    cwd: str
    environment: dict[str, str]
    log: str
    address: str
    port: int
    pid: int
    began: str
    state: str = ""
    noted_in: str = ""

    @staticmethod
    def of(
        name: str,
        child: Child,
        address: str,
        port: int,
        *,
        state: Path | None = None,
        noted_in: Path | None = None,
    ) -> "Part":
        """The record of a process that runs."""
        return Part(
            name=name,
            argv=child.argv,
            cwd=str(child.cwd or Path.cwd()),
            environment=dict(child.environment),
            log=str(child.log),
            address=address,
            port=port,
            pid=child.pid,
            began=start_time(child.pid),
            state=str(state or ""),
            noted_in=str(noted_in or ""),
        )

    def running(self) -> int | None:
        """The pid that it runs under, None when it doesn't."""
        if self.began and _lives(self.pid, self.began):
            return self.pid
        if self.noted_in:
            run = node_launchers.last_run(Path(self.noted_in))
            return run.pid if run is not None and run.alive else None
        return holder(Path(self.state) / "lock") if self.state else None


def holder(lock: Path) -> int | None:
    """The pid of the process that holds the lock of a state directory, None when nobody does."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0).decode().strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)
    return None


def read(directory: Path) -> list[Part]:
    """All records, [] when there are none."""
    path = directory / _FILE
    return msgspec.json.decode(path.read_bytes(), type=list[Part]) if path.exists() else []


def write(directory: Path, parts: list[Part]) -> None:
    """Keep the records."""
    new = directory / f"{_FILE}.new"
    new.write_bytes(msgspec.json.format(msgspec.json.encode(parts)))
    new.replace(directory / _FILE)


def forget(directory: Path) -> None:
    """Remove the records."""
    (directory / _FILE).unlink(missing_ok=True)


def named(directory: Path, name: str) -> Part:
    """One part; raises PartError."""
    parts = read(directory)
    for part in parts:
        if part.name == name:
            return part
    known = ", ".join(part.name for part in parts) or "none: make cluster starts them"
    raise PartError(f"there is no part {name!r}; PART is one of {known}")


def end(parts: list[Part]) -> list[str]:
    """SIGTERM to all that run, SIGKILL after GRACE_SECONDS; the names and pids of what was ended."""
    asked = [(part, pid, start_time(pid)) for part in parts if (pid := part.running()) is not None]
    for _, pid, _ in asked:
        _signal(pid, signal.SIGCONT)
        _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := [pid for _, pid, began in asked if _lives(pid, began)]) and time.monotonic() < deadline:
        time.sleep(_POLL)
    for pid in left:
        _signal(pid, signal.SIGKILL)
    return [f"{part.name} ({pid})" for part, pid, _ in asked]


def start(part: Part) -> Part:
    """Start it again and wait until it answers; the new record. Raises PartError with the end of its log."""
    child = Child(part.name, part.argv, Path(part.log), env=part.environment, cwd=Path(part.cwd), outlives_us=True)
    child.start()
    deadline = time.monotonic() + START_SECONDS
    while not answers(part.address, part.port):
        if not child.alive:
            raise PartError(f"{part.name} ended with {child.exit_code}:\n{tail(child.log)}")
        if time.monotonic() > deadline:
            raise PartError(f"{part.name} does not answer on {part.address}:{part.port}; its log is {part.log}")
        time.sleep(_POLL)
    child.let_go()
    return msgspec.structs.replace(part, pid=child.pid, began=start_time(child.pid))


def _lives(pid: int, began: str) -> bool:
    return start_time(pid) == began and not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether it has ended and waits only for whoever started it to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _signal(pid: int, number: signal.Signals) -> None:
    """To its process alone: what a person started may share the group of a shell."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
