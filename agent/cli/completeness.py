"""Whether a backup is all there. In: an open repository and a tag, or a backup as it is seen there. Out: what is
missing of it, in words."""

from agent.repository.catalogue import UNREADABLE, Catalogue, RecordCache
from agent.repository.opened import OpenedRepository
from agent.wire.backups import BackupView


def missing_in(view: BackupView) -> str | None:
    """What is missing by the backup's plan, which names also the nodes it was taken without; None: nothing."""
    if view.plan is None:
        return "no plan tells which nodes it should have"
    wanted = [*(node.host_id for node in view.plan.nodes), *view.plan.missing_nodes]
    missing = [host for host in wanted if host not in view.manifests]
    if not missing:
        return None
    away = len(set(missing) & set(view.plan.missing_nodes))
    taken = f" ({away} of them away when it was taken)" if away else ""
    return f"without {len(missing)} of its {len(wanted)} nodes{taken}: {', '.join(missing)}"


async def missing_of(opened: OpenedRepository, tag: str) -> str | None:
    """What the destination lacks of the backup, or why that can't be told; None: nothing. Raises BackupNotFound, a
    StorageError."""
    try:
        view = await Catalogue(opened, RecordCache()).view(tag)
    except UNREADABLE as error:
        return error.message
    return missing_in(view)
