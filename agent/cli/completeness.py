"""Whether a backup is all there. In: an open repository and a tag, or a backup as it is seen there. Out: what is
missing of it, in words."""

from agent.cli.listing import UNREADABLE
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.opened import OpenedRepository
from agent.wire.backups import BackupView


def missing_in(view: BackupView) -> str | None:
    """What is missing by the backup's plan; None: nothing."""
    if view.plan is None:
        return "no plan tells which nodes it should have"
    missing = [node.host_id for node in view.plan.nodes if node.host_id not in view.manifests]
    if not missing:
        return None
    return f"without {len(missing)} of its {len(view.plan.nodes)} nodes: {', '.join(missing)}"


async def missing_of(opened: OpenedRepository, tag: str) -> str | None:
    """What the destination lacks of the backup, or why that can't be told; None: nothing. Raises BackupNotFound, a
    StorageError."""
    try:
        view = await Catalogue(opened, RecordCache()).view(tag)
    except UNREADABLE as error:
        return error.message
    return missing_in(view)
