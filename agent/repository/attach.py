"""Which repository a destination holds: in, an opened store and what is wanted; out, the repository's and the cluster's
ids, made where that is allowed.

repository.json and cluster.json are created only if absent, read back and never replaced: whoever comes second attaches
to what the first one made. An empty store is initialised, a Helenus repository attached to, anything else refused.
"""

import uuid
from dataclasses import dataclass

import msgspec
from msgspec import UNSET, UnsetType

from agent.crypto.keyring import Keyring
from agent.repository import checked_text
from agent.repository.errors import (
    ClusterAmbiguous,
    ClusterFileDamaged,
    EncryptionKeyMissing,
    LockedStoreUnconditional,
    NotARepository,
    RepositoryFileLost,
    RepositoryFormatNewer,
    RepositoryGone,
    RepositoryLockDiffers,
    RepositoryMismatch,
    RepositoryNotEncrypted,
)
from agent.repository.key_slots import listed
from agent.repository.keyrings import Keys
from agent.repository.keys import CHECKS, KEY_SLOTS, REPOSITORY, ROOT, cluster_key, decoded, named_key, named_prefix
from agent.storage.protocol import NotFound, Storage

PLAIN_FORMAT = 1
FORMAT = 2
"""Of an encrypted repository, which versions that know nothing of encryption refuse by name."""
_MOST_BYTES = 64 * 1024


class RepositoryFile(msgspec.Struct, frozen=True):
    """repository.json. `format` grows when an older agent could no longer read what a newer one writes. `encrypted`
    stands in that of an encrypted repository only, `object_lock` in that of one which was made under object lock."""

    repository_id: str
    format: int = PLAIN_FORMAT
    encrypted: bool | UnsetType = UNSET
    object_lock: bool | UnsetType = UNSET


class ClusterFile(msgspec.Struct, frozen=True):
    """clusters/<cluster id>/cluster.json."""

    cluster_id: str
    name: str


@dataclass(frozen=True)
class Attached:
    """The repository that is there. `cluster_id` None: no cluster was asked for. `made`: the repository is new.
    `keyring` None: it isn't encrypted."""

    repository_id: str
    cluster_id: str | None
    made: bool
    keyring: Keyring | None


_repository = msgspec.json.Decoder(RepositoryFile)
_cluster = msgspec.json.Decoder(ClusterFile)


async def attach(
    storage: Storage,
    *,
    keys: Keys | None,
    initialise: bool,
    repository_id: str | None,
    cluster_id: str | None,
    cluster_name: str | None,
    locked: bool | None = None,
) -> Attached:
    """Attach to the repository in the store.

    `initialise`: an empty store gets a repository (with `repository_id`, or a new id), and the cluster is made when it
    is missing. `repository_id`: the one that must be there. `cluster_id` must be there or is made with `cluster_name`;
    without it the cluster of that name is looked for. `keys`: the repository is, or is made, encrypted, and this leads
    to its keys; None: it is plain. `locked`: it is, or is made, under object lock, or it isn't; None: that doesn't
    matter. One that isn't what is asked for is refused.

    Raises NotARepository, RepositoryFileLost, RepositoryGone, RepositoryMismatch, RepositoryFormatNewer,
    RepositoryLockDiffers, LockedStoreUnconditional, ClusterAmbiguous, EncryptionKeyMissing, RepositoryNotEncrypted,
    what `keys` raises, a StorageError.
    """
    found = await _found(storage)
    made = False
    if found is None and (foreign := await _foreign(storage)) is not None:
        # Another agent may have made the repository between the look for it and the listing.
        found = await _found(storage)
        if found is None:
            raise await _not_one(storage, foreign)
    if found is None:
        if not initialise and repository_id is not None:
            raise RepositoryGone(repository_id)
        if not initialise:
            raise NotARepository("the destination is empty: no repository was made in it yet")
        if keys is not None:
            await keys.prove()  # what nobody here could open would be in the way of the next attempt
        wanted = RepositoryFile(repository_id or uuid.uuid4().hex)
        if keys is not None:
            wanted = RepositoryFile(wanted.repository_id, FORMAT, True)
        if locked:
            wanted = msgspec.structs.replace(wanted, object_lock=True)
        made = (await storage.put(REPOSITORY, [checked_text.encode(wanted)])).created
        found = await _found(storage)
        if found is None:
            raise NotARepository("the repository's own file can't be read back")
    if repository_id is not None and found.repository_id != repository_id:
        raise RepositoryMismatch(
            f"the destination holds the repository {found.repository_id}, not {repository_id}",
            found=found.repository_id,
            wanted=repository_id,
        )
    if locked is not None and locked != (found.object_lock is True):
        told = "has" if locked else "has not"
        raise RepositoryLockDiffers(
            f"the destination {told} object lock in its settings, and the repository there was made "
            f"{'without' if locked else 'with'} it",
            setting="object_lock",
        )
    if locked and initialise:
        await _refuse_unconditional(storage, found)
    keyring = await _keyring(storage, found, keys, initialise=initialise)
    if made and (again := await _found(storage)) is not None and again.repository_id != found.repository_id:
        # The store let two agents make one at a time, and the other's stands.
        raise RepositoryMismatch(
            f"another repository, {again.repository_id}, was made in the place of {found.repository_id} meanwhile",
            found=again.repository_id,
            wanted=found.repository_id,
        )
    if cluster_id is None and cluster_name is None:
        return Attached(found.repository_id, None, made, keyring)
    cluster = await _attached_cluster(storage, cluster_id, cluster_name, initialise=initialise)
    return Attached(found.repository_id, cluster, made, keyring)


async def _refuse_unconditional(storage: Storage, found: RepositoryFile) -> None:
    """A check tries creation only if absent where what it puts can be taken away again, which isn't under lock. There
    it is tried with what stands there anyway, before the first key slot relies on it."""
    if (await storage.put(REPOSITORY, [checked_text.encode(found)])).created:
        raise LockedStoreUnconditional("the store puts objects under lock on top of others", key=REPOSITORY)


async def repository_in(storage: Storage) -> RepositoryFile:
    """The repository that is there, which tells without a key whether it is encrypted. Raises NotARepository,
    RepositoryFileLost, RepositoryFormatNewer, a StorageError."""
    found = await _found(storage)
    if found is None:
        foreign = await _foreign(storage)
        if foreign is not None:
            raise await _not_one(storage, foreign)
        raise NotARepository("the destination holds no repository")
    return found


async def _not_one(storage: Storage, foreign: str) -> NotARepository:
    """What a store without repository.json is that holds `foreign` at least."""
    async for entry in storage.list(ROOT):
        return RepositoryFileLost(f"{REPOSITORY} is gone, and {entry.key} is there", key=REPOSITORY)
    return NotARepository("the destination holds something else than a repository", key=foreign)


async def _foreign(storage: Storage) -> str | None:
    """A key of the store that no check left there; None: it counts as empty."""
    async for entry in storage.list(""):
        if not entry.key.startswith(CHECKS):
            return entry.key
    return None


async def _keyring(storage: Storage, found: RepositoryFile, keys: Keys | None, *, initialise: bool) -> Keyring | None:
    """The keys of a repository that is as it was asked for; one that says it is plain must have no key slots."""
    if found.encrypted is True:
        if keys is None:
            raise EncryptionKeyMissing("the repository is encrypted, and no key was given", setting="encryption")
        return await keys.keyring(storage, found.repository_id, make=initialise)
    if keys is not None:
        raise RepositoryNotEncrypted(
            "encryption was asked for, and the repository that is there isn't encrypted", setting="encryption"
        )
    if initialise and await listed(storage):
        raise RepositoryNotEncrypted("the repository says that it isn't encrypted, and has key slots", key=KEY_SLOTS)
    return None


async def _attached_cluster(storage: Storage, cluster_id: str | None, name: str | None, *, initialise: bool) -> str:
    if cluster_id is None:
        assert name is not None, "one of the two was asked for"  # noqa: S101 - an invariant of ours
        named = await _named(storage, name)
        if len(named) > 1:
            raise ClusterAmbiguous(f"{len(named)} clusters are named {name!r}", clusters=named, name=name)
        if not named and not initialise:
            raise RepositoryMismatch(f"no cluster is named {name!r} in this repository", name=name)
        # An id that stands in the index without its cluster.json was left by a crash: it is used.
        cluster_id = named[0] if named else uuid.uuid4().hex
    there = await storage.head(cluster_key(cluster_id))
    if there is None:
        if not initialise or name is None:
            async for entry in storage.list(cluster_key(cluster_id).removesuffix("cluster.json")):
                gone = cluster_key(cluster_id)
                raise ClusterFileDamaged(f"{gone} is gone, and {entry.key} is there", key=gone, cluster_id=cluster_id)
            raise RepositoryMismatch(f"the cluster {cluster_id} is not in this repository", cluster_id=cluster_id)
        body = checked_text.encode(ClusterFile(cluster_id, name))
        await storage.put(named_key(name, cluster_id), [body])
        size = (await storage.put(cluster_key(cluster_id), [body])).size
    else:
        size = there.size
    return (await read_cluster(storage, cluster_key(cluster_id), size, cluster_id)).cluster_id


async def _named(storage: Storage, name: str) -> list[str]:
    """The ids of the clusters of that name."""
    prefix = named_prefix(name)
    found = [decoded(entry.key.removeprefix(prefix)) async for entry in storage.list(prefix)]
    return [one for one in found if one is not None]


async def _found(storage: Storage) -> RepositoryFile | None:
    entry = await storage.head(REPOSITORY)
    if entry is None:
        return None
    try:
        found = checked_text.decode(_repository, await _small(storage, REPOSITORY, entry.size))
    except NotFound:
        return None
    except NotARepository as error:
        raise RepositoryFileLost(error.message, key=REPOSITORY, **error.fields) from error
    except msgspec.DecodeError as error:
        raise RepositoryFileLost(f"{REPOSITORY} can't be read: {error}", key=REPOSITORY) from error
    if found.format > FORMAT:
        raise RepositoryFormatNewer(
            f"the repository has format {found.format}, this agent reads up to {FORMAT}", format=found.format
        )
    return found


async def _small(storage: Storage, key: str, size: int) -> bytes:
    """The bytes of a file that has few, if it is one of ours."""
    if size > _MOST_BYTES:
        raise NotARepository(f"{key} is not one of ours", size=size)
    return await storage.get(key, 0, size) if size else b""


async def read_cluster(storage: Storage, key: str, size: int, cluster_id: str) -> ClusterFile:
    """The cluster.json of a cluster, or its twin in `names/`. Raises ClusterFileDamaged, a StorageError."""
    try:
        found = checked_text.decode(_cluster, await _small(storage, key, size))
    except NotARepository as error:
        raise ClusterFileDamaged(error.message, key=key, **error.fields) from error
    except msgspec.DecodeError as error:
        raise ClusterFileDamaged(f"{key} can't be read: {error}", key=key) from error
    if found.cluster_id != cluster_id:
        raise ClusterFileDamaged(f"{key} names another cluster", key=key, cluster_id=found.cluster_id)
    return found
