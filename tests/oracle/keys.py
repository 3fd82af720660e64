"""The keys of an encrypted repository, from its slots and the passphrase, as docs/repository.md says: no code of the
agent's is used."""

import base64
import json
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from tests.oracle.formats import Keys
from tests.oracle.reader import Reader

SLOTS = "helenus/v1/keys/"
_ENTRY = struct.Struct(">I32s")


def keys_of(reader: Reader, passphrase: bytes) -> Keys:
    """What the slot of the newest epoch with the lowest number wraps."""
    slots = [json.loads(reader.get(key)) for key, _ in reader.list() if key.startswith(SLOTS)]
    repository = json.loads(reader.get("helenus/v1/repository.json"))["repository_id"]
    slot = min(slots, key=lambda one: (-one["epoch"], one["number"]))
    cost = slot["argon2id"]
    key = Argon2id(
        salt=base64.b64decode(slot["salt"]),
        length=32,
        iterations=cost["iterations"],
        lanes=cost["lanes"],
        memory_cost=cost["memory_kib"],
    ).derive(passphrase)
    told = json.dumps([repository, {**slot, "wrapped": ""}], separators=(",", ":")).encode()
    plain = AESGCM(key).decrypt(base64.b64decode(slot["nonce"]), base64.b64decode(slot["wrapped"]), told)
    return Keys(plain[:32], dict(_ENTRY.iter_unpack(plain[32:])))
