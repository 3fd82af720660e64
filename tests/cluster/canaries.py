"""Secrets that are found again wherever they come out. In: what a test keeps secret. Out: the same, marked; and whoever
shows one by its mark: a log, an answer, a metric, an argument of a process, the environment of a child.

Where a marked secret may be, and why: the file of its own (mode 0600) that a setting names, the services' state (mode
0600, it must outlive them), the request that brings it or shows it as a credential, the memory of processes. None of
these is looked at. All that is looked at is told below; sizes are bounded, and SSTables and objects are left alone.
"""

import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

MARK = "k4n4r1"
"""Stands in every marked secret. Short enough for any service's grammar, and in no word of the product."""
LOGS = (".log", ".out", ".err", ".txt", ".prom")
"""Ends of the names of files that services, and programs which they start, write for people."""
MOST_OF_A_FILE = 8_000_000
"""Bytes that are looked through at each end of a log."""
LOOKING = "looks for secrets"
"""The thread's name."""
EVERY = 0.1
"""Seconds between two looks at the processes, at least."""
MOST_OF_THE_TIME = 30.0
"""It rests so many times as long as a look took: the tests are what the machine is for."""
OWN_SECRET_BY_ENVIRONMENT = frozenset({"versitygw"})
"""Programs that take the secret that is theirs from their environment: a store of the tests, which knows no other way.
Nodetool, scripts, Cassandra and the services themselves get none."""

TYPED_BY_A_PERSON = frozenset({"curl"})
"""Programs whose arguments stand in the API's own text, secrets of destinations among them; no part of the product runs
them."""


class SecretShown(AssertionError):
    """A marked secret where none may be. Its text says where, and not what."""


def marked(secret: str) -> str:
    """The secret with the mark in it."""
    return f"{MARK}-{secret}"


def refuse(where: str, text: str | bytes) -> None:
    """Raise `SecretShown` when a marked secret is in the text."""
    if MARK in (text if isinstance(text, str) else text.decode("latin-1")):
        raise SecretShown(f"a secret is shown in {where}")


def refuse_left_in(directory: Path) -> None:
    """Look through the logs below a directory. Raises `SecretShown`."""
    for path in _logs(directory):
        try:
            with path.open("rb") as file:
                head = file.read(MOST_OF_A_FILE)
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - MOST_OF_A_FILE))
                tail = file.read() if size > MOST_OF_A_FILE else b""
        except OSError:
            continue  # a log that went with its process
        refuse(str(path), head)
        refuse(str(path), tail)


def _logs(directory: Path) -> Iterator[Path]:
    for place, directories, files in os.walk(directory):
        # Cassandra's data and stores' objects are gigabytes, and hold what tests wrote into tables.
        directories[:] = [name for name in directories if name not in ("data", "objects", "helenus", "commitlog")]
        yield from (Path(place, name) for name in files if name.endswith(LOGS) or name == "log")


class Seen(msgspec.Struct, frozen=True):
    """A process with a secret where it can be seen: its program and which of the two."""

    program: str
    where: str


class Processes:
    """Looks at all that this process has started, again and again, until `stop`."""

    def __init__(self, mark: str = MARK, every: float = EVERY) -> None:
        self.seen: set[Seen] = set()
        self._mark = mark.encode()
        self._every = every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=LOOKING, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End. Raises `SecretShown` when a secret was seen."""
        self._ended.set()
        self._thread.join()
        if self.seen:
            told = ", ".join(sorted(f"the {one.where} of {one.program}" for one in self.seen))
            raise SecretShown(f"a secret was seen in {told}")

    def _watch(self) -> None:
        pause = self._every
        while not self._ended.wait(pause):
            began = time.perf_counter()
            self.look()
            pause = max(self._every, MOST_OF_THE_TIME * (time.perf_counter() - began))

    def look(self) -> None:
        """Look once."""
        for pid in descendants(os.getpid()):
            arguments, environment = _read(pid, "cmdline"), _read(pid, "environ")
            program = os.path.basename(arguments.split(b"\0", 1)[0].decode(errors="replace"))
            if self._mark in arguments and program not in TYPED_BY_A_PERSON:
                self.seen.add(Seen(program, "arguments"))
            if self._mark in environment and program not in OWN_SECRET_BY_ENVIRONMENT:
                self.seen.add(Seen(program, "environment"))


def descendants(pid: int) -> Iterable[int]:
    """Every process that a process has started, and those that they have. One file of each process of the machine: the
    lists of children stand with each of their many threads."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            # Behind the program's name, in which anything may stand: the state, then the parent.
            fields = _read(name, "stat").rpartition(b")")[2].split()
            if len(fields) > 1:
                children.setdefault(int(fields[1]), []).append(int(name))
    waiting = [pid]
    while waiting:
        found = children.get(waiting.pop(), [])
        yield from found
        waiting += found


def _read(process: int | str, what: str) -> bytes:
    try:
        return Path(f"/proc/{process}/{what}").read_bytes()
    except OSError:
        return b""  # it has ended, or is of another user
