"""The order in which a node's backup becomes one, step by step over a store in memory."""

from collections.abc import Sequence

import msgspec
import pytest
from structlog.testing import capture_logs

from agent.crypto.digest import digest
from agent.model.manifest import TablePart
from agent.plan.objects import ObjectIndex
from agent.repository.errors import BackupDeleted, BackupExists, IntentForeign, ManifestIncomplete, NodeAdopted
from agent.repository.form import PLAIN
from agent.repository.frame import Codec
from agent.repository.intents import Intents, Writer
from agent.repository.keys import data_key, deleted_key, intent_key, manifest_key, sweep_key
from agent.repository.publisher import Publisher
from agent.storage.protocol import OPEN, Buffer, Denied, Gate, Put
from tests.fast.repository.manifests import (
    CLUSTER,
    HOST,
    TAG,
    file,
    frame,
    head,
    manifest,
    opened,
    part,
    reference,
    table_object,
)
from tests.fast.storage.memory import MemoryStorage


def coded(one: TablePart) -> TablePart:
    """The part with its objects stored as zstd makes them."""
    return msgspec.structs.replace(one, codecs=dict.fromkeys(one.objects, int(Codec.ZSTD)))


KEY, INTENT, SWEEP = manifest_key(CLUSTER, TAG, HOST), intent_key(CLUSTER, HOST, TAG), sweep_key(CLUSTER, HOST)
ONE, OWN, LARGE = file(), file("schema.cql", 7), coded(part(file("nb-2-big-Data.db", 9)))
PACKED, ELSEWHERE = frame(part(ONE)), frame(LARGE, table="u")
ELSEWHERE_ID = digest(ELSEWHERE).hex()
OBJECTS = {piece.object: PLAIN.size(piece.length) for one in (ONE, OWN, *LARGE.files) for piece in one.pieces}
"""Of the tables and of the head: id → stored size; the table `u` has its frame in an object of its own."""
CODECS = dict(zip(OBJECTS, (Codec.RAW, Codec.ZSTD, Codec.ZSTD), strict=True))


class Store(MemoryStorage):
    """A store that may tell another size of a put than it has, and refuse deletions."""

    told: int | None = None
    keeps = False

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        put = await super().put(key, body, replace=replace, gate=gate)
        return put if self.told is None or key != KEY else Put(put.created, self.told)

    async def delete(self, keys: Sequence[str]) -> None:
        if self.keeps:
            raise Denied("the store keeps everything")
        await super().delete(keys)


@pytest.fixture
def store() -> Store:
    return Store()


def publisher(store: Store, agent: str = "a1") -> Publisher:
    """The backup of TAG by that agent."""
    return Publisher(opened(store), HOST, TAG, Writer(agent, "i1"))


def others(store: Store) -> Intents:
    """The intents as another agent has them."""
    return Intents(opened(store), HOST, Writer("a2", "i2"))


def content(taken_at: float = 1.0) -> bytes:
    """The manifest."""
    about = reference(PACKED, part(ONE), own=(OWN,), files=2, bytes=12)
    size = PLAIN.size(len(ELSEWHERE))
    other = reference(ELSEWHERE, LARGE, table="u", offset=None, object=ELSEWHERE_ID, length=size)
    own = {piece.object: OBJECTS[piece.object] for piece in OWN.pieces}
    return manifest(PACKED, head(about, other, own_objects=own, own_codecs=dict.fromkeys(own, 1), taken_at=taken_at))


def named(extra: int = 0) -> ObjectIndex:
    """What the manifest names, and some more objects."""
    index = ObjectIndex()
    for object_id, size in OBJECTS.items():
        index.add(bytes.fromhex(object_id), size, CODECS[object_id])
    for number in range(extra):
        index.add(bytes([number]) * 32, 50)
    return index


async def filled(store: Store) -> None:
    """All that the manifest names is there."""
    for number, size in enumerate(OBJECTS.values()):
        await store.put(data(number), [bytes(size)])
    await store.put(data_key(CLUSTER, HOST, bytes.fromhex(ELSEWHERE_ID)), table_object(ELSEWHERE).buffers)


def data(number: int) -> str:
    """The key of one of the objects."""
    object_id, size = list(OBJECTS.items())[number]
    return data_key(CLUSTER, HOST, bytes.fromhex(object_id), CODECS[object_id], size)


def after_the_put(store: Store, *gone: str, sweep: bool = False) -> None:
    """While the manifest is put somebody gives this agent's intent up, a sweep takes some, and may go on."""

    async def hook(verb: str, key: str) -> None:
        if verb == "put" and key == KEY:
            store._hook = nothing
            await MemoryStorage.delete(store, [INTENT, *gone])
            if sweep:
                await others(store).sweep_mark("k9")

    store._hook = hook


async def nothing(verb: str, key: str) -> None:
    return None


async def test_a_backup_becomes_one(store: Store) -> None:
    """Promise: the intent first, then the manifest when all is there, then the intent goes."""
    one = publisher(store)
    await filled(store)
    assert await one.published(1.0) is None
    cut = data_key(CLUSTER, HOST, b"c" * 32, Codec.ZSTD, 60)
    await store.put(cut, [bytes(59)])
    listed = await one.begin("k1")
    assert INTENT in store._objects
    assert listed.total() == (sum(OBJECTS.values()) + PLAIN.size(len(ELSEWHERE)), 4), "what is cut is not there"
    index = named()
    await one.publish([content()[:9], content()[9:]], index, OPEN)
    assert len(index) == 0
    assert store._objects[KEY][0] == content()
    assert INTENT not in store._objects
    found = await one.published(1.0)
    assert found is not None
    assert (found.manifest.head.tag, found.is_whole) == (TAG, True)


@pytest.mark.parametrize("how", ["gone", "other size"])
async def test_nothing_is_published_that_lacks_anything(store: Store, how: str) -> None:
    """Promise (I1): an object that is missing, or there with another size, and the manifest isn't put; how many and
    which, the first ten of them."""
    one = publisher(store)
    await filled(store)
    await one.begin("k1")
    store._objects.pop(data(0))
    if how == "other size":
        await store.put(data(0), [bytes(3)])
    with pytest.raises(ManifestIncomplete, match="1 objects are missing or have another size") as told:
        await one.publish([content()], named(), OPEN)
    assert told.value.fields == {"objects": [next(iter(OBJECTS))[:32]], "count": 1}
    with pytest.raises(ManifestIncomplete, match="13 objects are missing") as told:
        await one.publish([content()], named(12), OPEN)
    shown = told.value.fields["objects"]
    assert isinstance(shown, list)
    assert (len(shown), told.value.fields["count"]) == (10, 13)
    assert KEY not in store._objects
    assert INTENT in store._objects


async def test_a_deleted_backup_is_not_published(store: Store) -> None:
    """Promise: nobody brings back by a late manifest what a person deleted."""
    one = publisher(store)
    await filled(store)
    await one.begin("k1")
    await store.put(deleted_key(CLUSTER, TAG), [b"{}"])
    with pytest.raises(BackupDeleted, match=f"the backup {TAG} was deleted") as told:
        await one.publish([content()], named(), OPEN)
    assert told.value.fields == {"tag": TAG}
    assert KEY not in store._objects
    with pytest.raises(BackupDeleted):
        await one.published(1.0)


async def test_a_manifest_that_is_there_already_is_told_by_its_bytes(store: Store) -> None:
    """Promise: a put whose answer was lost is a success; another manifest of the same or another length is refused and
    left, and the intent stays."""
    one = publisher(store)
    await filled(store)
    await one.begin("k1")
    await store.put(KEY, [content()])
    await one.publish([content()[:9], content()[9:]], named(), OPEN)
    assert INTENT not in store._objects
    await one.begin("k2")
    for other in (content(2.0), content() + b"x"):
        store._objects[KEY] = (other, 0.0)
        with pytest.raises(BackupExists, match="the destination has another manifest") as told:
            await one.publish([content()], named(), OPEN)
        assert told.value.fields == {"tag": TAG, "key": KEY}
        assert store._objects[KEY][0] == other
        assert INTENT in store._objects


async def test_a_manifest_of_another_size_than_was_put_is_no_backup(store: Store) -> None:
    """Promise (I1): a store that says so, and the intent stays for the next run."""
    one = publisher(store)
    await filled(store)
    await one.begin("k1")
    store.told = len(content()) - 1
    with pytest.raises(ManifestIncomplete, match=f"stored with {store.told} bytes instead of {len(content())}") as told:
        await one.publish([content()], named(), OPEN)
    assert told.value.fields == {"key": KEY}
    assert INTENT in store._objects


async def test_without_its_intent_nothing_is_put_beside_a_sweep(store: Store) -> None:
    """Promise: an intent that was given up, and a sweep that may be deleting: no manifest."""
    one = publisher(store)
    await filled(store)
    await one.begin("k1")
    await others(store)._storage.delete([INTENT])
    await others(store).sweep_mark("k9")
    verbs: list[tuple[str, str]] = []

    async def seen(verb: str, key: str) -> None:
        verbs.append((verb, key))

    store._hook = seen
    with pytest.raises(IntentForeign):
        await one.publish([content()], named(), OPEN)
    assert ("head", SWEEP) in verbs
    assert ("put", KEY) not in verbs


async def test_a_sweep_beside_ones_own_intent_is_no_obstacle(store: Store) -> None:
    """Promise: it deletes nothing while the intent stands; the node's own agent alone stops where the prefix was
    adopted, and the manifest goes through the command's own gate."""
    one = publisher(store)
    await filled(store)
    await one.begin("k1")
    await others(store).sweep_mark("k9")
    passed: list[int] = []

    class Counting:
        def pass_bytes(self, count: int) -> None:
            passed.append(count)

    await one.publish([content()], named(), Counting())
    assert sum(passed) == len(content())
    await others(store).sweep_end()
    await others(store).adopt("k9")
    with pytest.raises(NodeAdopted):
        await publisher(store).begin("k2")
    await Publisher(opened(store), HOST, TAG, Writer("a1", "i1"), adopting=True).begin("k2")


async def test_an_intent_given_up_during_the_put_costs_a_whole_backup_nothing(store: Store) -> None:
    """Promise: where all is still there and no sweep goes on, the manifest stays."""
    one = publisher(store)
    await filled(store)
    await one.begin("k1")
    after_the_put(store)
    await one.publish([content()], named(), OPEN)
    assert KEY in store._objects


@pytest.mark.parametrize("lost", [0, 1, 2, "frame", "sweep"])
async def test_an_intent_given_up_during_the_put_takes_back_what_is_not_whole(store: Store, lost: int | str) -> None:
    """Promise: an object of a table, of the head, of a table with its own frame, that frame, or a sweep that goes on:
    the manifest is taken back."""
    one = publisher(store)
    await filled(store)
    await one.begin("k1")
    elsewhere = data_key(CLUSTER, HOST, bytes.fromhex(ELSEWHERE_ID))
    gone = [data(lost)] if isinstance(lost, int) else [elsewhere] if lost == "frame" else []
    after_the_put(store, *gone, sweep=lost == "sweep")
    with pytest.raises(IntentForeign if lost == "sweep" else ManifestIncomplete):
        await one.publish([content()], named(), OPEN)
    assert KEY not in store._objects


async def test_a_manifest_that_cannot_be_taken_back_is_told_by_its_reason(store: Store) -> None:
    """Promise: the error is why it is no backup, not that the store refused to remove it."""
    one = publisher(store)
    await filled(store)
    await one.begin("k1")
    after_the_put(store, data(0))
    store.keeps = True
    with capture_logs() as logged, pytest.raises(ManifestIncomplete):
        await one.publish([content()], named(), OPEN)
    assert KEY in store._objects
    assert logged == [
        {
            "event": "manifest_not_taken_back",
            "log_level": "warning",
            "key": KEY,
            "code": Denied.code,
            "reason": "the store keeps everything",
        }
    ]


async def test_a_manifest_that_is_found_stays_whole_or_not(store: Store) -> None:
    """Promise: what it names and is there can be restored: it stays, and whether all is there is told, with this
    agent's own intent or without; beside a sweep nothing is said of it."""
    await publisher(store).begin("k1")
    await store.put(KEY, [content()])

    async def is_whole() -> bool:
        present = await publisher(store).published(1.0)
        assert present is not None
        return present.is_whole

    assert not await is_whole()
    await store.delete([INTENT])
    await filled(store)
    assert await is_whole()
    await others(store).sweep_mark("k9")
    store._objects.pop(data(2))
    with pytest.raises(IntentForeign):
        await publisher(store).published(1.0)
    await others(store).sweep_end()
    assert not await is_whole()
    assert KEY in store._objects


async def test_a_manifest_goes_only_for_one_of_which_all_is_there(store: Store) -> None:
    """Promise: one that lacks something stays until all that the next one names is there; then that takes its place,
    and the log says what was wrong."""
    one = publisher(store)
    await filled(store)
    await one.begin("k1")
    await one.publish([content()], named(), OPEN)
    present = await one.published(1.0)
    assert present is not None
    assert await one.lacks(present.manifest) is None
    lost = store._objects.pop(data(2))
    why = await one.lacks(present.manifest)
    assert why is not None
    await one.begin("k2")
    with pytest.raises(ManifestIncomplete):
        await one.publish([content()], named(), OPEN, instead_of=why)
    assert KEY in store._objects
    store._objects[data(2)] = lost
    del store._objects[KEY]
    await store.put(KEY, [b"of before"])
    with capture_logs() as logged:
        await one.publish([content()], named(), OPEN, instead_of=why)
    assert store._objects[KEY][0] == content()
    reason = "1 objects are missing or have another size although they were put"
    assert logged == [{"event": "broken_manifest_replaced", "log_level": "warning", "key": KEY, "reason": reason}]


async def test_anothers_snapshot_of_that_tag_is_refused(store: Store) -> None:
    """Promise: a manifest of another moment is another backup: it is left, and told."""
    await publisher(store).begin("k1")
    await store.put(KEY, [content(2.0)])
    with pytest.raises(BackupExists, match=f"the destination has another backup {TAG} of the node {HOST}") as told:
        await publisher(store).published(1.0)
    assert told.value.fields == {"tag": TAG}
    assert KEY in store._objects


async def test_only_ones_own_intent_is_withdrawn(store: Store) -> None:
    """Promise: another agent's stands for what that one is writing."""
    await publisher(store).begin("k1")
    await publisher(store, "a2").withdraw()
    assert INTENT in store._objects
    await publisher(store).withdraw()
    assert INTENT not in store._objects
    assert SWEEP not in store._objects
