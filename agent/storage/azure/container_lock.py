"""Whether a container locks what is put there. In: its client. Out: nothing, or the error that says by what.

One request; Helenus knows no way to keep backups in such a container.
"""

from azure.storage.blob import ContainerClient

from agent.storage.azure.errors import translated
from agent.storage.protocol import BucketLocked, BucketMissing, StorageError, Transient


def refuse_locked(client: ContainerClient) -> None:
    """Raise `BucketLocked` for one with an immutability policy or a legal hold. One whose properties these credentials
    aren't told is taken for one without."""
    name = str(client.container_name)
    try:
        with translated("look at the properties", name):
            found = client.get_container_properties()
    except (BucketMissing, Transient):
        raise
    except StorageError:
        return
    if found.has_immutability_policy:
        how = "has an immutability policy"
    elif found.has_legal_hold:
        how = "is under a legal hold"
    else:
        return
    raise BucketLocked(
        f"the container {name!r} {how}: what Helenus replaces and deletes while it works couldn't go, and on Azure it "
        "keeps no backups under lock",
        bucket=name,
        setting="path",
    )
