"""A backup that something is to be read from. In: an open repository, a tag and a node. Out: its verified manifest."""

from agent.repository.errors import BackupDeleted
from agent.repository.keys import deleted_key
from agent.repository.manifest import Manifest, read_manifest
from agent.repository.opened import OpenedRepository


async def undeleted_manifest(opened: OpenedRepository, tag: str, host_id: str) -> Manifest:
    """Raises BackupDeleted, what `read_manifest` raises."""
    if await opened.storage.head(deleted_key(opened.cluster_id, tag)) is not None:
        raise BackupDeleted(f"the backup {tag} was deleted in this destination", tag=tag)
    return await read_manifest(opened, tag, host_id, gate=opened.gate)
