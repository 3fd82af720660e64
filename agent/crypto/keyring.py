"""The keys of an encrypted repository. In: the key set that a slot wraps. Out: names of objects, and keys by epoch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from blake3 import blake3

from agent.crypto.errors import SealingKeyUnknown

KEY_SIZE = 32
MOST_EPOCH = 2**32 - 1
"""An object's header has four bytes for its epoch."""


@dataclass(frozen=True, eq=False)
class Keyring:
    """The name key never rotates, so that equal contents keep one name for ever; sealing keys go by epoch, from 1 on,
    and new objects are sealed in the highest. No key is shown by `repr`, and rings aren't compared: that would take
    a time that depends on the keys.

    Raises ValueError for a key of another length or an epoch that can't be.
    """

    name_key: bytes = field(repr=False)
    sealing: Mapping[int, bytes] = field(repr=False)
    epoch: int = field(init=False)
    """The current one."""

    def __post_init__(self) -> None:
        if any(len(key) != KEY_SIZE for key in (self.name_key, *self.sealing.values())):
            raise ValueError(f"every key has {KEY_SIZE} bytes")
        if not self.sealing or not 1 <= min(self.sealing) <= max(self.sealing) <= MOST_EPOCH:
            raise ValueError(f"epochs go from 1 to {MOST_EPOCH}, and there is one at least")
        object.__setattr__(self, "sealing", MappingProxyType(dict(self.sealing)))
        object.__setattr__(self, "epoch", max(self.sealing))

    def name_of(self, plain_digest: bytes) -> bytes:
        """An object's id, 32 bytes, from the digest of its plain bytes: without the name key nobody can tell whether a
        content that they know is there."""
        return bytes(blake3(plain_digest, key=self.name_key).digest())

    def sealing_key(self, epoch: int) -> bytes:
        """The key of that epoch, 32 bytes. Raises SealingKeyUnknown."""
        key = self.sealing.get(epoch)
        if key is None:
            raise SealingKeyUnknown(
                f"this agent has no sealing key of epoch {epoch} (it knows up to {self.epoch})",
                epoch=epoch,
                newest=self.epoch,
            )
        return key
