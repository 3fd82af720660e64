"""Plans, records, marks and intents: readable in a plain repository, sealed to their place in an encrypted one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from agent.crypto.errors import SealingKeyUnknown
from agent.crypto.keyring import Keyring
from agent.jobs.sweep import SweepJob
from agent.repository import checked_text, marks
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.documents import OVERHEAD
from agent.repository.errors import IntentForeign, ManifestInvalid, RepositoryFormatNewer
from agent.repository.intents import Intents, Writer
from agent.repository.keys import deleted_key, intent_key, plan_key, record_key
from agent.repository.marks import Marks
from agent.repository.opened import OpenedRepository, Waiting, silent
from agent.storage.protocol import OPEN, Entry
from agent.wire.backups import Plan, Record
from agent.wire.commands import SweepArguments, Target
from tests.fast.jobs.agent_in_memory import Command
from tests.fast.storage.memory import MemoryStorage

RING = Keyring(bytes(32), {1: bytes(range(32))})
ROTATED = Keyring(bytes(32), {1: bytes(range(32)), 2: bytes(range(1, 33))})
PLAN = Plan("t1", "adhoc", 1.0, "test", "c1", [], {"shop_of_secrets": ["orders"]}, {}, "v")
RECORD = Record("t1", "adhoc", 1.0, "success", {"shop_of_secrets": ["orders"]}, [])


def _opened(store: MemoryStorage, keyring: Keyring | None = RING, cluster: str = "c1") -> OpenedRepository:
    return OpenedRepository("d1", store, "r1", cluster, OPEN, 4, keyring)


def _catalogue(store: MemoryStorage, keyring: Keyring | None = RING, cluster: str = "c1") -> Catalogue:
    return Catalogue(_opened(store, keyring, cluster), RecordCache())


async def _filled(keyring: Keyring | None) -> MemoryStorage:
    store = MemoryStorage()
    catalogue = _catalogue(store, keyring)
    await catalogue.put_plan(PLAN)
    await catalogue.put_record(RECORD)
    await Intents(_opened(store, keyring), "h1", Writer("a1", "i1", "0.1")).begin("t1", "command")
    return store


async def test_an_onlooker_reads_no_document_of_an_encrypted_repository() -> None:
    """Promise: plan, record, mark and intent are sealed: no keyspace, table or agent stands in them; and they are read
    back as they were. Put again they are the same bytes, so that nothing is refused as another backup's."""
    store = await _filled(RING)
    catalogue = _catalogue(store)
    before = dict(store._objects)
    await catalogue.put_plan(PLAN)
    assert await catalogue.put_record(RECORD) == 0
    await Intents(_opened(store), "h1", Writer("a1", "i1", "0.1")).begin("t1", "command")
    assert store._objects == before
    view = await catalogue.view("t1")
    assert (view.plan, view.record) == (PLAN, RECORD)
    await catalogue.mark_deleted("t1")
    assert len(store._objects) == 4
    for key, (body, _) in store._objects.items():
        assert body.startswith(b"HLND"), key
        for word in (b"shop_of_secrets", b"command", b'"tag"'):
            assert word not in body


async def test_a_plain_repository_keeps_plain_documents() -> None:
    """Promise: without encryption every document is JSON that a person reads."""
    store = await _filled(None)
    assert store._objects[plan_key("c1", "t1")][0] == checked_text.encode(PLAN)
    assert store._objects[record_key("c1", "t1", 0)][0] == checked_text.encode(RECORD)
    assert (await _catalogue(store, None).view("t1")).plan == PLAN


async def test_documents_are_read_after_a_rotation_and_never_with_older_keys() -> None:
    """Promise: what older epochs sealed stays readable; what a newer one sealed is named as that, not as damage, and
    hides nothing from a listing."""
    store = await _filled(RING)
    catalogue = _catalogue(store, ROTATED)
    assert (await catalogue.view("t1")).record == RECORD
    failed = msgspec.structs.replace(RECORD, state="failed")
    assert await catalogue.put_record(failed) == 1
    assert (await catalogue.view("t1")).record == failed
    with pytest.raises(SealingKeyUnknown):
        await _catalogue(store).newest("t1")
    assert [view.record for view in await _catalogue(store).listing()] == [None]


async def test_no_document_is_taken_in_anothers_place() -> None:
    """Promise: documents that were swapped, carried into another cluster, flipped, cut or replaced by plain ones are
    refused by their key."""
    store = await _filled(RING)
    await _catalogue(store).put_plan(msgspec.structs.replace(PLAN, tag="t2"))
    key, body = plan_key("c1", "t1"), store._objects[plan_key("c1", "t1")][0]
    swapped = store._objects[plan_key("c1", "t2")][0]
    flipped = body[:-20] + bytes([body[-20] ^ 1]) + body[-19:]
    for bad in (swapped, flipped, body[:-1], body[: OVERHEAD - 1], b"", msgspec.json.encode(PLAN)):
        await store.put(key, [bad], replace=True)
        with pytest.raises(ManifestInvalid) as caught:
            await _catalogue(store).view("t1")
        assert caught.value.fields["key"] == key
    newer = body[:4] + b"\2" + body[5:]
    await store.put(key, [newer], replace=True)
    with pytest.raises(RepositoryFormatNewer):
        await _catalogue(store).view("t1")
    elsewhere = MemoryStorage()
    await elsewhere.put(plan_key("c2", "t1"), [body])
    with pytest.raises(ManifestInvalid):
        await _catalogue(elsewhere, cluster="c2").view("t1")


async def test_a_record_that_is_forged_hides_no_other_backup() -> None:
    """Promise: a listing shows a backup whose record isn't sealed without it, and the others as they are."""
    store = await _filled(RING)
    await store.put(record_key("c1", "t1", 1), [msgspec.json.encode(RECORD)])
    await _catalogue(store).put_record(msgspec.structs.replace(RECORD, tag="t2"))
    listing = await _catalogue(store).listing()
    assert [(view.tag, view.record is None) for view in listing] == [("t1", True), ("t2", False)]


async def test_an_intent_that_is_forged_counts_as_another_agents() -> None:
    """Promise: nothing is deleted while an intent stands that this agent can't have put, whatever it says."""
    store = await _filled(None)
    with pytest.raises(IntentForeign):
        await Intents(_opened(store), "h1", Writer("a1", "i1", "0.1")).begin("t1", "command")
    assert intent_key("c1", "h1", "t1") in store._objects


async def test_a_sweep_deletes_nothing_for_a_mark_that_no_agent_put() -> None:
    """Promise: whoever can write to the store, and has no key, can't have a backup's data deleted by the agents."""
    store = await _filled(RING)
    await store.delete([intent_key("c1", "h1", "t1")])
    forged = deleted_key("c1", "t1")
    await store.put(forged, [msgspec.json.encode({"tag": "t1"})])
    before = dict(store._objects)

    class Encrypted:
        """The one destination, whose repository is encrypted."""

        @asynccontextmanager
        async def opened(self, target: Target, waiting: Waiting = silent) -> AsyncIterator[OpenedRepository]:
            yield _opened(store)

    async def host_id() -> str:
        return "h1"

    async def ring() -> dict[str, str]:
        return {}

    job = SweepJob(Encrypted(), host_id, ring, Writer("a1", "i1", "0.1"), margin=0.0)
    with pytest.raises(ManifestInvalid) as caught:
        await job.run(Command("s1", SweepArguments(Target("d1", "r1", "c1"))))
    assert caught.value.fields["key"] == forged
    assert store._objects == before


async def test_marks_are_read_once() -> None:
    """Promise: a genuine mark is taken, and costs one request for as long as it stands as it is."""
    reads: list[str] = []

    async def note(verb: str, key: str) -> None:
        reads.append(key)

    store = await _filled(RING)
    await _catalogue(store).mark_deleted("t1")
    entry = await store.head(deleted_key("c1", "t1"))
    assert entry is not None
    store._hook = note
    marks = Marks(_opened(store))
    for _ in range(2):
        await marks.refuse_unreadable(entry, "t1")
    assert reads == [entry.key]
    with pytest.raises(ManifestInvalid):
        await Marks(_opened(store)).refuse_unreadable(entry, "t2")
    await Marks(_opened(store)).refuse_unreadable(Entry(deleted_key("c1", "gone"), 90, 0.0), "gone")


async def test_a_mark_has_the_check_that_every_small_file_has() -> None:
    """Promise: a flipped byte in one is an error, and one that was written before marks had a check still counts."""
    store = MemoryStorage()
    opened = _opened(store)
    key = deleted_key("c1", "t1")

    async def refuse(body: bytes) -> None:
        await opened.documents.put(key, body, replace=True)
        entry = await store.head(key)
        assert entry is not None
        await Marks(opened).refuse_unreadable(entry, "t1")

    body = marks.encoded("t1")
    await refuse(body)
    await refuse(b'{"tag":"t1"}')
    with pytest.raises(ManifestInvalid, match="can't be read"):
        await refuse(body.replace(b'"tag":', b'"t4g":"t2","tag":'))
    plain = await _filled(None)
    await _catalogue(plain, None).mark_deleted("t1")
    assert plain._objects[key][0] == body
