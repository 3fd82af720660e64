"""Whether stored bytes are those that were stored, without the key: in, an object's bytes as they come; out, nothing,
or ObjectDamaged.

A frame's footer digests its header and its payload as it is stored, so that sealed or compressed bytes are verified
as they lie there. Its codec must be the key's, and it must be sealed where the repository is. Of plain ones (codec
`raw`, key epoch 0) the payload's digest is the object's name too, which tells an object that was put in another one's
place.
"""

from agent.crypto.digest import DIGEST_SIZE, Buffer, RunningDigest, digest_of
from agent.repository.errors import ObjectDamaged, RepositoryFormatNewer
from agent.repository.frame import FORMAT, HEADER_SIZE, MAGIC, OVERHEAD, Codec

_VERSION, _CODEC, TYPE, _EPOCH = 4, 5, 6, slice(8, 12)
"""Where a header has its format, its codec, the object's type and its key epoch (agent.repository.frame)."""


class StoredCheck:
    """Verifies one object of `size` stored bytes, piece by piece, in little memory. `key` (for the errors) says that
    its codec is `codec` and its name is `name` (32 bytes); `is_sealed`: the repository is encrypted."""

    def __init__(self, key: str, size: int, name: bytes, codec: Codec, *, is_sealed: bool) -> None:
        self._key = key
        self._size = size
        self._name = name
        self._codec = codec
        self._is_sealed = is_sealed
        self._came = 0
        self._header = bytearray()
        self._footer = bytearray()
        self._payload = RunningDigest()

    def feed(self, data: Buffer) -> None:
        """Take the next bytes."""
        view = memoryview(data)
        missing = max(0, HEADER_SIZE - len(self._header))
        self._header += view[:missing]
        payload_end = max(0, self._size - DIGEST_SIZE - self._came)
        self._payload.update(view[missing:payload_end])
        self._footer += view[max(missing, payload_end) :]
        self._came += view.nbytes

    def finish(self) -> None:
        """All came. Raises ObjectDamaged (cut, flipped, not ours, another object's, of another codec, sealed or not as
        the repository isn't), RepositoryFormatNewer."""
        key, header = self._key, bytes(self._header)
        if self._came != self._size or self._size < OVERHEAD:
            raise ObjectDamaged(f"an object is cut, {self._came} bytes are there: {key}", key=key)
        if not header.startswith(MAGIC):
            raise ObjectDamaged(f"an object does not begin as one of ours: {key}", key=key)
        found = self._payload.digest()
        if digest_of([header, found]) != bytes(self._footer):
            raise ObjectDamaged(f"an object is damaged, its footer does not match its bytes: {key}", key=key)
        if header[_VERSION] > FORMAT:  # a flipped bit would have shown above
            raise RepositoryFormatNewer(
                f"an object has format {header[_VERSION]}, up to {FORMAT} is known: {key}",
                key=key,
                format=header[_VERSION],
            )
        if header[_CODEC] != self._codec:
            raise ObjectDamaged(f"an object has another codec, {header[_CODEC]}, than its key says: {key}", key=key)
        if any(header[_EPOCH]) != self._is_sealed:
            how = "not sealed in an encrypted" if self._is_sealed else "sealed in a plain"
            raise ObjectDamaged(f"an object is {how} repository: {key}", key=key)
        if self._codec is Codec.RAW and not self._is_sealed and found != self._name:
            raise ObjectDamaged(f"an object holds other bytes than its name promises: {key}", key=key)
