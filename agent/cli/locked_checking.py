"""`check` of an encrypted repository without its key. In: the repository as an onlooker sees it. Out: what is wrong
with the stored bytes, and what nobody can tell without the key, on the screen.

Objects have a footer and manifests a digest, over what is stored: both show bytes that changed by accident.
"""

from agent.cli.checking import at_once
from agent.cli.cluster_files import check_cluster_files
from agent.cli.listing import refuse_unsealed, undeleted
from agent.cli.screen import Screen, size_of
from agent.jobs.scrub.reading import ObjectReader, Verdict
from agent.repository.damage_notes import DamageNotes
from agent.repository.data_objects import data_objects
from agent.repository.errors import ManifestInvalid
from agent.repository.key_slots import listed, read_slots
from agent.repository.keys import backups_prefix, catalogue_prefix, manifest_key, parse_backup, parse_catalogue
from agent.repository.opened import OpenedRepository
from agent.repository.stored_manifest import is_whole

UNTOLD = (
    "whether all that the backups name is there",
    "whether each object is the one that its name stands for, and was sealed by an agent",
    "whether plans, listing records and marks that seem sealed are whole, and whether backups are complete",
    "which backup, table and file a damaged object belongs to",
)


async def check_locked(opened: OpenedRepository, tag: str | None, screen: Screen, *, read: bool) -> int:
    """Verify manifests by their digests, sizes where keys promise them, and with `read` every object by its footer; how
    many things are wrong. `tag`: only that backup's manifests; all objects, for nobody can tell which are its. Raises
    KeySlotInvalid, RepositoryFormatNewer, a StorageError."""
    backups = await undeleted(opened, is_locked=True)
    if tag is not None and tag not in backups:
        screen.line(f"there is no backup {tag}")
        return 1
    screen.line("the repository is encrypted and the settings hold no key: only stored bytes are verified")
    entries = await listed(opened.storage)
    slots = await read_slots(opened.storage, entries)
    readable = len(slots.current) + len(slots.older)
    screen.line(f"{len(entries)} key slots, {readable} of them can be read")
    wrong = 0 if slots.current else 1
    wrong += len(entries) - readable
    wrong += await check_cluster_files(opened, screen) + backups.tell_doubts(screen, tag)
    chosen = {one: hosts for one, hosts in backups.items() if tag in (None, one)}
    wrong += await _unsealed(opened, tag, screen)
    for one, hosts in sorted(chosen.items()):
        for host in sorted(hosts):
            wrong += not await _manifest_is_whole(opened, one, host, screen)
    for host in sorted({host for hosts in chosen.values() for host in hosts}):
        wrong += await _objects(opened, host, screen, read=read)
    screen.line("not told without a key: " + "; ".join(UNTOLD))
    if not read:
        screen.line("no object was read: --read verifies each by its footer")
    screen.line(f"{len(chosen)} backups: " + (f"{wrong} things are wrong" if wrong else "nothing wrong was seen"))
    return wrong


async def _unsealed(opened: OpenedRepository, tag: str | None, screen: Screen) -> int:
    """How many plans and listing records (of that backup) can't be sealed ones."""
    wrong = 0
    for prefix in (backups_prefix(opened.cluster_id, tag), catalogue_prefix(opened.cluster_id, tag)):
        async for entry in opened.storage.list(prefix):
            plan, record = parse_backup(opened.cluster_id, entry.key), parse_catalogue(opened.cluster_id, entry.key)
            if (plan is None or plan.host_id is not None) and (record is None or record.number is None):
                continue
            try:
                await refuse_unsealed(opened, entry)
            except ManifestInvalid as error:
                screen.line(error.message)
                wrong += 1
    return wrong


async def _manifest_is_whole(opened: OpenedRepository, tag: str, host: str, screen: Screen) -> bool:
    key = manifest_key(opened.cluster_id, tag, host)
    entry = await opened.storage.head(key)
    if entry is not None and await is_whole(opened.storage, entry):
        return True
    screen.line(f"{tag}: {host}: as a whole: {'missing' if entry is None else 'damaged'}: {key}")
    return False


async def _objects(opened: OpenedRepository, host: str, screen: Screen, *, read: bool) -> int:
    """How many objects of a node are wrong."""
    reader = ObjectReader(opened, at_once, footers_only=True)
    notes = DamageNotes(opened, host)
    seen = wrong = 0
    async for one in data_objects(opened.storage, opened.cluster_id, host):
        seen += 1
        reason = "" if one.promised in (None, one.size) else f"{one.size} bytes instead of {one.promised}"
        of_key = notes.object_of(one.key) if read and not reason else None
        if of_key is not None:
            verdict = await reader.read(of_key)
            reason = "" if verdict is Verdict.RIGHT else verdict.value
            screen.progress(f"{host}: {reader.objects} objects, {size_of(reader.bytes)} verified")
        if reason:
            wrong += 1
            screen.line(f"{host}: {reason}: {one.key}")
    verified = f", {reader.objects} read ({size_of(reader.bytes)})" if read else ""
    screen.line(f"node {host}: {seen} objects{verified}")
    return wrong
