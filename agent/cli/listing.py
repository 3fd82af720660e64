"""`list`: in, an open repository; out, its backups on the screen."""

from agent.cli.screen import Screen, size_of, time_of
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.errors import ManifestInvalid
from agent.repository.keys import backups_prefix, catalogue_prefix, parse_backup, parse_catalogue
from agent.repository.opened import OpenedRepository
from agent.wire.backups import BackupView


async def undeleted(opened: OpenedRepository) -> dict[str, list[str]]:
    """Tag → host ids with a manifest, of every backup without a mark. Raises a StorageError."""
    found: dict[str, list[str]] = {}
    async for entry in opened.storage.list(backups_prefix(opened.cluster_id)):
        name = parse_backup(opened.cluster_id, entry.key)
        if name is not None:
            hosts = found.setdefault(name.tag, [])
            if name.host_id is not None:
                hosts.append(name.host_id)
    async for entry in opened.storage.list(catalogue_prefix(opened.cluster_id)):
        mark = parse_catalogue(opened.cluster_id, entry.key)
        if mark is not None and mark.number is None:
            found.pop(mark.tag, None)
    return found


async def show_list(opened: OpenedRepository, screen: Screen) -> None:
    """A line for each backup, the oldest first. Raises a StorageError."""
    catalogue = Catalogue(opened, RecordCache())
    rows = []
    for tag, hosts in (await undeleted(opened)).items():
        screen.progress(f"reading {tag}")
        try:
            view = await catalogue.view(tag)
        except ManifestInvalid:
            view = BackupView(tag, False, None, None, sorted(hosts))
        rows.append((_time(view) or 0.0, _row(view)))
    rows.sort(key=lambda row: (row[0], row[1]))
    screen.table(("BACKUP", "TIME", "STATE", "NODES", "COMPLETE", "SIZE", "KEYSPACES"), [row for _, row in rows])


def _row(view: BackupView) -> tuple[str, ...]:
    record, plan = view.record, view.plan
    expected = "?" if plan is None else str(len(plan.nodes))
    size = "?" if record is None else size_of(sum(sum(node.sizes.values()) for node in record.nodes))
    known = record or plan
    keyspaces = [] if known is None else sorted(known.keyspaces)
    complete = {True: "yes", False: "no", None: "?"}[view.complete]
    state = "?" if record is None else record.state
    return (
        view.tag,
        time_of(_time(view)),
        state,
        f"{len(view.manifests)}/{expected}",
        complete,
        size,
        ",".join(keyspaces) or "?",
    )


def _time(view: BackupView) -> float | None:
    known = view.record or view.plan
    return None if known is None else known.time
