"""Key slots: in, a keyring and a passphrase or key file; out, what wraps the one by the other, and back. No I/O.

A slot's key is Argon2id of the passphrase, or HKDF-SHA256 of a key file's bytes, with the slot's own random salt; it
wraps the whole key set by AES-256-GCM, and authenticates with it everything else that the slot says, and the
repository's id. Costs are bounded when a slot is read: whoever can write to a destination must not be able to fill
the memory of its readers, or keep them busy for hours.
"""

import secrets
import struct
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent.crypto.digest import digest
from agent.crypto.errors import EncryptionKeyWrong, EncryptionNotPossible, KeySlotInvalid
from agent.crypto.keyring import KEY_SIZE, Keyring

FORMAT = 1
LEAST_KEY_FILE = 32
"""Bytes of a key file: what has fewer may be guessed."""
MOST_KEY_FILE = 64 * 1024
LEAST_PASSPHRASE = 12
"""Characters of a passphrase that a slot is made for: shorter ones are guessed, however slowly."""
_SALT = 32
_NONCE = 12
_INFO = b"helenus key slot 1"
_ENTRY = struct.Struct(">I32s")
MOST_EPOCHS = 4096
"""Sealing keys in one slot: a rotation a day for eleven years."""


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one guess of a passphrase costs: the second choice of RFC 9106, about 0.1 s and 64 MiB."""

    memory_kib: int = 64 * 1024
    iterations: int = 3
    lanes: int = 4


MOST = Cost(128 * 1024, 16, 8)
"""What a reader spends on a slot at most: an agent has 200 MiB for everything."""
DEFAULT = Cost()


@dataclass(frozen=True, eq=False)
class Unlocking:
    """What opens a slot: a passphrase as text in UTF-8, or the bytes of a key file. Raises EncryptionNotPossible for
    one that is empty, or a key file that is too short or too long."""

    kind: Literal["passphrase", "key_file"]
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.secret:
            raise EncryptionNotPossible(f"the {self.kind} is empty", setting=self.kind)
        if self.kind == "key_file" and not LEAST_KEY_FILE <= len(self.secret) <= MOST_KEY_FILE:
            raise EncryptionNotPossible(
                f"a key file has {LEAST_KEY_FILE} to {MOST_KEY_FILE} bytes, this one {len(self.secret)}",
                setting=self.kind,
            )


def refuse_weak(unlocking: Unlocking) -> None:
    """Raise EncryptionNotPossible for a passphrase that no slot should be made for. Those that have one open it."""
    if unlocking.kind == "passphrase" and len(unlocking.secret.decode(errors="replace")) < LEAST_PASSPHRASE:
        raise EncryptionNotPossible(
            f"a new passphrase has {LEAST_PASSPHRASE} characters at least: whoever copied its slot can try for ever",
            setting="passphrase",
        )


class Slot(msgspec.Struct, frozen=True, omit_defaults=True):
    """keys/<n>.json. `number`: n. `epoch`: the newest sealing key's. `key_set`: which set it wraps, by a digest of all
    its keys; two rotations at a time would make two of one epoch. `argon2id`: of a passphrase."""

    format: int
    number: int
    epoch: int
    key_set: str
    kind: Literal["passphrase", "key_file"]
    salt: bytes
    nonce: bytes
    wrapped: bytes
    argon2id: Cost | None = None


def new_keyring() -> Keyring:
    """The keys of a new repository."""
    return Keyring(secrets.token_bytes(KEY_SIZE), {1: secrets.token_bytes(KEY_SIZE)})


def rotated(keyring: Keyring) -> Keyring:
    """The same keys and a sealing key of a new epoch. Raises EncryptionNotPossible after `MOST_EPOCHS`."""
    if len(keyring.sealing) >= MOST_EPOCHS:
        raise EncryptionNotPossible(f"the repository has {MOST_EPOCHS} sealing keys, and no more have room in a slot")
    return Keyring(keyring.name_key, {**keyring.sealing, keyring.epoch + 1: secrets.token_bytes(KEY_SIZE)})


def key_set(keyring: Keyring) -> str:
    """Which keys these are, without saying anything of them; hex."""
    return digest(b"helenus key set" + _packed(keyring)).hex()


def wrapped(keyring: Keyring, unlocking: Unlocking, repository_id: str, number: int, cost: Cost = DEFAULT) -> Slot:
    """A new slot. It takes time and memory: call it in a thread. Raises EncryptionNotPossible."""
    bare = Slot(
        FORMAT,
        number,
        keyring.epoch,
        key_set(keyring),
        unlocking.kind,
        secrets.token_bytes(_SALT),
        secrets.token_bytes(_NONCE),
        b"",
        cost if unlocking.kind == "passphrase" else None,
    )
    cipher = AESGCM(_key(unlocking, bare))
    return msgspec.structs.replace(
        bare, wrapped=cipher.encrypt(bare.nonce, _packed(keyring), _authenticated(bare, repository_id))
    )


def unwrapped(slot: Slot, unlocking: Unlocking, repository_id: str) -> Keyring:
    """The keys in a slot. It takes time and memory: call it in a thread. Raises EncryptionKeyWrong (or the slot was
    changed, which looks the same), KeySlotInvalid, EncryptionNotPossible."""
    check_bounds(slot)
    if slot.kind != unlocking.kind:
        raise EncryptionKeyWrong(f"key slot {slot.number} takes a {slot.kind}", slot=slot.number)
    try:
        plain = AESGCM(_key(unlocking, slot)).decrypt(slot.nonce, slot.wrapped, _authenticated(slot, repository_id))
    except InvalidTag:
        raise EncryptionKeyWrong(f"the {slot.kind} doesn't open key slot {slot.number}", slot=slot.number) from None
    keyring = Keyring(plain[:KEY_SIZE], dict(_ENTRY.iter_unpack(plain[KEY_SIZE:])))
    if keyring.epoch != slot.epoch or key_set(keyring) != slot.key_set:
        raise KeySlotInvalid(f"key slot {slot.number} holds other keys than it says", slot=slot.number)
    return keyring


def check_bounds(slot: Slot) -> None:
    """Raise KeySlotInvalid for a slot that no agent wrote, without spending anything on it."""
    cost = slot.argon2id
    if slot.kind == "passphrase":
        good = (
            cost is not None
            and 1 <= cost.iterations <= MOST.iterations
            and 1 <= cost.lanes <= MOST.lanes
            and 8 * cost.lanes <= cost.memory_kib <= MOST.memory_kib
        )
    else:
        good = cost is None
    sizes = len(slot.salt) == _SALT and len(slot.nonce) == _NONCE
    if slot.format != FORMAT or not good or not sizes or not _whole(len(slot.wrapped)):
        raise KeySlotInvalid(f"key slot {slot.number} is none that an agent wrote", slot=slot.number)


def _whole(size: int) -> bool:
    """Whether a name key, whole entries and the tag take so many bytes."""
    entries, rest = divmod(size - KEY_SIZE - 16, _ENTRY.size)
    return rest == 0 and 1 <= entries <= MOST_EPOCHS


def _packed(keyring: Keyring) -> bytes:
    return keyring.name_key + b"".join(_ENTRY.pack(epoch, key) for epoch, key in sorted(keyring.sealing.items()))


def _authenticated(slot: Slot, repository_id: str) -> bytes:
    """All that the slot says but the keys themselves, with the repository's id."""
    return msgspec.json.encode([repository_id, msgspec.structs.replace(slot, wrapped=b"")])


def _key(unlocking: Unlocking, slot: Slot) -> bytes:
    cost = slot.argon2id
    if cost is None:
        return HKDF(SHA256(), KEY_SIZE, slot.salt, _INFO).derive(unlocking.secret)
    try:
        derived = Argon2id(
            salt=slot.salt,
            length=KEY_SIZE,
            iterations=cost.iterations,
            lanes=cost.lanes,
            memory_cost=cost.memory_kib,
        ).derive(unlocking.secret)
    except (UnsupportedAlgorithm, MemoryError) as error:
        raise EncryptionNotPossible(f"Argon2id can't be computed here: {error}", setting="passphrase") from error
    return bytes(derived)
