"""Secrets sealed where others may read. In: a key of 32 bytes, plain bytes, what they are. Out: sealed bytes, and back.

AES-256-GCM with a random nonce of 12 bytes, which stands before the ciphertext; what the bytes are (a list of names and
numbers) is authenticated with them, so that none opens in the place of another.
"""

import binascii
import os
from collections.abc import Mapping, Sequence

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from coordinator.model.errors import CoordinatorError
from kit.config import ConfigError, read_secret
from kit.secret import Secret

KEY_BYTES = 32
_NONCE_BYTES = 12


class StateKeyWrong(CoordinatorError):
    """The key file isn't the one that the state in Cassandra was begun with, or a secret in it was changed or moved."""

    code = "state_key_wrong"
    todo = "Give every coordinator of the keyspace the same [state] key_file: the one that the state was begun with."


class Seal:
    """Seals and opens with one key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def sealed(self, plain: bytes, what: Sequence[str | int]) -> bytes:
        """The bytes, unreadable without the key."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, _named(what))

    def opened(self, sealed: bytes, what: Sequence[str | int]) -> bytes:
        """The bytes again. Raises `StateKeyWrong`."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _named(what))
        except (InvalidTag, ValueError):
            raise StateKeyWrong(
                f"what is sealed in the coordinator's state as «{' '.join(map(str, what))}» doesn't open with this key"
            ) from None


def read_key(place: str, *, setting: str, environment: Mapping[str, str] = os.environ) -> tuple[bytes, Secret]:
    """The key in a file of 64 hexadecimal digits, and those digits, to be kept out of the log. Raises `ConfigError`."""
    text = read_secret(place, setting=setting, environment=environment)
    try:
        key = binascii.unhexlify(text.reveal().strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"the file of «{setting}» must hold {2 * KEY_BYTES} hexadecimal digits: make one with openssl rand -hex "
            f"{KEY_BYTES}",
            setting=setting,
        )
    return key, text


def _named(what: Sequence[str | int]) -> bytes:
    return msgspec.json.encode(what)
