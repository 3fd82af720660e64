"""Which snapshots are the agent's own, durably. In: tags. Out: files under `<state>/on-server/<tag>/`, beside others'
(agent.model.on_server).

`owner.json` is written before Cassandra is asked, `snapshot.json` when the snapshot is complete: no crash leaves
a snapshot that nobody owns up to (invariant I8). `unanswered` stands while a call for the snapshot is under way or was
never answered: Cassandra may make it yet, also for an agent that was started anew.
"""

from pathlib import Path

import msgspec

from agent.cassandra.protocol import OwnSnapshot
from agent.model.on_server import INFO, OWNER, UNANSWERED
from agent.model.snapshot import SnapshotInfo
from agent.wire.names import check_name
from kit.atomic_files import remove_durably, remove_from, write_atomically, write_into


class _Owner(msgspec.Struct, frozen=True):
    tag: str
    command_id: str
    began_at: float
    made_by: str = ""
    kept: bool = True
    """What does not say is not given up for free space."""


class SnapshotNotes:
    """The notes under one directory. Synchronous: small files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def begin(self, tag: str, command_id: str, now: float, *, made_by: str, kept: bool) -> None:
        """Note that this agent is about to take `tag`."""
        write_into(self._of(tag), OWNER, msgspec.json.encode(_Owner(tag, command_id, now, made_by, kept)))

    def complete(self, info: SnapshotInfo) -> None:
        """Note that the snapshot is complete."""
        write_atomically(self._of(info.tag) / INFO, msgspec.json.encode(info))

    def forget(self, tag: str) -> None:
        """Remove the notes (and the directory when nothing else is in it)."""
        remove_from(self._of(tag), INFO, UNANSWERED, OWNER)

    def ask(self, tag: str, now: float) -> None:
        """Note that Cassandra is about to be called for `tag`."""
        write_atomically(self._of(tag) / UNANSWERED, msgspec.json.encode(now))

    def answered(self, tag: str) -> None:
        """Take back what `ask` noted: Cassandra makes nothing any more that it has not made."""
        remove_durably(self._of(tag) / UNANSWERED)

    def unanswered_since(self, tag: str) -> float | None:
        """When a call for `tag` was made that Cassandra has not answered, None if there is none."""
        try:
            return msgspec.json.decode((self._of(tag) / UNANSWERED).read_bytes(), type=float)
        except FileNotFoundError:
            return None

    def find(self, tag: str) -> OwnSnapshot | None:
        """What is noted of `tag`, without a look into what was taken."""
        directory = self._of(tag)
        try:
            owner = msgspec.json.decode((directory / OWNER).read_bytes(), type=_Owner)
        except FileNotFoundError:
            return None
        complete = (directory / INFO).is_file()
        return OwnSnapshot(owner.tag, owner.command_id, owner.began_at, complete, owner.made_by, owner.kept)

    def info(self, tag: str) -> SnapshotInfo | None:
        """What was taken as `tag`, None if that is not complete."""
        try:
            return msgspec.json.decode((self._of(tag) / INFO).read_bytes(), type=SnapshotInfo)
        except FileNotFoundError:
            return None

    def all(self) -> tuple[OwnSnapshot, ...]:
        """Every note, oldest first."""
        if not self._directory.is_dir():
            return ()
        found = [self.find(path.name) for path in self._directory.iterdir() if (path / OWNER).is_file()]
        return tuple(sorted((one for one in found if one is not None), key=lambda one: (one.began_at, one.tag)))

    def _of(self, tag: str) -> Path:
        return self._directory / check_name("tag", tag)
