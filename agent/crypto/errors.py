"""What sealing can find wrong: errors of this package, each with a stable code."""

from kit.errors import HelenusError


class SealBroken(HelenusError):
    """Sealed bytes that don't open: changed, cut, put in another's place, or sealed with another key."""

    code = "seal_broken"
    status = 502
    todo = (
        "Don't trust what the destination holds there: restore from another backup, run a new one, and look into who "
        "or what changed the destination."
    )


class SealingKeyUnknown(HelenusError):
    """Something was sealed in an epoch whose key isn't in this keyring."""

    code = "sealing_key_unknown"
    status = 409
    retry = "later"
    todo = (
        "The repository's keys were rotated since: give this agent a passphrase or key file that the newest key slots "
        "know, then try again. If no rotation took place, the object was not made by Helenus."
    )


class EncryptionKeyWrong(HelenusError):
    """The passphrase or key file opens no key slot of the repository."""

    code = "encryption_key_wrong"
    status = 409
    todo = "Give the destination the passphrase or key file that the repository was made with, or one added since."


class KeySlotInvalid(HelenusError):
    """A key slot that no agent wrote: damaged, of another repository, or made to exhaust its reader."""

    code = "key_slot_invalid"
    status = 502
    todo = (
        "Put the named key slot back as it was, from a copy, or remove it if another slot opens with your passphrase "
        "or key file; look into who or what changed the destination."
    )


class EncryptionNotPossible(HelenusError):
    """Encryption was asked for, and this agent can't do it with what it has."""

    code = "encryption_not_possible"
    status = 409
    todo = "Correct what the message names: the settings, the file, or the agent's Python environment."
