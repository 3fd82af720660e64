"""`list`: in, an open repository; out, its backups on the screen."""

from agent.cli.screen import Screen, size_of, time_of
from agent.repository.catalogue import UNREADABLE, Catalogue, RecordCache
from agent.repository.documents import MAGIC, claims_seal
from agent.repository.errors import ManifestInvalid
from agent.repository.keys import backups_prefix, catalogue_prefix, parse_backup, parse_catalogue
from agent.repository.marks import Marks
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import Entry, NotFound
from agent.wire.backups import BackupView


class Backups(dict[str, list[str]]):
    """Tag → host ids with a manifest. `doubted`: tag → what is wrong with its deletion mark, which isn't believed."""

    def __init__(self) -> None:
        super().__init__()
        self.doubted: dict[str, str] = {}

    def tell_doubts(self, screen: Screen, tag: str | None = None) -> int:
        """Say which marks (of that backup) aren't believed; how many."""
        told = {one: why for one, why in self.doubted.items() if tag in (None, one)}
        for one, why in sorted(told.items()):
            screen.line(f"{one}: its deletion mark is not believed: {why}")
        return len(told)


async def undeleted(opened: OpenedRepository, *, is_locked: bool = False) -> Backups:
    """Every backup without a mark, or with one that can't be read: whoever may write to the store can put that, and
    this may be the last way to the backup. `is_locked`: the repository is encrypted and its key isn't here. Raises a
    StorageError."""
    found = Backups()
    async for entry in opened.storage.list(backups_prefix(opened.cluster_id)):
        name = parse_backup(opened.cluster_id, entry.key)
        if name is not None:
            hosts = found.setdefault(name.tag, [])
            if name.host_id is not None:
                hosts.append(name.host_id)
    marked: dict[str, Entry] = {}
    async for entry in opened.storage.list(catalogue_prefix(opened.cluster_id)):
        record = parse_catalogue(opened.cluster_id, entry.key)
        if record is not None and record.number is None:
            marked[record.tag] = entry
        elif record is not None:
            found.setdefault(record.tag, [])  # also where plan and manifests are gone
    marks = Marks(opened)
    for tag, mark in marked.items():
        try:
            if is_locked:
                await refuse_unsealed(opened, mark)
            else:
                await marks.refuse_unreadable(mark, tag)
        except UNREADABLE as error:
            found.doubted[tag] = error.message
        else:
            found.pop(tag, None)
    return found


async def refuse_unsealed(opened: OpenedRepository, entry: Entry) -> None:
    """Without the key: raise ManifestInvalid for a document that can't be a sealed one. Raises a StorageError."""
    try:
        start = await opened.storage.get(entry.key, 0, min(len(MAGIC), entry.size)) if entry.size else b""
    except NotFound:
        return  # swept since it was listed
    if not claims_seal(start, entry.size):
        raise ManifestInvalid(f"a document of an encrypted repository isn't sealed: {entry.key}", key=entry.key)


async def show_list(opened: OpenedRepository, screen: Screen) -> None:
    """A line for each backup, the oldest first. Raises a StorageError."""
    catalogue = Catalogue(opened, RecordCache())
    rows = []
    backups = await undeleted(opened)
    for tag, hosts in backups.items():
        screen.progress(f"reading {tag}")
        try:
            view = await catalogue.judged(tag)
        except UNREADABLE:
            view = BackupView(tag, False, None, None, sorted(hosts))
        rows.append((_time(view) or 0.0, _row(view)))
    rows.sort(key=lambda row: (row[0], row[1]))
    screen.table(("BACKUP", "TIME", "STATE", "NODES", "COMPLETE", "SIZE", "KEYSPACES"), [row for _, row in rows])
    backups.tell_doubts(screen)


def _row(view: BackupView) -> tuple[str, ...]:
    record, plan = view.record, view.plan
    expected = "?" if plan is None else str(len(plan.nodes))
    size = "?" if record is None else size_of(sum(sum(node.sizes.values()) for node in record.nodes))
    known = record or plan
    keyspaces = [] if known is None else sorted(known.keyspaces)
    lacks = view.whole is not None and set(view.manifests) > set(view.whole)
    complete = {True: "yes", False: "no", None: "?"}[False if lacks else view.complete]
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
