"""What was read when, of each destination: in, slices as they were read; out, what is due, and what Prometheus shows.

A file for each destination in the agent's state (`scrubs/<destination>`), and one for each node that left the ring and
whose part this agent reads there (`scrubs/<destination>~<host id>`). Lost, everything counts as never read: it is read
again within a period.
"""

import asyncio
from pathlib import Path
from urllib.parse import quote

import msgspec

from agent.model.own_state import own_state
from agent.plan.scrub import SLICES, oldest_unread
from kit.atomic_files import write_into


class ScrubNote(msgspec.Struct, frozen=True):
    """Of one node's objects in one destination; times in unix seconds. `read`: for each slice when the scrub began that
    read it last; `oldest`: when its oldest object was written, None without any, as last listed; `run`: when a scrub
    last read all its share; `damaged`, `missing`: objects, manifests, plans and records known to be so at its end;
    `newer`: keys of objects of a format of a later release, which have no note in the repository, for nothing is to be
    put in their place. `command` read the slices `done`: times don't tell that,
    for clocks may go back. `adopted`: it is of a node that left the ring."""

    destination: str
    repository_id: str
    host_id: str
    read: tuple[float | None, ...] = (None,) * SLICES
    oldest: tuple[float | None, ...] = (None,) * SLICES
    run: float | None = None
    damaged: int = 0
    missing: int = 0
    newer: tuple[str, ...] = ()
    command: str = ""
    done: tuple[int, ...] = ()
    adopted: bool = False

    @property
    def unread_since(self) -> float | None:
        """See `agent.plan.scrub.oldest_unread`."""
        return oldest_unread(self.read, self.oldest)

    @property
    def file_name(self) -> str:
        """Where it lies. A destination's id is encoded, so that no «~» is in it."""
        name = quote(self.destination, safe="").replace("~", "%7E")
        return f"{name}~{self.host_id}" if self.adopted else name


class ScrubNotes:
    """The notes of all destinations; those that can't be read count as lost."""

    def __init__(self, state: Path) -> None:
        self._directory = state / "scrubs"
        self._notes: dict[str, ScrubNote] = {}
        for path in self._directory.glob("[!.]*") if self._directory.is_dir() else ():
            try:
                note = msgspec.json.decode(path.read_bytes(), type=ScrubNote)
            except (OSError, msgspec.DecodeError):
                continue
            if len(note.read) == len(note.oldest) == SLICES:
                self._notes[note.file_name] = note

    def all(self) -> list[ScrubNote]:
        """Every note of the node itself, by destination."""
        return [self._notes[name] for name in sorted(self._notes) if not self._notes[name].adopted]

    def of(self, destination: str, repository_id: str, host_id: str, *, adopted: bool = False) -> ScrubNote:
        """The note of that repository and node, a new one where there is none."""
        new = ScrubNote(destination, repository_id, host_id, adopted=adopted)
        note = self._notes.get(new.file_name)
        if note is None or (note.repository_id, note.host_id) != (repository_id, host_id):
            return new
        return note

    async def put(self, note: ScrubNote) -> None:
        """Keep a note; durable when it returns. Raises StateFailed."""
        with own_state():
            await asyncio.to_thread(write_into, self._directory, note.file_name, msgspec.json.encode(note))
        self._notes[note.file_name] = note
