"""What to do, for who runs `helenus-repository`. In: an error. Out: a sentence; the errors' own speak to an agent's
operator, who puts destinations and sends commands.
"""

from kit.errors import HelenusError

_TRY_AGAIN = "then run the same command again."
_TODO = {
    "bucket_missing": "Correct the path in the settings file, or mount what should be there.",
    "destination_read_only": f"Mount the named directory's file system writable, {_TRY_AGAIN}",
    "directory_denied": f"Run this as a user who may read the named directory and all that is in it, {_TRY_AGAIN}",
    "disk_full": "Free space there, then run the same command again: it goes on where it stopped.",
    "encryption_key_missing": (
        'Add "encryption" to the settings file: {"key_file": "/…"}, {"passphrase_file": "/…"} or {"passphrase": "…"}.'
    ),
    "encryption_key_superseded": (
        "Name in the settings file the passphrase or key file that the rotation was made with. If nobody rotated its "
        "keys, remove the named key slots from the destination, and look into who put them there."
    ),
    "encryption_key_wrong": (
        "Name in the settings file the passphrase or key file that the repository was made with, or one added since."
    ),
    "encryption_not_possible": "Correct what the message names: the settings, the file, or the Python environment.",
    "not_a_repository": (
        "See whether the settings file names the right bucket, prefix or directory: that in which `helenus` is. Put "
        "nothing there before this is clear."
    ),
    "repository_format_newer": "Install the version that wrote the repository, or a later one.",
    "sdk_missing": f"Install the named extra into this environment (pip install, its name in quotes), {_TRY_AGAIN}",
    "sealing_key_unknown": (
        "The repository's keys were rotated since: name in the settings file a passphrase or key file that the newest "
        "key slots know. If no rotation took place, the object was not made by Helenus."
    ),
    "storage_denied": f"Correct the credentials in the settings file, or the rights they give, {_TRY_AGAIN}",
    "target_unwritable": "Name a directory that you may write to, in which nothing foreign is in the way.",
}


def todo_of(error: HelenusError) -> str:
    """What the person can do about it."""
    return _TODO.get(error.code, error.todo)
