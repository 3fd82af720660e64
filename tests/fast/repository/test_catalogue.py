"""Plans, records, marks and listings."""

import tracemalloc
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from agent.crypto.keyring import Keyring
from agent.repository.bounded import MOST_INTENT, MOST_RECORD
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.errors import BackupDeleted, BackupExists, BackupNotFound, IntentForeign, ManifestInvalid
from agent.repository.intents import Intents, Writer
from agent.repository.keys import intent_key, manifest_key, plan_key, record_key
from agent.repository.on_server import OnServer
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN, Entry, Gate
from agent.wire.backups import NodeRecord, Plan, PlannedNode, Record
from tests.fast.repository.manifests import head, manifest
from tests.fast.storage.memory import MemoryStorage

NODES = ["h1", "h2"]
MIB = 1024 * 1024


def plan(tag: str = "t1", time: float = 1.0) -> Plan:
    nodes = [PlannedNode(host, "127.0.40.1", "dc1", "r1", ["1"]) for host in NODES]
    return Plan(tag, "adhoc", time, "test", "c1", nodes, {"ks": ["t"]}, {}, "v1")


def record(tag: str = "t1", state: str = "success") -> Record:
    return Record(tag, "adhoc", 1.0, state, {"ks": ["t"]}, [])


class Counted:
    """A catalogue over a store that counts its requests."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.store = MemoryStorage(hook=self._count)
        self.cache = RecordCache()

    async def _count(self, verb: str, key: str) -> None:
        self.requests[verb] += 1

    def open(self) -> Catalogue:
        return Catalogue(OpenedRepository("d1", self.store, "r1", "c1", OPEN, 4), self.cache)


async def test_the_highest_record_counts() -> None:
    """Promise: records are new objects; the same one again costs nothing."""
    counted = Counted()
    catalogue = counted.open()
    assert await catalogue.put_record(record(state="running")) == 0
    assert await catalogue.put_record(record()) == 1
    assert await catalogue.put_record(record()) == 1
    assert [view.record for view in await catalogue.listing()] == [record()]


async def test_a_backup_tells_when_its_newest_record_was_put_by_the_stores_clock() -> None:
    """Promise: retention can reckon by another clock than that of whoever wrote the record; without a record there is
    no such time."""
    times = iter([1_000.0, 2_000.0, 3_000.0])
    store = MemoryStorage(clock=lambda: next(times))
    catalogue = Catalogue(OpenedRepository("d1", store, "r1", "c1", OPEN, 4), RecordCache())
    await catalogue.put_plan(plan())
    assert (await catalogue.view("t1")).stored is None
    await catalogue.put_record(record(state="running"))
    await catalogue.put_record(record())
    assert [view.stored for view in await catalogue.listing()] == [3_000.0]
    assert (await catalogue.view("t1")).stored == 3_000.0


async def test_a_running_record_never_hides_how_a_backup_ended() -> None:
    """Promise: it is put where there is no record; over one it is taken for done, in a destination and on the node."""
    catalogue = Counted().open()
    assert await catalogue.put_record(record()) == 0
    assert await catalogue.put_record(record(state="running")) == 0
    assert [view.record for view in await catalogue.listing()] == [record()]


async def test_a_running_record_on_the_node_never_hides_how_a_backup_ended(tmp_path: Path) -> None:
    """Promise: as in a destination."""
    on_server = OnServer(tmp_path)
    await on_server.put_plan(plan("t1"))
    for put in (record(state="running"), record(), record(state="running")):
        await on_server.put_record(put)
    assert (await on_server.view("t1", "h1")).record == record()


async def test_a_record_that_cant_be_read_hides_no_other_backup() -> None:
    """Promise: one damaged record costs its own words only; plan and manifests of that backup still tell."""
    counted = Counted()
    catalogue = counted.open()
    await catalogue.put_record(record("good"))
    await catalogue.put_plan(plan("t1"))
    await counted.store.put(record_key("c1", "t1", 0), [b"{not json"])
    listed = {view.tag: view.record for view in await catalogue.listing()}
    assert listed == {"good": record("good"), "t1": None}
    view = await catalogue.view("t1")
    assert (view.record, view.plan) == (None, plan("t1"))


async def test_what_is_impossibly_large_is_never_read() -> None:
    """Promise: who may write to a destination can't fill an agent's memory: a huge record costs its own words only, a
    huge plan is an error, a huge intent is somebody's whom nobody knows."""
    counted = Counted()
    catalogue = counted.open()
    huge = [b"{" + bytes(MOST_RECORD)]
    await counted.store.put(record_key("c1", "t1", 0), huge)
    await counted.store.put(plan_key("c1", "t2"), huge)
    await counted.store.put(intent_key("c1", "h1", "t3"), [b"{" + bytes(MOST_INTENT)])
    assert [(view.tag, view.record) for view in await catalogue.listing()] == [("t1", None)]
    assert (await catalogue.view("t1")).record is None
    assert await catalogue.put_record(record("t1")) == 1
    for reads in (catalogue.view("t2"), catalogue.put_plan(plan("t2"))):
        with pytest.raises(ManifestInvalid, match="at most"):
            await reads
    opened = OpenedRepository("d1", counted.store, "r1", "c1", OPEN, 4)
    with pytest.raises(IntentForeign, match="t3"):
        await Intents(opened, "h1", Writer("agent", "instance")).begin("t4", "command")
    assert counted.requests["get"] == 0


async def test_a_record_of_an_older_release_is_the_same_record() -> None:
    """Promise: what is compared is what a record says, not its bytes, which another release may have written."""
    counted = Counted()
    older = msgspec.json.encode(record()).replace(b"{", b'{ "of an older release": 1, ', 1)
    await counted.store.put(record_key("c1", "t1", 0), [older])
    assert await counted.open().put_record(record()) == 0


async def test_a_year_of_backups_is_listed_in_few_requests() -> None:
    """Promise: one GET for each record not read before, and a flat listing; nothing else."""
    counted = Counted()
    catalogue = counted.open()
    for day in range(365):
        await catalogue.put_record(record(f"day{day}"))
    cold = Counted()
    cold.store = counted.store
    counted.requests.clear()
    assert len(await cold.open().listing()) == 365
    assert sum(counted.requests.values()) <= 366
    counted.requests.clear()
    assert len(await cold.open().listing()) == 365
    assert sum(counted.requests.values()) <= 2


class Year(MemoryStorage):
    """A record of 1,000 nodes for each day, made when it is asked for: the store itself takes no memory."""

    def __init__(self) -> None:
        super().__init__()
        keyspaces = [f"keyspace{number}" for number in range(5)]
        nodes = [
            NodeRecord(
                str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128)),
                f"10.0.{number // 250}.{number % 250}",
                "success",
                dict.fromkeys(keyspaces, number * 7919 * 1000003),
            )
            for number in range(1_000)
        ]
        self._body = msgspec.json.encode(Record("day000", "adhoc", 1.0, "success", {}, nodes))

    async def list(self, prefix: str) -> AsyncIterator[Entry]:
        for day in range(365):
            yield Entry(record_key("c1", f"day{day:03}", 0), len(self._body), 1.0)

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        (name,) = [part for part in key.split("/") if part.startswith("day")]
        return self._body.replace(b"day000", name.encode())


async def test_a_year_of_a_thousand_nodes_is_listed_in_little_memory() -> None:
    """Promise: an agent with a bar of 200 MiB lists 365 backups of 1,000 nodes, which decoded would be more."""
    catalogue = Catalogue(OpenedRepository("d1", Year(), "r1", "c1", OPEN, 4), RecordCache())
    tracemalloc.start()
    try:
        tags, told = [], 0
        for view in await catalogue.listing():
            assert view.record is not None
            assert len(view.record.nodes) == 1_000
            tags.append(view.record.tag)
            told += len(msgspec.json.encode(view))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert tags == [f"day{day:03}" for day in range(365)]
    assert told > 60 * MIB
    assert peak < 48 * MIB


async def test_a_view_tells_what_is_there() -> None:
    """Promise: complete means a manifest of every expected node; without a record the plan and the manifests tell."""
    counted = Counted()
    catalogue = counted.open()
    with pytest.raises(BackupNotFound):
        await catalogue.view("t1")
    await catalogue.put_plan(plan())
    for number, host in enumerate(NODES):
        view = await catalogue.view("t1")
        assert (view.plan, view.record, view.complete) == (plan(), None, False)
        assert len(view.manifests) == number
        await counted.store.put(manifest_key("c1", "t1", host), [b"x"])
    assert (await catalogue.view("t1")).complete


async def test_without_a_final_record_the_manifests_heads_tell_what_is_whole() -> None:
    """Promise: one that lacks tables or can't be read is not whole; heads that could be read are read once, and none
    where a record says how the backup ended."""
    counted = Counted()
    catalogue = counted.open()
    await catalogue.put_plan(plan())
    await catalogue.put_record(record(state="running"))
    for host, left_out in (("h1", {}), ("h2", {"ks.t": "sstable_corrupt"}), ("h3", {})):
        honest = head(left_out=left_out or msgspec.UNSET)
        about = msgspec.structs.replace(honest, node=msgspec.structs.replace(honest.node, host_id=host))
        await counted.store.put(manifest_key("c1", "t1", host), [manifest(b"", about)])
    await counted.store.put(manifest_key("c1", "t1", "h4"), [manifest(b"", about)])  # another node's
    await counted.store.put(manifest_key("c1", "t1", "h5"), [b"junk"])
    view = await catalogue.judged("t1")
    assert (view.manifests, view.whole) == (["h1", "h2", "h3", "h4", "h5"], ["h1", "h3"])
    await counted.store.delete([manifest_key("c1", "t1", host) for host in ("h4", "h5")])
    before = counted.requests["get"]
    assert (await catalogue.judged("t1")).whole == ["h1", "h3"]
    assert counted.requests["get"] - before == 1  # the plan
    await catalogue.put_record(record())
    assert (await counted.open().judged("t1")).whole is None


async def test_a_tag_has_one_plan() -> None:
    """Promise: the same plan again is the same call, another one is refused."""
    catalogue = Counted().open()
    await catalogue.put_plan(plan())
    await catalogue.put_plan(plan())
    with pytest.raises(BackupExists):
        await catalogue.put_plan(plan(time=2.0))


async def test_a_deleted_backup_is_not_listed_and_takes_nothing_more() -> None:
    """Promise: one put deletes; until the sweep the tag is refused."""
    catalogue = Counted().open()
    with pytest.raises(BackupNotFound):
        await catalogue.mark_deleted("t1")
    await catalogue.put_plan(plan())
    await catalogue.put_record(record())
    await catalogue.mark_deleted("t1")
    await catalogue.mark_deleted("t1")
    assert len(await catalogue.listing()) == 0
    assert (await catalogue.view("t1")).deleted
    with pytest.raises(BackupDeleted):
        await catalogue.put_plan(plan())
    with pytest.raises(BackupDeleted):
        await catalogue.put_record(record())


async def test_a_tag_that_was_swept_and_is_used_again_shows_its_own_record() -> None:
    """Promise: what was read of the backup before it is not told of the new one, though its record has the same key and
    the same length."""
    counted = Counted()
    catalogue = counted.open()
    for keyspace in ("ks", "kt"):
        put = msgspec.structs.replace(record(), keyspaces={keyspace: ["t"]})
        counted.store._objects.clear()  # the sweeps of all nodes: other agents' this one hears nothing of
        await Catalogue(OpenedRepository("d1", counted.store, "r1", "c1", OPEN, 4), RecordCache()).put_record(put)
        assert [view.record for view in await catalogue.listing()] == [put]
        assert (await catalogue.view("t1")).record == put


def test_the_cache_of_records_keeps_to_its_size() -> None:
    """Promise: memory is bounded; what is used stays longest."""
    cache = RecordCache(most_bytes=3_000)
    for number in range(100):
        cache.put("r1", str(number), bytes(range(256)) * 4)
        assert cache.get("r1", "0") is not None
    assert cache.get("r1", "99") is not None
    assert cache.get("r1", "50") is None
    assert cache.get("r2", "99") is None


async def test_a_record_of_an_epoch_that_never_was_hides_no_other_backup() -> None:
    """Promise: whoever may write to the destination makes one record claim keys that nobody has; listings go on without
    it, the backup itself is seen by plan and manifests, and how it ended can be recorded anew."""
    store = MemoryStorage()
    opened = OpenedRepository("d1", store, "r1", "c1", OPEN, 4, Keyring(b"n" * 32, {1: b"k" * 32}))
    catalogue = Catalogue(opened, RecordCache())
    for tag in ("good", "t1"):
        await catalogue.put_record(record(tag))
    key = record_key("c1", "t1", 0)
    body, at = store._objects[key]
    store._objects[key] = (body[:8] + (999).to_bytes(4, "big") + body[12:], at)
    assert {view.tag: view.record for view in await catalogue.listing()} == {"good": record("good"), "t1": None}
    view = await catalogue.view("t1")
    assert (view.record, view.stored) == (None, at)
    assert await catalogue.put_record(record("t1")) == 1
    assert {view.tag: view.record for view in await catalogue.listing()} == {"good": record("good"), "t1": record("t1")}


async def test_a_backup_whose_plan_cannot_be_read_can_be_looked_at_and_deleted() -> None:
    """Promise: whoever asks for the backup is told of it without its plan, so that it can go; whoever asks whether all
    is in order is told of the plan."""
    store = MemoryStorage()
    catalogue = Catalogue(OpenedRepository("d1", store, "r1", "c1", OPEN, 4), RecordCache())
    await catalogue.put_plan(plan())
    await catalogue.put_record(record())
    store._objects[plan_key("c1", "t1")] = (b"{}", 1.0)
    view = await catalogue.judged("t1")
    assert (view.plan, view.record, view.complete) == (None, record(), None)
    with pytest.raises(ManifestInvalid, match="plan"):
        await catalogue.view("t1")
    await catalogue.mark_deleted("t1")
    assert [*await catalogue.listing()] == []
