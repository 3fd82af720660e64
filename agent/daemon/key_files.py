"""The passphrase or key file that a destination's settings name. In: the settings and the directories that such files
may lie in. Out: what opens key slots, or why there is none. It blocks: call it in a thread.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from agent.crypto.errors import EncryptionNotPossible
from agent.crypto.slots import MOST_KEY_FILE, Unlocking
from agent.storage.allowed_files import allowed_file
from agent.wire.destinations import Encryption


def unlocking_of(encryption: Encryption, roots: Sequence[Path]) -> Unlocking:
    """The secret: of a passphrase file its text without the newline at its end, of a key file its bytes. Raises
    `BadSettings` (a file outside of `roots`), `EncryptionNotPossible` (it can't be read, is readable by everybody,
    too short or too long)."""
    if encryption.passphrase:
        return Unlocking("passphrase", encryption.passphrase.encode())
    if encryption.key_file:
        return Unlocking("key_file", _read(encryption.key_file, roots, "key_file"))
    return Unlocking("passphrase", _read(encryption.passphrase_file, roots, "passphrase_file").rstrip(b"\r\n"))


def _read(path: str, roots: Sequence[Path], setting: str) -> bytes:
    try:
        with open(
            os.open(allowed_file(path, roots, setting), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb"
        ) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise EncryptionNotPossible(f"the {setting} {path!r} is no file", setting=setting)
            if found.st_mode & 0o007:
                raise EncryptionNotPossible(
                    f"the {setting} {path!r} may be read or written by everybody (mode "
                    f"{stat.S_IMODE(found.st_mode):04o}); allowed: 0600, 0640",
                    setting=setting,
                )
            return file.read(MOST_KEY_FILE + 1)
    except OSError as error:
        raise EncryptionNotPossible(
            f"the {setting} {path!r} can't be read: {error.strerror}", setting=setting
        ) from None
