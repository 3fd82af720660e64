"""A destination while a backup is stored: in, objects; out, what is there, what was put, and how it failed.

Each target has its own outcome: one that fails is left behind, the others go on. One that is much slower than the
others is parted with, and goes on by itself (`again`).

An object that is there with another size (cut by a full disk, a copy that broke off, a hand) is put anew in its place.
That is safe: its name is the digest of its bytes and has exactly one size, so as it is nobody can restore from it, and
every backup that names it is whole again; a store replaces an object whole or not at all. Whether bytes of the right
size are the right ones shows only when they are read: what a scrub noted as damaged is not in `index`, and is put anew
in the same way, under the key that manifests name it by: raw where it was raw, whatever the codec would choose today.
A coded one whose bytes would have another size today can't be made again, and stays noted.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import structlog

from agent.plan.holding import Held
from agent.plan.objects import ObjectIndex
from agent.repository.damage_notes import DamagedObject
from agent.repository.errors import ManifestIncomplete, ObjectDamaged
from agent.repository.form import Packed, Stored
from agent.repository.frame import Codec, ObjectType
from agent.repository.keys import data_key
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN, Gate
from agent.storage.throttle import Stream
from kit.errors import HelenusError

_SHOWN = 5
"""Objects that a warning names."""
_log = structlog.get_logger(__name__)


class Found(NamedTuple):
    """How an object is there: its codec and its stored size in bytes."""

    codec: Codec
    size: int


class NamedObjects(NamedTuple):
    """Objects as a manifest names them: id in hex → stored size; of those that are not stored raw, id → codec."""

    sizes: dict[str, int]
    codecs: dict[str, int]


class StoreTarget:
    """One destination of a job. `index`: the node's objects, from the listing of this job and from own puts;
    `named`: those that the manifest names. `damaged`: objects, not in `index`, that may be there with wrong bytes
    (agent.repository.damage_notes) and so are replaced; `healed` are those that were."""

    def __init__(
        self,
        opened: OpenedRepository,
        host_id: str,
        index: ObjectIndex,
        gate: Gate,
        damaged: Sequence[DamagedObject] = (),
    ) -> None:
        self.opened = opened
        self.form = opened.form
        self.id = opened.destination_id
        self.index = index
        self._errors: list[HelenusError] = []
        self._parted = False
        self.named = ObjectIndex()
        self.fresh = Held()
        """what was put under object lock"""
        self.put_objects = 0
        self.put_bytes = 0
        self.mended: list[str] = []
        """keys of objects that were there damaged"""
        self.healed: list[DamagedObject] = []
        self._damaged = {one.key: one for one in damaged}
        self._raw = {one.name for one in damaged if one.codec is Codec.RAW}
        """of these, the names of raw ones that are not replaced yet"""
        self._noted = {one.name for one in damaged}
        self._needed: set[bytes] = set()
        """of these, the names whose content the manifest needs (publishing takes from `named`)"""
        self._host_id = host_id
        self._gate = gate
        self._streams = asyncio.Semaphore(max(1, opened.streams))

    @property
    def warnings(self) -> list[str]:
        """What a person should know of the destination."""
        found = []
        if self.mended:
            found.append(
                f"{len(self.mended)} objects in {self.id} were damaged or missing and were put anew: backups that "
                f"need them can be restored again; look at what else may have happened there: {_shown(self.mended)}"
            )
        if left := [one.key for one in self._standing() if one.name in self._needed]:
            found.append(
                f"{len(left)} objects in {self.id} stay damaged or missing, for their content is stored in another "
                f"form now: this backup is whole, older ones that need them are not: {_shown(left)}"
            )
        return found

    @property
    def alive(self) -> bool:
        """Whether it is still written to, in this pass."""
        return not self._errors and not self._parted

    @property
    def error(self) -> HelenusError | None:
        """Why it was left behind."""
        return self._errors[0] if self._errors else None

    @property
    def is_parted(self) -> bool:
        """Whether it goes on by itself."""
        return self._parted

    def part(self) -> None:
        """No more is put through this one."""
        self._parted = True

    def again(self) -> "StoreTarget":
        """The same destination for a pass of its own: what is there by now is known, what a manifest names is not."""
        anew = StoreTarget(self.opened, self._host_id, self.index, self._gate, self._standing())
        anew.put_objects, anew.put_bytes = self.put_objects, self.put_bytes
        anew.mended, anew.healed = self.mended, self.healed
        anew.fresh = self.fresh
        return anew

    def fail(self, error: HelenusError) -> None:
        """Leave it behind."""
        self._errors.append(error)

    def find(self, object_id: bytes, length: int) -> Found | None:
        """How the object of `length` plain bytes is there, in whatever codec; None: it isn't, or is to be replaced."""
        name = self.form.name(object_id)
        return None if name in self._raw else self._find(name, length)

    def _standing(self) -> list[DamagedObject]:
        """What is noted and was not replaced."""
        healed = {one.key for one in self.healed}
        return [one for key, one in self._damaged.items() if key not in healed]

    def _find(self, name: bytes, length: int) -> Found | None:
        raw = self.form.size(length)
        if self.index.get(name, Codec.RAW) == raw:
            return Found(Codec.RAW, raw)
        coded = self.index.get(name, Codec.ZSTD)
        return None if coded is None else Found(Codec.ZSTD, coded)

    def name(self, objects: Iterable[tuple[bytes, int]]) -> NamedObjects | None:
        """Note that the manifest names these objects (id, plain bytes), and how they are there. One that is not there
        fails the target: None."""
        sizes: dict[str, int] = {}
        codecs: dict[str, int] = {}
        for object_id, length in objects:
            name, text = self.form.name(object_id), object_id.hex()
            found = self._find(name, length)
            if found is None:
                self.fail(
                    ManifestIncomplete(f"an object that the manifest names is not in {self.id}: {text}", object=text)
                )
                return None
            self.named.add(name, found.size, found.codec)
            if name in self._noted:
                self._needed.add(name)
            sizes[text] = found.size
            if found.codec is not Codec.RAW:
                codecs[text] = found.codec
        return NamedObjects(sizes, codecs)

    async def put(self, object_id: bytes, length: int, stored: Stored, flow: Gate = OPEN) -> bool:
        """Put an object of `length` plain bytes unless it is there; `flow` is passed by what goes. False: the target
        failed, now or before."""
        if not self.alive:
            return False
        name = self.form.name(object_id)
        if name not in self._raw and self._find(name, length) is not None:
            return True
        if name in self._raw and stored.codec is not Codec.RAW:
            stored = await asyncio.to_thread(self._as_raw, object_id, length, stored)
        codec, size, frame = stored
        key = data_key(self.opened.cluster_id, self._host_id, name, codec, size)
        try:
            async with self._streams:
                if self._errors or self._parted:  # it failed while this one waited for its turn
                    return False
                noted = self._damaged.get(key)
                put = await self.opened.storage.put(
                    key, frame, replace=noted is not None, gate=Stream(self._gate, flow)
                )
                if not put.created and put.size != size:
                    _log.warning("object_mended", destination=self.id, key=key, found=put.size, wanted=size)
                    put = await self.opened.storage.put(key, frame, replace=True, gate=Stream(self._gate, OPEN))
                    self.mended.append(key)
            if put.size != size:
                raise ObjectDamaged(
                    f"an object is in {self.id} with {put.size} bytes instead of {size}: {key}",
                    key=key,
                    size=put.size,
                )
        except HelenusError as error:
            self.fail(error)
            return False
        self.index.add(name, put.size, codec)
        if noted is not None:
            _log.warning("object_healed", destination=self.id, key=key)
            self.mended.append(key)
            self.healed.append(noted)
            self._raw.discard(name)
        if put.created:
            if put.held_until is not None:
                self.fresh.add(name, put.size, codec, put.held_until)
            self.put_objects += 1
            self.put_bytes += put.size
        return True

    def _as_raw(self, object_id: bytes, length: int, coded: Stored) -> Stored:
        """The same object uncoded; only data objects are coded. In a thread."""
        plain = self.form.decode(b"".join(coded.buffers), "", object_id, ObjectType.DATA).plain
        return self.form.encode(Packed(Codec.RAW, plain), length, object_id, ObjectType.DATA)


def _shown(keys: Sequence[str]) -> str:
    return ", ".join(keys[:_SHOWN]) + (", …" if len(keys) > _SHOWN else "")
