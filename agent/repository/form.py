"""How a repository stores objects: in, plain bytes (or what a codec made of them); out, frames, and back again with
everything verified.

In a plain repository an object's name is its id, the digest of its plain bytes; in an encrypted one it is the keyed
digest of the id, and what is stored is sealed, with id, type, header and cluster authenticated. Everything else in the
agent knows ids only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import zstandard

from agent.crypto.digest import digest, digest_of
from agent.crypto.errors import SealBroken, SealingKeyUnknown
from agent.crypto.keyring import Keyring
from agent.crypto.sealing import SALT_SIZE, TAG_SIZE, seal, unproven, unseal
from agent.repository.bounded import MOST_FRAME, MOST_PIECE
from agent.repository.errors import ObjectDamaged
from agent.repository.frame import OVERHEAD, Codec, Framed, ObjectType, framed, header_of, unframed
from agent.storage.protocol import Buffer

MOST_OVERHEAD = OVERHEAD + SALT_SIZE + TAG_SIZE
"""Bytes that an object may take beyond its plain ones."""
_WINDOW = 1 << 23
_MOST = {
    ObjectType.DATA: MOST_PIECE,
    ObjectType.TABLE: MOST_FRAME,
    ObjectType.INLINE: MOST_FRAME,
    ObjectType.HEAD: MOST_FRAME,
}


class Packed(NamedTuple):
    """Plain bytes as a codec made them."""

    codec: Codec
    payload: Buffer


class Stored(NamedTuple):
    """An object ready to be put: its codec, its stored size in bytes, and the buffers."""

    codec: Codec
    size: int
    buffers: list[Buffer]


class Decoded(NamedTuple):
    """A verified object: its plain bytes; `id`: their digest where it was computed on the way, else empty (a sealed
    object's bytes are authenticated with its id); `packed`: the bytes as their codec made them."""

    plain: memoryview
    id: bytes
    packed: Packed


@dataclass(frozen=True)
class Form:
    """One repository's way, for one cluster in it. `keyring` None: plain."""

    keyring: Keyring | None = None
    cluster_id: str = ""

    @property
    def is_sealed(self) -> bool:
        """Whether objects are encrypted: such a one can only be read whole."""
        return self.keyring is not None

    def name(self, object_id: bytes) -> bytes:
        """The name under which an object of that id is stored, 32 bytes."""
        return object_id if self.keyring is None else self.keyring.name_of(object_id)

    def size(self, payload: int) -> int:
        """What an object takes whose payload, as its codec makes it, has so many bytes."""
        return payload + (OVERHEAD if self.keyring is None else MOST_OVERHEAD)

    def encode(self, packed: Packed, plain_length: int, object_id: bytes, kind: ObjectType) -> Stored:
        """The object of that id, without a copy of its payload unless it is sealed."""
        payload = packed.payload
        if self.keyring is None:
            header = header_of(packed.codec, kind, 0, plain_length)
            payload_digest = object_id if packed.codec is Codec.RAW else digest(payload)
            buffers = framed(header, [payload], payload_digest)
        else:
            header = header_of(packed.codec, kind, self.keyring.epoch, plain_length)
            sealed = seal(self.keyring, object_id, kind, self._associated(header), payload)
            parts: list[Buffer] = [sealed.salt, sealed.ciphertext]
            buffers = framed(header, parts, digest_of(parts))
        size = payload.nbytes if isinstance(payload, memoryview) else len(payload)
        return Stored(packed.codec, self.size(size), buffers)

    def decode(self, stored: Buffer, key: str, object_id: bytes, kind: ObjectType) -> Decoded:
        """The plain bytes of a stored object named `key` (for the error), which must be the one of that id and type.

        Raises ObjectDamaged (cut, flipped, other content, another's place), RepositoryFormatNewer,
        SealingKeyUnknown."""
        found = self._framed(stored, key, kind)
        payload = found.payload if self.keyring is None else self._unsealed(self.keyring, found, key, object_id)
        if found.codec is Codec.RAW and self.keyring is None:
            plain, plain_digest = payload, found.digest
        else:
            plain = payload if found.codec is Codec.RAW else _unpacked(payload, found.plain_length, key)
            plain_digest = b"" if self.is_sealed else digest(plain)
        if plain.nbytes != found.plain_length:
            raise ObjectDamaged(f"an object is damaged, its header does not match its bytes: {key}", key=key)
        if plain_digest and plain_digest != object_id:
            raise ObjectDamaged(f"an object holds other bytes than its name promises: {key}", key=key)
        return Decoded(plain, plain_digest, Packed(found.codec, payload))

    def verify(self, stored: Buffer, key: str, name: bytes, kind: ObjectType) -> None:
        """Prove of a stored object of which only the name is known that it is the one of that name. Raises as `decode`;
        it costs twice as much where objects are sealed."""
        object_id = name
        if self.keyring is not None:
            found = self._framed(stored, key, kind)
            salt, ciphertext = bytes(found.payload[:SALT_SIZE]), found.payload[SALT_SIZE:]
            with _named(key):
                payload = memoryview(unproven(self.keyring, found.epoch, salt, ciphertext))
            plain = payload if found.codec is Codec.RAW else _unpacked(payload, found.plain_length, key)
            object_id = digest(plain)
            if self.keyring.name_of(object_id) != name:
                raise ObjectDamaged(f"an object holds other bytes than its name promises: {key}", key=key)
        self.decode(stored, key, object_id, kind)

    def _framed(self, stored: Buffer, key: str, kind: ObjectType) -> Framed:
        found = unframed(stored, key)
        if found.type is not kind:
            raise ObjectDamaged(f"an object is of the type {found.type.name}, not {kind.name}: {key}", key=key)
        if found.plain_length > _MOST[kind]:
            raise ObjectDamaged(f"an object says that it holds {found.plain_length} bytes: {key}", key=key)
        if (found.epoch > 0) != self.is_sealed:
            how = "sealed in a plain" if found.epoch else "not sealed in an encrypted"
            raise ObjectDamaged(f"an object is {how} repository: {key}", key=key)
        return found

    def _unsealed(self, keyring: Keyring, found: Framed, key: str, object_id: bytes) -> memoryview:
        salt, ciphertext = bytes(found.payload[:SALT_SIZE]), found.payload[SALT_SIZE:]
        associated = self._associated(found.header)
        with _named(key):
            return memoryview(unseal(keyring, found.epoch, object_id, found.type, associated, salt, ciphertext))

    def _associated(self, header: bytes) -> bytes:
        return header + self.cluster_id.encode()


PLAIN = Form()


def form_of(keyring: Keyring | None, cluster_id: str) -> Form:
    """The form of a repository's objects of one cluster: all plain ones are the same."""
    return PLAIN if keyring is None else Form(keyring, cluster_id)


@contextmanager
def _named(key: str) -> Iterator[None]:
    """Whose object it is, in what goes wrong with its seal."""
    try:
        yield
    except SealingKeyUnknown as error:
        raise SealingKeyUnknown(f"{error.message}: {key}", key=key, **error.fields) from error
    except SealBroken as error:
        raise ObjectDamaged(
            f"an object is not what its name promises, or was sealed with another repository's key: {key}", key=key
        ) from error


def _unpacked(payload: memoryview, length: int, key: str) -> memoryview:
    """zstd undone: the frame itself must say that it holds `length` bytes, and no more are unpacked."""
    try:
        if zstandard.frame_content_size(payload) != length:
            raise ObjectDamaged(f"an object is damaged, its header does not match its bytes: {key}", key=key)
        unpacker = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        return memoryview(unpacker.decompress(payload, max_output_size=length, allow_extra_data=False))
    except zstandard.ZstdError as error:
        raise ObjectDamaged(f"an object can't be unpacked ({error}): {key}", key=key) from error
