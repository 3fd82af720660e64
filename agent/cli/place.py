"""The destination that a person names. In: a settings file. Out: its store, and the repository of a cluster in it.

The file is JSON: a destination's settings as they are put to an agent (docs/protocol.md), or the file that an agent
keeps of it (`<state>/destinations/<id>.json`). Secrets stand in it or in files that it names, never in arguments.
"""

import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from agent.repository.attach import attach
from agent.repository.destination_files import StoredDestination
from agent.repository.errors import ClusterAmbiguous, NotARepository
from agent.repository.keys import NAMES, decoded
from agent.repository.opened import OpenedRepository
from agent.storage.opened import load, open_storage
from agent.storage.protocol import OPEN, Storage
from agent.storage.throttle import TokenBucket
from agent.wire.destinations import Settings
from kit.config import ConfigError

_ANYWHERE = Path("/")
"""Who runs this may read what the operating system lets them: no agent's roots bound it."""


def settings_in(path: Path) -> Settings:
    """The settings in the file. Raises ConfigError: not there, not right, or open to everybody."""
    where = "--destination"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            text = file.read(1 << 20)
    except OSError as error:
        raise ConfigError(f"«{where}» {path} can't be read: {error.strerror}", setting=where) from None
    if mode & 0o007:
        raise ConfigError(f"«{where}» {path} may be read or written by everybody (mode {mode:04o})", setting=where)
    try:
        raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        if "settings" in raw:
            return msgspec.json.decode(text, type=StoredDestination).settings
        found: Settings = msgspec.json.decode(text, type=Settings)
    except msgspec.MsgspecError as error:  # its text names fields, never values
        raise ConfigError(f"«{where}» {path} is no destination: {error}", setting=where) from None
    return found


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Storage]:
    """The store for the block. Raises BadSettings, a StorageError."""
    load(settings)
    rate = settings.throttle_bytes_per_second
    storage = open_storage(
        settings,
        roots=[_ANYWHERE],
        conditional_create=False,
        gate=TokenBucket(rate) if rate else OPEN,
        file_roots=[_ANYWHERE],
    )
    try:
        yield storage
    finally:
        await storage.close()


async def repository_of(storage: Storage, settings: Settings, cluster: str | None) -> OpenedRepository:
    """The repository of `cluster`, a name or an id; None: the only one. Raises NotARepository, ClusterAmbiguous, a
    StorageError."""
    attached = await attach(
        storage, keys=None, initialise=False, repository_id=None, cluster_id=None, cluster_name=None
    )
    found = await clusters_in(storage)
    wanted = sorted(one for one, name in found.items() if cluster is None or cluster in (one, name))
    if not wanted:
        raise NotARepository("the destination has no such cluster", cluster=cluster, clusters=sorted(found.values()))
    if len(wanted) > 1:
        raise ClusterAmbiguous(
            "several clusters are in the destination: name one by its id: "
            + ", ".join(f"{one} ({found[one]})" for one in wanted),
            clusters=wanted,
        )
    return OpenedRepository("destination", storage, attached.repository_id, wanted[0], OPEN, settings.streams)


async def clusters_in(storage: Storage) -> dict[str, str]:
    """Cluster id → name, of all clusters of the repository. Raises a StorageError."""
    found = {}
    async for entry in storage.list(NAMES):
        name, _, cluster = entry.key.removeprefix(NAMES).partition("/")
        cluster_id = decoded(cluster)
        if cluster_id is not None:
            found[cluster_id] = decoded(name) or name
    return found
