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
