"""Segments of a commit log in a destination: put once, read back as they were, whatever happened in between."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from agent.crypto.keyring import Keyring
from agent.model.commit_log import LossRecord, SchemaRecord
from agent.pipeline.errors import FileUnreadable, SnapshotVanished
from agent.pipeline.log_source import StoredLogs
from agent.pipeline.segments import PIECE_SIZE
from agent.plan.segment_names import segment_id
from agent.repository.commit_logs.errors import LogSegmentDiffers
from agent.repository.errors import ObjectDamaged
from agent.storage.protocol import NotFound
from tests.fast.jobs.agent_in_memory import Crash, Faults
from tests.fast.pipeline.log_site import RING, LogSite, content, name_of
from tests.fast.storage.memory import MemoryStorage

SIZE = PIECE_SIZE * 2 + 1000


@asynccontextmanager
async def _site(
    directory: Path, keyring: Keyring | None = None, store: MemoryStorage | None = None
) -> AsyncIterator[LogSite]:
    site = LogSite(directory, store or MemoryStorage(), keyring)
    try:
        yield site
    finally:
        await site.close()


@pytest.fixture(params=[None, RING], ids=["plain", "sealed"])
def keyring(request: pytest.FixtureRequest) -> Keyring | None:
    found: Keyring | None = request.param
    return found


async def test_a_segment_comes_back_as_it_was(tmp_path: Path, keyring: Keyring | None) -> None:
    """Promise: byte by byte, raw and coded, in a plain and in an encrypted repository, whose store shows nothing of
    it; listed with all that was said of it."""
    async with _site(tmp_path, keyring) as site:
        raw, zeros = content(SIZE), bytes(SIZE)
        one = await site.ship(site.source(1, raw))
        two = await site.ship(site.source(2, zeros), compressed=True)
        assert await site.logs.records() == [one, two]
        assert await site.logs.records(since=1_700_000_000_002) == [two]
        assert await site.back(one, tmp_path / "a") == raw
        assert await site.back(two, tmp_path / "a") == zeros
        assert (one.whole, one.opened_at, one.closed_at, one.previous, one.follows) == (True, 1, 2, name_of(0), True)
        assert sum(two.objects.values()) < 100_000
        assert any(raw[:64] in body for body, _ in site.store._objects.values()) == (keyring is None)


async def test_what_an_earlier_copy_brought_is_not_put_again(tmp_path: Path, keyring: Keyring | None) -> None:
    """Promise: copies of a segment that is being written cost what came since; the longest counts, and the shorter one
    leaves nothing behind; the whole one replaces them all."""
    async with _site(tmp_path, keyring) as site:
        body = content(SIZE)
        first = await site.ship(site.source(1, body, size=PIECE_SIZE + 10))
        assert await site.logs.records() == [first]
        assert await site.back(first, tmp_path / "a") == body[: PIECE_SIZE + 10]
        before = set(site.store._objects)
        second = await site.ship(site.source(1, body, size=PIECE_SIZE * 2))
        assert len(set(site.store._objects) - before) == 2  # a record and a piece
        assert await site.logs.records() == [second]
        assert len(site.keys("data")) == 2
        whole = await site.ship(site.source(1, body))
        assert await site.logs.records() == [whole]
        assert len(site.keys("segments")) == 1
        assert len(site.keys("data")) == 3
        # Whoever listed before finds the copy that took its place.
        assert await site.back(first, tmp_path / "b") == body


async def test_a_shorter_copy_that_comes_late_is_in_nobodys_way(tmp_path: Path) -> None:
    """Promise: a copy that is put when a longer one is there removes nothing and is not listed."""
    async with _site(tmp_path) as site:
        body = content(SIZE)
        whole = await site.ship(site.source(1, body))
        await site.ship(site.source(1, body, size=100))
        assert await site.logs.records() == [whole]
        assert await site.back(whole, tmp_path / "a") == body


async def test_a_long_stretch_is_looked_through_by_its_ends(tmp_path: Path) -> None:
    """Promise: which segments are missing is told of any number of them by a listing and the records on both sides of
    each hole, with when they were opened and closed; a partial copy is read."""
    read: list[str] = []

    async def note(operation: str, key: str) -> None:
        if operation == "get":
            read.append(key)

    async with _site(tmp_path, store=MemoryStorage(hook=note)) as site:
        kept = {number: await site.ship(site.source(number, b"x")) for number in (1, 2, 3, 4, 5, 8, 9, 10)}
        kept[6] = await site.ship(site.source(6, b"xxx", size=2))
        read.clear()
        found = await site.logs.outlined(segment_id(name_of(1)), segment_id(name_of(10)))
        assert [one.name for one in found] == [name_of(number) for number in (1, 2, 3, 4, 5, 6, 8, 9)]
        assert [one for one in found if one.size] == [kept[1], kept[6], kept[8], kept[9]]
        assert len(read) == 4


async def test_another_log_under_one_host_id_is_refused(tmp_path: Path, keyring: Keyring | None) -> None:
    """Promise: a segment of a name that is there with other bytes is told with name and key, and replaces nothing; the
    same bytes again are fine."""
    async with _site(tmp_path, keyring) as site:
        body = content(SIZE)
        kept = await site.ship(site.source(1, body))
        await site.ship(site.source(1, body))
        with pytest.raises(LogSegmentDiffers) as told:
            await site.ship(site.source(1, content(SIZE, seed=1)))
        assert told.value.fields["segment"] == name_of(1)
        assert await site.logs.records() == [kept]
        assert await site.back(kept, tmp_path / "a") == body


async def test_a_kill_at_any_operation_leaves_what_the_next_try_ends(tmp_path: Path) -> None:
    """Promise: killed before any operation of the store, what is listed can be fetched, and the same segment shipped
    again is there once, without anything left of the copy before."""
    body = content(SIZE)
    for at in range(1, 40):
        faults = Faults()
        async with _site(tmp_path, store=MemoryStorage(hook=faults)) as site:
            await site.ship(site.source(1, body, size=PIECE_SIZE + 10))
            faults.begin(at)
            with suppress(Crash, BaseExceptionGroup):
                await site.ship(site.source(1, body))
            ended = faults.count < at
            faults.begin(None)
            for number, record in enumerate(await site.logs.records()):
                assert await site.back(record, tmp_path / f"{at}-{number}") == body[: record.size]
            whole = await site.ship(site.source(1, body))
            assert await site.logs.records() == [whole]
            assert await site.back(whole, tmp_path / f"{at}") == body
            if ended:
                break
    else:
        pytest.fail("it never came to its end")


async def test_a_cut_object_is_put_anew_and_a_damaged_one_is_told(tmp_path: Path, keyring: Keyring | None) -> None:
    """Promise: an object of another size than its name has is replaced by the next try; one with other bytes fails the
    fetch, and no file has its name."""
    async with _site(tmp_path, keyring) as site:
        body = content(SIZE)
        record = await site.ship(site.source(1, body))
        key = site.keys("data")[0]
        stored, modified = site.store._objects[key]
        site.store._objects[key] = stored[:-1], modified
        with pytest.raises(ObjectDamaged):
            await site.back(record, tmp_path / "a")
        await site.ship(site.source(1, body))
        assert await site.back(record, tmp_path / "a") == body
        flipped = bytearray(stored)
        flipped[len(flipped) // 2] ^= 1
        site.store._objects[key] = bytes(flipped), modified
        with pytest.raises(ObjectDamaged):
            await site.back(record, tmp_path / "b")
        assert not (tmp_path / "b" / record.name).exists()


async def test_a_missing_object_is_told(tmp_path: Path) -> None:
    """Promise: a record whose object somebody took is an error, not an endless search for a newer copy."""
    async with _site(tmp_path) as site:
        record = await site.ship(site.source(1, content(SIZE)))
        await site.store.delete(site.keys("data")[:1])
        with pytest.raises(NotFound):
            await site.back(record, tmp_path / "a")


async def test_a_file_that_goes_or_shrinks_meanwhile_is_told(tmp_path: Path) -> None:
    """Promise: nothing is listed of a segment that could not be read to its end."""
    async with _site(tmp_path) as site:
        source = site.source(1, content(SIZE))
        source.path.write_bytes(b"short")
        with pytest.raises(SnapshotVanished, match="became shorter"):
            await site.ship(source)
        source.path.unlink()
        with pytest.raises(SnapshotVanished, match="is gone"):
            await site.ship(source)
        source.path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(FileUnreadable):
            await site.ship(source)
        assert await site.logs.records() == []


async def test_records_that_are_none_are_told(tmp_path: Path, keyring: Keyring | None) -> None:
    """Promise: a record that can't be read, or stands in another's place, is a loss of that segment with its key: the
    archive never looks as if the segment weren't there. What isn't ours is passed over."""
    async with _site(tmp_path, keyring) as site:
        await site.ship(site.source(1, b"x" * 100))
        key = site.keys("segments")[0]
        body, modified = site.store._objects[key]
        site.store._objects[key + ".bak"] = body, modified
        assert len(await site.logs.records()) == 1
        elsewhere = key.replace("000000001.", "000000002.")
        assert elsewhere != key
        site.store._objects[elsewhere] = body, modified
        assert [one.name for one in await site.logs.records()] == [name_of(1)]
        assert elsewhere in site.logs.unreadable[name_of(2)].reason
        del site.store._objects[elsewhere]
        site.store._objects[key] = body[:-9] + b"deadbeef}", modified
        assert await site.logs.records() == []
        assert key in site.logs.unreadable[name_of(1)].reason


async def test_losses_and_schemas_are_kept_in_order(tmp_path: Path, keyring: Keyring | None) -> None:
    """Promise: each is there once, however often it was put, and they come back in the log's order."""
    async with _site(tmp_path, keyring) as site:
        losses = [
            LossRecord("", name_of(3), 1.0, 2.0, "no one knows"),
            LossRecord(name_of(5), name_of(8), 3.0, 4.0, "the archive was full"),
            LossRecord(name_of(9), "", 5.0, 6.0, "gone"),
        ]
        schemas = [SchemaRecord("v1", None, 10.5, (), {"h1": ("1", "2")}), SchemaRecord("v/2", 11.0, 12.0, (), {})]
        for _ in range(2):
            for loss in reversed(losses):
                await site.logs.put_loss(loss)
            for schema in reversed(schemas):
                await site.logs.put_schema(schema)
        source = StoredLogs(site.logs, site.bytes)
        assert await source.losses() == losses
        assert await source.schemas() == schemas
        assert await source.records() == []


async def test_one_whose_objects_are_missing_or_cut_is_named_without_reading_it(
    tmp_path: Path, keyring: Keyring | None
) -> None:
    """Promise: a look tells of each segment whether it could be fetched, as far as sizes tell."""
    async with _site(tmp_path, keyring) as site:
        records = [await site.ship(site.source(number, content(SIZE, number))) for number in (1, 2, 3)]
        logs = StoredLogs(site.logs, site.bytes)
        assert await logs.incomplete(records) == {}
        (first, *_), (second, *_) = site.logs.object_keys(records[0]), site.logs.object_keys(records[1])
        await site.store.delete([first])
        body = site.store._objects[second]
        site.store._objects[second] = (body[0][:-1], *body[1:])
        cut = await logs.incomplete(records)
        assert sorted(cut) == [name_of(1), name_of(2)]
        assert "missing" in cut[name_of(1)]
        assert f"{len(body[0]) - 1} bytes instead of {len(body[0])}" in cut[name_of(2)]
