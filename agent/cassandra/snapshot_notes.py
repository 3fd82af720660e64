"""Which snapshots are the agent's own, durably. In: tags. Out: files under `<state>/on-server/<tag>/`, beside others'
(agent.model.on_server).

`owner.json` is written before Cassandra is asked, `snapshot.json` when the snapshot is complete: no crash leaves
a snapshot that nobody owns up to (invariant I8). `unanswered` stands while a call for the snapshot is under way or was
never answered: Cassandra may make it yet, also for an agent that was started anew.
"""

from pathlib import Path

import msgspec
import structlog

from agent.cassandra.errors import SnapshotNoteDamaged
from agent.cassandra.protocol import OwnSnapshot
from agent.model.on_server import INFO, LISTING, OWNER, UNANSWERED
from agent.model.own_state import own_state
from agent.model.snapshot import SnapshotInfo
from agent.wire.names import check_name
from kit.atomic_files import remove_durably, remove_from, write_atomically, write_into

_log = structlog.get_logger(__name__)


class _Owner(msgspec.Struct, frozen=True):
    tag: str
    command_id: str
    began_at: float
    made_by: str = ""
    kept: bool = True
    """What does not say is not given up for free space."""


class SnapshotNotes:
    """The notes under one directory. Synchronous: small files. Methods raise `StateFailed` where the disk does."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._told: set[str] = set()

    @own_state()
    def begin(self, tag: str, command_id: str, now: float, *, made_by: str, kept: bool) -> None:
        """Note that this agent is about to take `tag`."""
        write_into(self._of(tag), OWNER, msgspec.json.encode(_Owner(tag, command_id, now, made_by, kept)))

    @own_state()
    def complete(self, info: SnapshotInfo) -> None:
        """Note that the snapshot is complete."""
        write_atomically(self._of(info.tag) / INFO, msgspec.json.encode(info))

    @own_state()
    def forget(self, tag: str) -> None:
        """Remove the notes (and the directory when nothing else is in it)."""
        remove_from(self._of(tag), LISTING, INFO, UNANSWERED, OWNER)

    @own_state()
    def ask(self, tag: str, now: float) -> None:
        """Note that Cassandra is about to be called for `tag`."""
        write_atomically(self._of(tag) / UNANSWERED, msgspec.json.encode(now))

    @own_state()
    def answered(self, tag: str) -> None:
        """Take back what `ask` noted: Cassandra makes nothing any more that it has not made."""
        remove_durably(self._of(tag) / UNANSWERED)

    @own_state()
    def unanswered_since(self, tag: str) -> float | None:
        """When a call for `tag` was made that Cassandra has not answered, None if there is none."""
        path = self._of(tag) / UNANSWERED
        try:
            return msgspec.json.decode(path.read_bytes(), type=float)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError:
            return path.stat().st_mtime

    @own_state()
    def find(self, tag: str) -> OwnSnapshot | None:
        """What is noted of `tag`, without a look into what was taken. Raises `SnapshotNoteDamaged`."""
        directory = self._of(tag)
        try:
            owner = msgspec.json.decode((directory / OWNER).read_bytes(), type=_Owner)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise _damaged(tag, directory / OWNER, error) from error
        complete = (directory / INFO).is_file()
        return OwnSnapshot(owner.tag, owner.command_id, owner.began_at, complete, owner.made_by, owner.kept)

    @own_state()
    def info(self, tag: str) -> SnapshotInfo | None:
        """What was taken as `tag`, None if that is not complete. Raises `SnapshotNoteDamaged`."""
        path = self._of(tag) / INFO
        try:
            return msgspec.json.decode(path.read_bytes(), type=SnapshotInfo)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise _damaged(tag, path, error) from error

    @own_state()
    def all(self) -> tuple[OwnSnapshot, ...]:
        """Every note that can be read, oldest first. The log tells of the others once: nobody knows whose those are, so
        their snapshots are left to a person, who sees them among the strays."""
        if not self._directory.is_dir():
            return ()
        found = []
        for path in self._directory.iterdir():
            if (path / OWNER).is_file():
                try:
                    found.append(self.find(path.name))
                except SnapshotNoteDamaged as error:
                    if path.name not in self._told:
                        self._told.add(path.name)
                        _log.warning("snapshot_note_damaged", tag=path.name, reason=error.message)
        return tuple(sorted((one for one in found if one is not None), key=lambda one: (one.began_at, one.tag)))

    def _of(self, tag: str) -> Path:
        return self._directory / check_name("tag", tag)


def _damaged(tag: str, path: Path, error: msgspec.DecodeError) -> SnapshotNoteDamaged:
    return SnapshotNoteDamaged(f"the note {path} can't be read: {error}", tag=tag, path=str(path))
