"""The order in which a node's backup becomes one: intent → data → hold → check → manifest → drop intent.

In: an opened repository, what was named, the manifest's buffers. Out: a durable manifest for which everything it names
exists with its size (I1, I5), or an error.

While the intent stands no sweep deletes anything in the prefix. But a person may have it given up (`abandon_intents`)
while the agent behind it lives and was only silent. Then a sweep S and this backup run side by side:

    S:    mark → intent gone → … → looks at manifests (V) → deletes → mark gone
    here: … → manifest put (P) → own intent gone? → foreign mark there (L)? → objects there (C)? → success

- V after P (as it is where the intent still stood after P): S needs what the manifest names, and keeps it.
- V before P: S deletes what it likes until its mark goes. If the mark stands at L, the manifest is taken back and the
  backup fails (`intent_foreign`). If it has gone, all deletions are over, and C, which comes after L, sees what they
  left. With C before L, what goes between the two would go unseen.
- A sweep whose mark was not there at L puts it after L: its V is after P.
- S dies, or ends between its deletions: its mark stays, and L refuses until S's agent clears it (its next sweep looks
  anew: V after P) or a person gives it up.
- This agent dies between P and the end of C, or the store refuses to take the manifest back: the command was no
  success, but the manifest may name what is gone. So a manifest that is found (`published`) is believed only beside its
  own intent, which was put before the data and not again since. Without it L and C are made again, and one that fails C
  goes before the backup is made anew. At L it stays: it may be an old one, which S has seen and keeps.

The look at the mark before P keeps all this to the time of one put.
"""

from collections.abc import Sequence
from typing import NamedTuple

import structlog

from agent.plan.holding import Held
from agent.plan.objects import ObjectIndex
from agent.repository.data_objects import data_objects, usable_index
from agent.repository.errors import BackupDeleted, BackupExists, ManifestIncomplete
from agent.repository.hold_notes import HoldPlace
from agent.repository.holding import Holding, Lock
from agent.repository.intents import Intents, Writer
from agent.repository.keys import deleted_key, manifest_key
from agent.repository.manifest import Manifest, read_manifest
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import Buffer, Gate
from kit.errors import HelenusError
from kit.together import together

_SHOWN = 10
_log = structlog.get_logger(__name__)


class Present(NamedTuple):
    """A manifest that is there, and whether all objects that it names are there with their sizes."""

    manifest: Manifest
    is_whole: bool


class Publisher:
    """One node's backup of one tag on its way into one destination. `adopting`: the node left the ring, and its prefix
    may have been adopted."""

    def __init__(
        self, opened: OpenedRepository, host_id: str, tag: str, writer: Writer, *, adopting: bool = False
    ) -> None:
        self._opened = opened
        self._storage = opened.storage
        self._cluster_id = opened.cluster_id
        self._host_id = host_id
        self._tag = tag
        self._intents = Intents(opened, host_id, writer, adopting=adopting)

    async def published(self, taken_at: float) -> Present | None:
        """The manifest that is there already for the snapshot taken at `taken_at`, and whether all that it names is
        there too; None if there is none. It stays in either case, for what it does name can be restored.

        Raises BackupDeleted, BackupExists (another snapshot's), ManifestInvalid, IntentForeign.
        """
        key = manifest_key(self._cluster_id, self._tag, self._host_id)
        _, there = await together(self._refuse_deleted(), self._storage.head(key))
        if there is None:
            return None
        found = await read_manifest(self._opened, self._tag, self._host_id)
        if found.head.taken_at != taken_at:
            raise BackupExists(
                f"the destination has another backup {self._tag} of the node {self._host_id}", tag=self._tag
            )
        if not await self._intents.stands(self._tag):
            await self._intents.refuse_foreign_sweep()
        return Present(found, await self.lacks(found) is None)

    async def lacks(self, manifest: Manifest) -> ManifestIncomplete | None:
        """What the manifest names and is not there; None: nothing. Raises what reading it does, a StorageError."""
        try:
            await self._all_there(manifest)
        except ManifestIncomplete as error:
            return error
        return None

    async def begin(self, command_id: str) -> ObjectIndex:
        """Put the intent, then list the node's objects. Raises IntentForeign, a StorageError."""
        await self._intents.begin(self._tag, command_id)
        return await usable_index(self._storage, self._cluster_id, self._host_id)

    async def publish(
        self,
        manifest: Sequence[Buffer],
        named: ObjectIndex,
        gate: Gate,
        fresh: Held | None = None,
        *,
        instead_of: ManifestIncomplete | None = None,
    ) -> None:
        """Under object lock have everything `named` held (`fresh` is already, for it was put just now). Check by a new
        listing that it exists with its size (`named` is empty afterwards), put the manifest, drop the intent.
        `instead_of`: the one that is there lacks something that can't be put back under its key: it goes when all that
        the new one names is there. Raises ManifestIncomplete, BackupDeleted, BackupExists, a StorageError."""
        if self._opened.lock is not None:
            await self._holding(self._opened.lock).hold(self._tag, named, fresh or Held())
        await self._check(named)
        await together(self._refuse_deleted(), self._refuse_sweep())
        key = manifest_key(self._cluster_id, self._tag, self._host_id)
        if instead_of is not None:
            _log.warning("broken_manifest_replaced", key=key, reason=instead_of.message)
            await self._storage.delete([key])
        size = sum(memoryview(buffer).nbytes for buffer in manifest)
        put = await self._storage.put(key, manifest, gate=gate)
        if not put.created:
            # An answer that was lost, or somebody else's: the bytes tell.
            same = put.size == size and await self._storage.get(key, 0, size) == b"".join(manifest)
            if not same:
                raise BackupExists(f"the destination has another manifest {key}", tag=self._tag, key=key)
        elif put.size != size:
            raise ManifestIncomplete(f"the manifest was stored with {put.size} bytes instead of {size}: {key}", key=key)
        if await self._intents.stands(self._tag):
            await self._intents.end(self._tag)
            return
        try:
            await self._check_unguarded(await read_manifest(self._opened, self._tag, self._host_id))
        except HelenusError:
            await self._take_back(key)
            raise

    def _holding(self, lock: Lock) -> Holding:
        opened = self._opened
        place = HoldPlace(opened.destination_id, lock.store, opened.repository_id, self._cluster_id, self._host_id)
        return Holding(lock, self._storage, place, encrypted=opened.keyring is not None)

    async def _check_unguarded(self, manifest: Manifest) -> None:
        """The intent was given up: first whether a sweep may still be deleting, then whether all is there. Raises
        IntentForeign, ManifestIncomplete, what reading raises."""
        await self._intents.refuse_foreign_sweep()
        await self._all_there(manifest)

    async def _all_there(self, manifest: Manifest) -> None:
        named = ObjectIndex()
        for one in manifest.head_objects():
            named.add(one.name, one.size, one.codec)
        await self._check(named)  # the tables' lists, which are read next, among them
        seen: set[bytes] = set()
        for reference in manifest.head.tables:
            async for one in manifest.objects(reference, seen):
                named.add(one.name, one.size, one.codec)
        await self._check(named)

    async def _take_back(self, key: str) -> None:
        """What can't be taken back the next run of the command looks at again; the reason is what is to be told."""
        try:
            await self._storage.delete([key])
        except HelenusError as error:
            _log.warning("manifest_not_taken_back", key=key, code=error.code, reason=error.message)

    async def withdraw(self) -> None:
        """Drop the intent of a backup that is not to be, if it is this agent's own and there at all."""
        await self._intents.withdraw(self._tag)

    async def _refuse_deleted(self) -> None:
        if await self._storage.head(deleted_key(self._cluster_id, self._tag)) is not None:
            raise BackupDeleted(f"the backup {self._tag} was deleted in this destination", tag=self._tag)

    async def _refuse_sweep(self) -> None:
        """Without its intent nothing keeps another agent's sweep from deleting what the manifest will name."""
        if not await self._intents.is_there(self._tag):
            await self._intents.refuse_foreign_sweep()

    async def _check(self, named: ObjectIndex) -> None:
        async for one in data_objects(self._storage, self._cluster_id, self._host_id):
            if named.get(one.name, one.codec) == one.size:
                named.discard(one.name, one.codec)
        if len(named):
            missing = [digest.hex() for digest, _, _ in named.missing_from(ObjectIndex())]
            raise ManifestIncomplete(
                f"{len(missing)} objects are missing or have another size although they were put",
                objects=missing[:_SHOWN],
                count=len(missing),
            )
