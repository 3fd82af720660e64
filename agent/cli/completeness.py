"""Whether a backup is all there. In: an open repository and a tag. Out: what is missing of it, in words."""

from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.errors import ManifestInvalid
from agent.repository.opened import OpenedRepository


async def missing_of(opened: OpenedRepository, tag: str) -> str | None:
    """What the destination lacks of the backup, by its plan; None: nothing. Raises BackupNotFound, a StorageError."""
    try:
        view = await Catalogue(opened, RecordCache()).view(tag)
    except ManifestInvalid as error:
        return error.message
    if view.plan is None:
        return "no plan tells which nodes it should have"
    missing = [node.host_id for node in view.plan.nodes if node.host_id not in view.manifests]
    if not missing:
        return None
    return f"without {len(missing)} of its {len(view.plan.nodes)} nodes: {', '.join(missing)}"
