"""Backups that stay on the node: in, manifests, plans and records; out, plain files under the agent's state, and views.

    <state>/on-server/<tag>/manifest, plan.json, record.json     (beside the snapshot's own: agent.model.on_server)
    <state>/on-server/<tag>/owed                                 the snapshot is to go
    <state>/on-server/<tag>/listing                              its files, if it was taken to be copied

They live and die with the node. A backup is listed from its plan on: what runs or failed shows as well. `owed` comes
first when it is to go, and its removal is the last that is done: nothing that is half gone is listed, restored or lost.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

from agent.model.on_server import LISTING, MANIFEST, OWED, OWNER, PLAN, RECORD
from agent.model.own_state import own_state
from agent.model.snapshot import SnapshotInfo, SnapshotTable
from agent.repository.errors import BackupExists, BackupNotFound, ManifestInvalid
from agent.repository.manifest import Manifest, read_manifest_file
from agent.repository.snapshot_listing import SnapshotListing, packed_listing, unpacked_listing
from agent.storage.protocol import Buffer
from agent.wire.backups import RUNNING, SUCCESS, BackupView, Plan, Record
from agent.wire.names import InvalidName, check_name
from kit.atomic_files import remove_from, write_into

_DOOMED = b"doomed"
_log = structlog.get_logger(__name__)


class OnServer:
    """The on-server backups under `directory` (`<state>/on-server`). Methods raise StateFailed where the disk does."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._planning = asyncio.Lock()

    async def put_manifest(self, tag: str, manifest: Sequence[Buffer]) -> None:
        """Store the node's manifest, durable when it returns."""
        await asyncio.to_thread(self._write, tag, MANIFEST, b"".join(manifest))

    async def put_snapshot_listing(self, info: SnapshotInfo, tables: Sequence[SnapshotTable]) -> None:
        """Store what a snapshot that is to be copied holds, durable when it returns. It makes no backup of it, and goes
        with the snapshot's own notes."""
        await asyncio.to_thread(lambda: self._write(info.tag, LISTING, packed_listing(info, tables)))

    async def snapshot_listing(self, tag: str) -> SnapshotListing | None:
        """What `put_snapshot_listing` stored; None if nothing. Raises ManifestInvalid."""
        return await asyncio.to_thread(self._snapshot_listing, tag)

    async def taken_files(self, tag: str, host_id: str) -> Manifest | None:
        """What an on-server backup held when it was taken, also of one that is to go; None if that was not noted.
        Raises ManifestInvalid."""
        try:
            return await read_manifest_file(self._path(tag) / MANIFEST, tag, host_id)
        except BackupNotFound:
            return None

    async def put_plan(self, plan: Plan) -> None:
        """Store the plan; the same again is fine. Raises BackupExists when the node has another backup of that tag, or
        the snapshot of one that is to go: the plan would go with it."""
        async with self._planning:
            await asyncio.to_thread(self._put_plan, plan)

    async def put_record(self, record: Record) -> None:
        """Store the listing record, replacing an earlier one of the tag; one that says `running` replaces none. Raises
        BackupNotFound for one that says `running` or `success` where nothing is kept of the backup, so that none that
        comes late brings a deleted one back; how one failed may be told after all of it was cleared."""
        await asyncio.to_thread(self._put_record, record)

    async def manifest(self, tag: str, host_id: str) -> Manifest:
        """The node's manifest. Raises BackupNotFound, ManifestInvalid."""
        if await asyncio.to_thread(self._is_doomed, tag):
            raise _not_found(tag)
        return await read_manifest_file(self._path(tag) / MANIFEST, tag, host_id)

    async def has(self, tag: str) -> bool:
        """Whether anything is kept of the backup: its manifest, or the plan or record of one that runs or failed."""
        return await asyncio.to_thread(self._has, tag)

    async def made_by(self, tag: str) -> str | None:
        """Whose the backup is, as its plan says (see SnapshotArguments); None without a plan that can be read."""
        try:
            plan = await asyncio.to_thread(self._plan, tag)
        except ManifestInvalid:
            return None
        return None if plan is None else plan.made_by

    async def listing(self) -> list[BackupView]:
        """Every backup on this node, by tag; `complete` False where this node's manifest isn't there. One whose record
        can't be read is listed without it, so that it hides no others; the log tells of it."""
        return await asyncio.to_thread(self._listing)

    async def view(self, tag: str, host_id: str) -> BackupView:
        """One backup with its plan; `manifests` holds at most this node. Raises BackupNotFound."""
        return await asyncio.to_thread(self._view, tag, host_id)

    async def forget(self, tag: str) -> None:
        """Remove the backup's files, the manifest first; those that are not there are fine. What is owed stays."""
        await asyncio.to_thread(self._forget, tag)

    async def owe(self, tag: str, *, doomed: bool = False) -> None:
        """Note that the snapshot `tag` is to be cleared when that is possible. `doomed`: nobody will want it any more,
        and from now on the backup is not there; else it may yet be uploaded again, until the next snapshot is taken."""
        await asyncio.to_thread(self._write, tag, OWED, _DOOMED if doomed else b"")

    async def disown_debt(self, tag: str) -> None:
        """Take the note that the snapshot is to be cleared back: it is gone, or wanted again."""
        await asyncio.to_thread(self._disown_debt, tag)

    async def owed(self) -> list[str]:
        """The snapshots that are to be cleared."""
        return await asyncio.to_thread(self._owed)

    async def doomed(self) -> list[str]:
        """Those of them that nobody will want any more."""
        return await asyncio.to_thread(lambda: [tag for tag in self._tags() if self._is_doomed(tag)])

    def _path(self, tag: str) -> Path:
        return self._directory / check_name("tag", tag)

    @own_state()
    def _tags(self) -> list[str]:
        found = []
        with contextlib.suppress(FileNotFoundError):
            for path in self._directory.iterdir():
                with contextlib.suppress(InvalidName):
                    found.append(check_name("tag", path.name))
        return sorted(found)

    @own_state()
    def _write(self, tag: str, name: str, content: bytes) -> None:
        write_into(self._path(tag), name, content)

    @own_state()
    def _snapshot_listing(self, tag: str) -> SnapshotListing | None:
        try:
            return unpacked_listing((self._path(tag) / LISTING).read_bytes(), tag)
        except FileNotFoundError:
            return None

    @own_state()
    def _owed(self) -> list[str]:
        return [tag for tag in self._tags() if (self._path(tag) / OWED).is_file()]

    @own_state()
    def _is_doomed(self, tag: str) -> bool:
        try:
            return (self._path(tag) / OWED).read_bytes() == _DOOMED
        except (FileNotFoundError, NotADirectoryError):
            return False

    @own_state()
    def _has(self, tag: str) -> bool:
        path = self._path(tag)
        return not self._is_doomed(tag) and any((path / name).is_file() for name in (MANIFEST, PLAN, RECORD))

    @own_state()
    def _put_plan(self, plan: Plan) -> None:
        if self._is_doomed(plan.tag):
            if (self._path(plan.tag) / OWNER).is_file():
                raise BackupExists(f"the node is still clearing a backup {plan.tag}", tag=plan.tag)
            self._forget(plan.tag)  # all that is left of one whose snapshot is gone
            self._disown_debt(plan.tag)
        known = self._plan(plan.tag)
        if known == plan:
            return
        if known is not None or (self._path(plan.tag) / MANIFEST).is_file():
            raise BackupExists(f"the node has another backup {plan.tag}", tag=plan.tag)
        self._write(plan.tag, PLAN, msgspec.json.encode(plan))

    @own_state()
    def _put_record(self, record: Record) -> None:
        if record.state in (RUNNING, SUCCESS) and not self._has(record.tag):
            raise _not_found(record.tag)
        if record.state != RUNNING or not (self._path(record.tag) / RECORD).is_file():
            self._write(record.tag, RECORD, msgspec.json.encode(record))

    @own_state()
    def _listing(self) -> list[BackupView]:
        return [
            BackupView(
                tag, False, self._readable(tag), complete=None if (self._path(tag) / MANIFEST).is_file() else False
            )
            for tag in self._tags()
            if self._has(tag)
        ]

    @own_state()
    def _view(self, tag: str, host_id: str) -> BackupView:
        path = self._path(tag)
        there = (path / MANIFEST).is_file()
        plan = self._plan(tag)
        record = self._readable(tag)
        if not self._has(tag):
            raise _not_found(tag)
        manifests = [host_id] if there else []
        complete = None if plan is None else {node.host_id for node in plan.nodes} <= set(manifests)
        # A manifest of files that stay where they are is put with all that the snapshot has, or not at all.
        return BackupView(tag, False, record, plan, manifests, complete, whole=manifests)

    @own_state()
    def _plan(self, tag: str) -> Plan | None:
        path = self._path(tag) / PLAN
        try:
            return msgspec.json.decode(path.read_bytes(), type=Plan)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise ManifestInvalid(
                f"the plan of the on-server backup {tag} can't be read: {error}", tag=tag, key=str(path)
            ) from error

    @own_state()
    def _record(self, tag: str) -> Record | None:
        path = self._path(tag) / RECORD
        try:
            return msgspec.json.decode(path.read_bytes(), type=Record)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise ManifestInvalid(
                f"the record of the on-server backup {tag} can't be read: {error}", tag=tag, key=str(path)
            ) from error

    def _readable(self, tag: str) -> Record | None:
        try:
            return self._record(tag)
        except ManifestInvalid as error:
            _log.warning("record_not_read", tag=tag, reason=error.message)
            return None

    @own_state()
    def _forget(self, tag: str) -> None:
        remove_from(self._path(tag), MANIFEST, RECORD, PLAN)

    @own_state()
    def _disown_debt(self, tag: str) -> None:
        remove_from(self._path(tag), OWED)


def _not_found(tag: str) -> BackupNotFound:
    return BackupNotFound(f"there is no on-server backup {tag}", tag=tag)
