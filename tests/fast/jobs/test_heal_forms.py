"""Healing when a codec would choose otherwise than when the object was put."""

from pathlib import Path

import pytest
import zstandard

from agent.crypto.keyring import Keyring
from agent.pipeline.compression import Compression
from agent.wire.commands import State
from tests.fast.jobs.agent_in_memory import Agent, MemoryReader, Repositories
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup, same
from tests.fast.jobs.test_scrub import change, flipped, large, noted, objects, scrub
from tests.fast.jobs.test_stored_forms import KEYRING
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle
from tests.oracle.formats import Keys


def choose(monkeypatch: pytest.MonkeyPatch, *, raw: bool = False, checksum: bool = False) -> None:
    """From now on, nothing is compressed, or everything."""

    def compressed(_: Compression, plain: memoryview) -> bytes | None:
        return None if raw else zstandard.ZstdCompressor(write_checksum=checksum).compress(plain)

    monkeypatch.setattr(Compression, "compressed", compressed)


@pytest.mark.parametrize("between", [False, True], ids=["", "stored coded meanwhile"])
@pytest.mark.parametrize("keyring", [None, KEYRING], ids=["plain", "sealed"])
async def test_a_raw_object_is_put_anew_raw(
    node: Node,
    store: MemoryStorage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keyring: Keyring | None,
    between: bool,
) -> None:
    """Promise: a damaged raw object is replaced under its own key by the very bytes that were there, though today it
    would be compressed or is there compressed: backups that name it are whole again."""
    keyrings = {} if keyring is None else {"d1": keyring}
    agent = Agent(node, {}, tmp_path / "state of it", repositories=Repositories({"d1": store}, keyrings))
    choose(monkeypatch, raw=True)
    await agent.backup.run(backup("t1"))
    key, right = large(store), objects(store)[large(store)]
    choose(monkeypatch)
    if between:
        del store._objects[key]
        await agent.backup.run(backup("between"))
    change_or_put(store, key, flipped(right, 1_000))
    assert (await scrub(agent))[1].damaged == 1
    assert (await agent.backup.run(backup("t2"))).state is State.SUCCESS
    assert objects(store)[key] == right
    assert noted(store) == []
    oracle = Oracle(MemoryReader(store), keys=None if keyring is None else Keys(keyring.name_key, keyring.sealing))
    for tag in ("t1", "t2"):
        oracle.expect(tag, [HOST])
    found = oracle.check()
    assert same(found["t1", HOST], node)
    assert same(found["t2", HOST], node)
    agent.close()


def change_or_put(store: MemoryStorage, key: str, body: bytes) -> None:
    """Put these bytes there, whether something is there or not."""
    store._objects.setdefault(key, (b"", 1.0))
    change(store, key, body)


async def test_a_coded_object_of_another_size_stays_noted(
    agent: Agent, node: Node, store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: where the codec gives another size now, the new backup is whole under a key of its own and says that
    the old object could not be mended; the note stays, and takes nothing from the new object."""
    choose(monkeypatch)
    await agent.backup.run(backup("t1"))
    key, right = large(store), objects(store)[large(store)]
    change(store, key, flipped(right, 1_000))
    await scrub(agent)
    choose(monkeypatch, checksum=True)
    for tag in ("t2", "t3"):
        healing = await agent.backup.run(backup(tag))
        assert healing.state is State.SUCCESS
        [warning] = healing.result.targets["d1"].warnings  # type: ignore[attr-defined]
        assert "stay damaged" in warning
        assert key in warning
        assert len(noted(store)) == 1
    assert healing.result.targets["d1"].put_bytes < 1_000  # type: ignore[attr-defined]
    for gone in (key, *noted(store), *(one for one in list(store._objects) if "/backups/t1/" in one)):
        del store._objects[gone]  # what only the broken backup needs
    oracle = Oracle(MemoryReader(store))
    oracle.expect("t3", [HOST])
    assert same(oracle.check()["t3", HOST], node)


@pytest.mark.parametrize("older", [True, False])
async def test_each_size_of_a_content_is_missed_by_itself(
    agent: Agent, store: MemoryStorage, monkeypatch: pytest.MonkeyPatch, older: bool
) -> None:
    """Promise: two releases of zstd put one content under two keys: of either that is gone a scrub tells the backup,
    whatever of it is there under the other."""
    choose(monkeypatch)
    await agent.backup.run(backup("t1"))
    first = large(store)
    kept = store._objects.pop(first)
    choose(monkeypatch, checksum=True)
    await agent.backup.run(backup("t2"))
    second = large(store)
    store._objects[first] = kept
    assert (await scrub(agent, command="before"))[1].backups == []
    del store._objects[first if older else second]
    outcome, result = await scrub(agent)
    assert (outcome.state, result.missing, result.backups) == (State.PARTIAL, 1, ["t1" if older else "t2"])
