"""Sealing of one object: in, a keyring, what the object is and its payload; out, ciphertext, and back. No I/O.

    salt        keyed BLAKE3 (sealing key) of what the object is, and of its payload; 32 bytes, stored in the clear
    key, nonce  HKDF-SHA256 of the sealing key with that salt, 32 and 12 bytes
    ciphertext  AES-256-GCM, the tag (16 bytes) at its end; authenticated with it is what the object is

*What the object is*: id, kind, epoch, and `associated`, whatever else an object must not be moved out of (its cluster).
The salt covers all that the cipher sees. So equal input gives equal bytes, and a lost race of two puts does no harm;
and unequal input, be it one object at two levels of compression or in two clusters, shares neither key nor nonce,
without which GCM would keep nothing secret.
"""

import struct
from typing import NamedTuple

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent.crypto.digest import Buffer
from agent.crypto.errors import SealBroken
from agent.crypto.keyring import KEY_SIZE, Keyring

SALT_SIZE = 32
TAG_SIZE = 16
_NONCE_SIZE = 12
_INFO = b"helenus object 1"
_FIRST_BLOCK = (2).to_bytes(4, "big")
"""The counter of GCM's first block of text, after a nonce of 12 bytes."""
_WHAT = struct.Struct(">BIBH")
"""Kind, epoch, and the lengths of id and `associated`: no two objects are described by the same bytes."""


class Sealed(NamedTuple):
    """A sealed payload. `ciphertext` is `TAG_SIZE` bytes longer than the payload."""

    salt: bytes
    ciphertext: bytes


def seal(
    keyring: Keyring, object_id: bytes, kind: int, associated: bytes, payload: Buffer, epoch: int | None = None
) -> Sealed:
    """Seal the payload of an object, with the current epoch's key or that of `epoch`. One copy is made, the ciphertext;
    the GIL is released while large payloads are digested and encrypted. `kind`: 0 to 255.

    Raises SealingKeyUnknown.
    """
    epoch = keyring.epoch if epoch is None else epoch
    sealing_key = keyring.sealing_key(epoch)
    what = _what(object_id, kind, epoch, associated)
    salt = bytes(blake3(what, key=sealing_key).update(payload).digest())
    cipher, nonce = _cipher(sealing_key, salt)
    return Sealed(salt, cipher.encrypt(nonce, payload, what))


def unseal(
    keyring: Keyring, epoch: int, object_id: bytes, kind: int, associated: bytes, salt: bytes, ciphertext: Buffer
) -> bytes:
    """The payload of a sealed object, which is what was sealed under these very ids. Raises SealBroken,
    SealingKeyUnknown."""
    cipher, nonce = _cipher(keyring.sealing_key(epoch), salt)
    try:
        return cipher.decrypt(nonce, ciphertext, _what(object_id, kind, epoch, associated))
    except InvalidTag:
        raise SealBroken(
            "sealed bytes don't open: they were changed, stand in another's place, or have another key", epoch=epoch
        ) from None


def unproven(keyring: Keyring, epoch: int, salt: bytes, ciphertext: Buffer) -> bytes:
    """The payload of a sealed object of which nobody knows yet what it is, and nothing proven of it: what it digests to
    may tell its id, and only `unseal` with that proves it. Raises SealBroken (it is too short), SealingKeyUnknown."""
    view = memoryview(ciphertext)
    if view.nbytes < TAG_SIZE:
        raise SealBroken("sealed bytes are cut", epoch=epoch)
    key, nonce = _derived(keyring.sealing_key(epoch), salt)
    return Cipher(AES(key), CTR(nonce + _FIRST_BLOCK)).decryptor().update(view[:-TAG_SIZE])


def _what(object_id: bytes, kind: int, epoch: int, associated: bytes) -> bytes:
    return _WHAT.pack(kind, epoch, len(object_id), len(associated)) + object_id + associated


def _cipher(sealing_key: bytes, salt: bytes) -> tuple[AESGCM, bytes]:
    """The cipher of one object and its nonce: neither is ever used for another."""
    key, nonce = _derived(sealing_key, salt)
    return AESGCM(key), nonce


def _derived(sealing_key: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """Key and nonce."""
    derived = HKDF(SHA256(), KEY_SIZE + _NONCE_SIZE, salt, _INFO).derive(sealing_key)
    return derived[:KEY_SIZE], derived[KEY_SIZE:]
