"""Damage in a repository that the product's own jobs made: each kind of object is found, named and refused, and nothing
is written outside the directory that a restore stages in."""

import msgspec
import pytest

from agent.crypto.errors import SealingKeyUnknown
from agent.repository.errors import (
    BackupDeleted,
    BackupNotFound,
    ClusterFileDamaged,
    IntentForeign,
    ManifestInvalid,
    NotARepository,
    ObjectDamaged,
    RepositoryFormatNewer,
    RepositoryMismatch,
)
from agent.repository.keys import (
    REPOSITORY,
    cluster_key,
    intent_key,
    intents_prefix,
    manifest_key,
    plan_key,
    record_key,
)
from agent.storage.protocol import NotFound
from kit.errors import HelenusError
from tests.fast.jobs.node import HOST
from tests.fast.jobs.test_backup import backup
from tests.fast.jobs.test_sweep import FOREIGN
from tests.fast.tampering.site import CLUSTER, OTHER_CLUSTER, OTHER_HOST, TARGET, Site

OBJECTS = ("data object", "pack", "data object's header", "data object's footer", "table frame")
MANIFEST = tuple(f"manifest's {part}" for part in ("beginning", "inline frame", "tail", "trailer", "end"))
DAMAGED = (ManifestInvalid, ObjectDamaged, RepositoryFormatNewer)


async def refused(site: Site, tag: str = "t1", **more: str) -> HelenusError:
    """The error of a restore, which wrote nothing outside its directory."""
    before = site.outside()
    with pytest.raises(HelenusError) as caught:
        await site.restore(tag, **more)  # type: ignore[arg-type]
    assert site.outside() == before
    return caught.value


async def test_what_nobody_touched_is_restored(site: Site) -> None:
    """Promise: the repository that the other tests tamper with is whole: its bytes are the node's."""
    found = await site.restore("t2")
    kept = {name: body for name, body in site.made.files.items() if name[1] != "items"}
    assert {
        f"{keyspace}/{table}/{name}": body for (keyspace, table, name), body in kept.items()
    }.items() <= found.items()


@pytest.mark.parametrize("kind", [*OBJECTS, *MANIFEST])
@pytest.mark.parametrize("bit", [0x01, 0x80])
async def test_a_flipped_byte_is_found_named_and_refused(site: Site, kind: str, bit: int) -> None:
    """Promise: of an object the error names backup, node, table and key; of a manifest backup, node and key."""
    place = site.made.places[kind]
    site.flip(place.key, place.at, bit)
    error = await refused(site)
    assert isinstance(error, DAMAGED)
    assert place.key in error.message
    assert (error.fields["tag"], error.fields["host_id"]) == ("t1", HOST)
    if place.table is not None:
        assert (error.fields["keyspace"], error.fields["table"]) == place.table
        assert ".".join(place.table) in error.message


@pytest.mark.parametrize("kind", ["repository.json", "cluster.json", "plan", "record"])
@pytest.mark.parametrize("bit", [0x01, 0x20])
async def test_no_flipped_byte_of_a_small_file_is_another_meaning(site: Site, kind: str, bit: int) -> None:
    """Promise: wherever it is, it is an error that names the file, or what is read is what was written."""
    key = site.made.places[kind].key
    whole = site.body(key)
    told: list[str] = []
    async with site.catalogue() as catalogue:
        honest = await catalogue.view("t1")
    for at in range(len(whole)):
        site.put(key, whole)
        site.flip(key, at, bit)
        try:
            async with site.catalogue() as catalogue:
                view = await catalogue.view("t1")
                listed = {one.tag: one.record for one in await catalogue.listing()}
        except (NotARepository, RepositoryMismatch, ManifestInvalid, RepositoryFormatNewer, SealingKeyUnknown) as error:
            told.append(error.message)
            continue
        if view.record is None:
            assert kind == "record"
            assert listed["t1"] is None
            told.append(key)
        else:
            assert msgspec.structs.replace(view, stored=honest.stored) == honest
            assert listed["t1"] == honest.record
    assert len(told) >= len(whole) - len('"blake3"')
    assert all(key in message for message in told)


@pytest.mark.parametrize("at", range(0, 60, 7))
async def test_a_flipped_intent_still_stands(site: Site, at: int) -> None:
    """Promise: an intent that can't be read is taken for another agent's: named, and nothing is put beside it."""
    key = intent_key(CLUSTER, HOST, "t9")
    site.put(key, FOREIGN)
    site.flip(key, at)
    before = dict(site.store._objects)
    agent = site.backup_agent()
    with pytest.raises(HelenusError, match="t9") as caught:
        await agent.backup.run(backup("t3"))
    agent.close()
    assert "intent_foreign" in str(caught.value.as_dict()) or isinstance(caught.value, IntentForeign)
    assert site.store._objects == before


@pytest.mark.parametrize("at", [0, 4, -1])
async def test_a_flipped_mark_still_hides(site: Site, at: int) -> None:
    """Promise: that the mark is there counts, whatever its bytes: what was deleted is not restored."""
    site.flip(site.made.places["mark"].key, at)
    assert isinstance(await refused(site, "t0"), BackupDeleted)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("data object", NotFound),
        ("pack", NotFound),
        ("table frame", ManifestInvalid),
        ("manifest's end", BackupNotFound),
        ("repository.json", NotARepository),
        ("cluster.json", ClusterFileDamaged),
    ],
)
async def test_an_object_that_is_gone_is_named(site: Site, kind: str, expected: type[HelenusError]) -> None:
    """Promise: what is missing is told by its key, of data with the backup, the node and the table."""
    place = site.made.places[kind]
    del site.store._objects[place.key]
    error = await refused(site)
    assert isinstance(error, expected)
    if place.table is not None:
        assert place.key in error.message
        assert (error.fields["keyspace"], error.fields["table"]) == place.table
        assert (error.fields["tag"], error.fields["host_id"]) == ("t1", HOST)


async def test_without_plan_and_record_a_backup_is_still_whole(site: Site) -> None:
    """Promise: a listing tells what is left, and never that a backup without its plan is complete."""
    for kind in ("plan", "record"):
        del site.store._objects[site.made.places[kind].key]
    async with site.catalogue() as catalogue:
        view = await catalogue.view("t1")
    assert (view.record, view.plan, view.complete, view.manifests) == (None, None, None, [HOST])
    await site.restore()


SWAPS = {
    "two data objects": ("data object", "pack"),
    "two of one size": ("one of two alike", "the other of two alike"),
    "data and a table's frame": ("pack", "table frame"),
    "manifest and data": ("manifest's end", "data object"),
}


@pytest.mark.parametrize("swap", SWAPS)
async def test_a_swap_is_found_named_and_refused(site: Site, swap: str) -> None:
    """Promise: an object under another's name is damage, though each is whole."""
    one, other = (site.made.places[kind].key for kind in SWAPS[swap])
    site.swap(one, other)
    error = await refused(site)
    assert isinstance(error, DAMAGED)
    assert one in error.message or other in error.message
    assert (error.fields["tag"], error.fields["host_id"]) == ("t1", HOST)


@pytest.mark.parametrize(
    ("key", "host_id"),
    [
        (manifest_key(CLUSTER, "t2", HOST), HOST),
        (manifest_key(CLUSTER, "t1", OTHER_HOST), OTHER_HOST),
        (manifest_key(OTHER_CLUSTER, "t1", HOST), HOST),
    ],
    ids=["tag", "node", "cluster"],
)
async def test_a_manifest_of_another_backup_node_or_cluster_is_refused(site: Site, key: str, host_id: str) -> None:
    """Promise: a manifest says whose it is, and is believed under no other key."""
    site.put(key, site.body(manifest_key(CLUSTER, "t1", HOST)))
    tag = key.split("/backups/")[1].partition("/")[0]
    target = TARGET.__class__(TARGET.destination, TARGET.repository_id, key.split("/")[3])
    error = await refused(site, tag, host_id=host_id, target=target)  # type: ignore[arg-type]
    assert isinstance(error, ManifestInvalid)
    plain = site.made.keyring is None
    assert ("another cluster, backup or node" if plain else "can't be trusted") in error.message
    assert (error.fields["tag"], error.fields["host_id"], error.fields["key"]) == (tag, host_id, key)


async def test_plans_and_records_of_another_backup_are_refused(site: Site) -> None:
    """Promise: swapped between two backups, or from another cluster, neither plan nor record tells of the wrong one."""
    site.swap(plan_key(CLUSTER, "t1"), plan_key(CLUSTER, "t2"))
    site.swap(record_key(CLUSTER, "t1", 0), record_key(CLUSTER, "t2", 0))
    async with site.catalogue() as catalogue:
        for tag in ("t1", "t2"):
            with pytest.raises(ManifestInvalid, match=plan_key(CLUSTER, tag)):
                await catalogue.view(tag)
        assert {one.tag: one.record for one in await catalogue.listing()} == {"t1": None, "t2": None}
    site.put(plan_key(CLUSTER, "t1"), site.body(plan_key(OTHER_CLUSTER, "t1")))
    async with site.catalogue() as catalogue:
        where = OTHER_CLUSTER if site.made.keyring is None else plan_key(CLUSTER, "t1")
        with pytest.raises(ManifestInvalid, match=where):
            await catalogue.view("t1")


@pytest.mark.parametrize("left", [0, 1, 100, 0.3, 0.9, -1])
async def test_a_manifest_that_was_cut_is_refused(site: Site, left: float) -> None:
    """Promise: wherever a manifest ends too early it is told as cut or damaged, by backup, node and key."""
    key = manifest_key(CLUSTER, "t1", HOST)
    whole = site.body(key)
    site.put(key, whole[: int(left * len(whole)) if 0 < left < 1 else int(left)])
    error = await refused(site)
    assert isinstance(error, ManifestInvalid)
    assert (error.fields["tag"], error.fields["host_id"], error.fields["key"]) == ("t1", HOST, key)
    assert key in error.message


@pytest.mark.parametrize("stale", [b'{"repository_id":"r0","format":1}', b'{"repository_id":"r2","format":1}'])
async def test_a_stale_repository_file_is_refused(site: Site, stale: bytes) -> None:
    """Promise: a store in which another repository's file stands, or an older one that was put back, takes and gives
    nothing; both ids are told."""
    site.put(REPOSITORY, stale)
    error = await refused(site)
    assert isinstance(error, RepositoryMismatch)
    assert error.fields["wanted"] == TARGET.repository_id
    assert str(error.fields["found"]) in stale.decode()


async def test_a_cluster_file_of_another_cluster_is_refused(site: Site) -> None:
    """Promise: neither is another cluster's file taken for this one's."""
    site.put(cluster_key(CLUSTER), site.body(cluster_key(OTHER_CLUSTER)))
    error = await refused(site)
    assert isinstance(error, NotARepository)
    assert cluster_key(CLUSTER) in error.message


async def test_intents_of_a_finished_backup_are_gone(site: Site) -> None:
    """Promise: the repository is at rest, so that every intent that a test puts is the only one."""
    assert [entry async for entry in site.store.list(intents_prefix(CLUSTER, HOST))] == []
