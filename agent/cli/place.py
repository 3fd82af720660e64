"""The destination that a person names. In: a settings file. Out: its store, its keys, and the repository of a cluster
in it.

The file is JSON: a destination's settings as they are put to an agent (docs/protocol.md), or the file that an agent
keeps of it (`<state>/destinations/<id>.json`). Secrets stand in it or in files that it names, never in arguments.
"""

import asyncio
import os
import stat
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from agent.crypto.keyring import Keyring
from agent.crypto.slots import Unlocking
from agent.daemon.key_files import unlocking_of
from agent.repository.attach import Attached, attach, read_cluster, repository_in
from agent.repository.control_keys import SIDES
from agent.repository.destination_files import StoredDestination
from agent.repository.discerning import discerning
from agent.repository.errors import ClusterAmbiguous, ClusterNotFound, NotARepository
from agent.repository.key_slots import read_slots, unlock
from agent.repository.keyrings import creates_if_absent, refuse_rolled_back
from agent.repository.keys import CHECKS, CLUSTERS, NAMES, cluster_key, decoded
from agent.repository.opened import OpenedRepository
from agent.storage.opened import load, open_storage, probe_store
from agent.storage.protocol import OPEN, Storage
from agent.storage.throttle import TokenBucket
from agent.wire.destinations import PROVIDERS, Encryption, LocalSettings, Settings, encryption_of, object_lock_of
from kit.config import ConfigError

_ANYWHERE = Path("/")
"""Who runs this may read what the operating system lets them: no agent's roots bound it."""


def record_in(path: Path) -> StoredDestination:
    """What the file says; bare settings make a record of which nothing is known yet. Raises ConfigError: not there, not
    right, or open to everybody."""
    where = "--destination"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            text = file.read(1 << 20)
    except OSError as error:
        raise ConfigError(f"«{where}» {path} can't be read: {error.strerror}", setting=where) from None
    if mode & 0o007:
        raise ConfigError(
            f"«{where}» {path} may be read or written by everybody (mode {mode:04o}): chmod 600 {path}", setting=where
        )
    try:
        raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        if "settings" in raw:
            record = msgspec.json.decode(text, type=StoredDestination)
        else:
            settings: Settings = msgspec.json.decode(text, type=Settings)
            record = StoredDestination("destination", 0, settings)
    except msgspec.MsgspecError as error:  # its text names fields and providers, never other values
        known = f" (it can be {', '.join(sorted(PROVIDERS))})" if "provider" in str(error) else ""
        raise ConfigError(f"«{where}» {path} is no destination: {error}{known}", setting=where) from None
    if isinstance(record.settings, LocalSettings) and not Path(record.settings.path).is_absolute():
        relative = record.settings.path
        if "settings" not in raw:
            raise ConfigError(f"«{where}» {path}: the path {relative!r} must begin with a slash", setting=where)
        raise ConfigError(
            f"«{where}» {path} is an agent's own file, and the path {relative!r} in it lies below the first of that "
            "agent's local_roots, which stands in its agent.toml only: give a file with the rest of these settings and "
            f'"path": "/…/{relative}"',
            setting=where,
        )
    return record


@asynccontextmanager
async def opened_store(record: StoredDestination) -> AsyncIterator[Storage]:
    """The store for the block. Raises BadSettings, a StorageError."""
    load(record.settings)
    storage = await _open(record, record.conditional_create)
    try:
        yield storage
    finally:
        await storage.close()


async def probed(record: StoredDestination) -> StoredDestination:
    """The record for who will make objects that must never replace another's: whether the store sees to that is tried,
    unless it is known. Raises BadSettings, a StorageError."""
    if creates_if_absent(record):
        return record
    load(record.settings)
    probe = await probe_store(lambda create: _open(record, create), f"{CHECKS}{uuid.uuid4().hex}/")
    return msgspec.structs.replace(record, conditional_create=probe.outcome == "ok")


async def _open(record: StoredDestination, conditional_create: bool) -> Storage:
    rate = record.settings.throttle_bytes_per_second
    return open_storage(
        record.settings,
        roots=[_ANYWHERE],
        conditional_create=conditional_create,
        sides=SIDES,
        gate=TokenBucket(rate) if rate else OPEN,
        file_roots=[_ANYWHERE],
    )


async def unlocking_in(encryption: Encryption) -> Unlocking:
    """The secret that the settings hold, or the file that they name. Raises EncryptionNotPossible, BadSettings."""
    return await asyncio.to_thread(unlocking_of, encryption, [_ANYWHERE])


async def is_locked(storage: Storage, record: StoredDestination) -> bool:
    """Whether the repository is encrypted and the settings hold no key. Raises NotARepository,
    RepositoryFormatNewer, a StorageError."""
    return encryption_of(record.settings) is None and (await repository_in(storage)).encrypted is True


@dataclass(frozen=True)
class KeysOf:
    """The keys of a destination by its own settings (agent.repository.keyrings.Keys). Nothing is ever made."""

    record: StoredDestination
    encryption: Encryption

    async def prove(self) -> None:
        """See agent.repository.keyrings.Keys."""
        await unlocking_in(self.encryption)

    async def keyring(self, storage: Storage, repository_id: str, *, make: bool) -> Keyring:
        """The keyring. Raises what reading the secret and agent.repository.key_slots.unlock do, and KeysRolledBack."""
        found = await unlock(await read_slots(storage), repository_id, await unlocking_in(self.encryption))
        refuse_rolled_back(found, self.record)
        return found


def keys_of(record: StoredDestination) -> KeysOf | None:
    """The way to the keys; None: the settings ask for no encryption."""
    encryption = encryption_of(record.settings)
    return None if encryption is None else KeysOf(record, encryption)


async def attached_in(storage: Storage, record: StoredDestination, *, to_change: bool = False) -> Attached:
    """The repository that is there, with its keys. `to_change`: what is written goes where it belongs, so the settings
    must say whether it is under object lock. Raises NotARepository, RepositoryMismatch, RepositoryFormatNewer,
    RepositoryLockDiffers, EncryptionKeyMissing, RepositoryNotEncrypted, what `KeysOf.keyring` does, a StorageError."""
    return await attach(
        storage,
        keys=keys_of(record),
        initialise=False,
        repository_id=record.repository_id,
        cluster_id=None,
        cluster_name=None,
        locked=object_lock_of(record.settings) is not None if to_change else None,
    )


async def repository_of(storage: Storage, record: StoredDestination, cluster: str | None) -> OpenedRepository:
    """The repository of `cluster`, a name or an id; None: the only one. Raises as `attached_in`, and
    ClusterAmbiguous, ClusterNotFound."""
    attached = await attached_in(storage, record)
    return await _cluster_in(storage, record, attached.repository_id, cluster, attached.keyring)


async def locked_repository_of(storage: Storage, record: StoredDestination, cluster: str | None) -> OpenedRepository:
    """The same of an encrypted repository without its keys: names of keys and stored bytes are all that it tells."""
    return await _cluster_in(storage, record, (await repository_in(storage)).repository_id, cluster, None)


async def _cluster_in(
    storage: Storage, record: StoredDestination, repository_id: str, cluster: str | None, keyring: Keyring | None
) -> OpenedRepository:
    found = await clusters_in(storage)
    if cluster is not None and cluster not in found and await storage.head(cluster_key(cluster)) is not None:
        found = {cluster: cluster}  # its id, and the index doesn't know it
    wanted = _chosen(found, cluster)
    if not wanted:
        found = await _clusters_with_data(storage)
        wanted = _chosen(found, cluster)
    if not wanted:
        raise ClusterNotFound(cluster, found)
    if len(wanted) > 1:
        raise ClusterAmbiguous(
            "several clusters are in the destination: name one by its id: "
            + ", ".join(f"{one} ({found[one]})" for one in wanted),
            clusters=wanted,
        )
    opened = OpenedRepository(record.id, storage, repository_id, wanted[0], OPEN, record.settings.streams, keyring)
    return discerning(opened)


def _chosen(clusters: Mapping[str, str], cluster: str | None) -> list[str]:
    return sorted(one for one, name in clusters.items() if cluster is None or cluster in (one, name))


async def clusters_in(storage: Storage) -> dict[str, str]:
    """Cluster id → name, of all clusters in the index by name. Raises a StorageError."""
    found = {}
    async for entry in storage.list(NAMES):
        name, _, cluster = entry.key.removeprefix(NAMES).partition("/")
        cluster_id = decoded(cluster)
        if cluster_id is not None:
            found[cluster_id] = decoded(name) or name
    return found


async def _clusters_with_data(storage: Storage) -> dict[str, str]:
    """The same without the index, for when that is gone: it lists all that is stored. The name is the one in
    cluster.json; the id where that is gone too."""
    found: dict[str, str] = {}
    async for entry in storage.list(CLUSTERS):
        cluster_id = decoded(entry.key.removeprefix(CLUSTERS).partition("/")[0])
        if cluster_id is None:
            continue
        found.setdefault(cluster_id, cluster_id)
        if entry.key == cluster_key(cluster_id):
            with suppress(NotARepository):  # `check` tells it
                found[cluster_id] = (await read_cluster(storage, entry.key, entry.size, cluster_id)).name
    return found
