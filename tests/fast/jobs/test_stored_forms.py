"""One backup into destinations that store it in different ways: plain, sealed, compressed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.crypto.keyring import Keyring
from agent.repository.errors import ManifestInvalid
from agent.repository.keys import data_prefix, manifest_key
from agent.repository.manifest import read_manifest
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN, Storage
from agent.wire.commands import DeleteArguments, State, SweepArguments
from agent.wire.results import FreedResult
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Agent, Command, MemoryReader, Repositories, target
from tests.fast.jobs.clock import Clock
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup, same
from tests.fast.jobs.test_sweep import _later
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle
from tests.oracle.formats import Keys

KEYRING = Keyring(b"n" * 32, {1: b"k" * 32})
ROTATED = Keyring(b"n" * 32, {1: b"k" * 32, 2: b"l" * 32})


class Two:
    """A plain and an encrypted destination of one agent."""

    def __init__(self, node: Node, state: Path) -> None:
        self.plain, self.sealed = MemoryStorage(clock=Clock()), MemoryStorage(clock=Clock())
        self.keyrings = {"d2": KEYRING}
        self.node = node
        storages: dict[str, Storage] = {"d1": self.plain, "d2": self.sealed}
        self.agent = Agent(node, {}, state, repositories=Repositories(storages, self.keyrings))

    def check(self, *tags: str) -> None:
        """Both destinations hold every byte of these backups."""
        keys = Keys(ROTATED.name_key, ROTATED.sealing)
        for oracle in (Oracle(MemoryReader(self.plain)), Oracle(MemoryReader(self.sealed), keys=keys)):
            for tag in tags:
                oracle.expect(tag, [HOST])
            found = oracle.check()
            assert all(same(found[tag, HOST], self.node) for tag in tags)

    def opened(self) -> OpenedRepository:
        """The encrypted one, as a command has it."""
        return OpenedRepository("d2", self.sealed, REPOSITORY, CLUSTER, OPEN, 4, self.keyrings["d2"])


@pytest.fixture
def two(node: Node, tmp_path: Path) -> Iterator[Two]:
    found = Two(node, tmp_path / "state")
    yield found
    found.agent.close()


def objects(store: MemoryStorage) -> dict[str, bytes]:
    """The data objects, by key."""
    return {key: body for key, (body, _) in store._objects.items() if key.startswith(data_prefix(CLUSTER, HOST))}


async def test_a_plain_and_an_encrypted_destination_share_one_reading(two: Two) -> None:
    """Promise: each destination gets the whole backup in its own form, and the encrypted one shows no content."""
    outcome = await two.agent.backup.run(backup("t1", "d1", "d2"))
    assert outcome.state is State.SUCCESS
    two.check("t1")
    plain, sealed = objects(two.plain), objects(two.sealed)
    assert len(plain) == len(sealed)
    assert not {key.rpartition("/")[2] for key in plain} & {key.rpartition("/")[2] for key in sealed}
    everything = b"".join(body for body, _ in two.sealed._objects.values())
    for name in (b"Data.db", b"shop", b"CREATE TABLE", b"Murmur3"):
        assert name not in everything


async def test_an_unchanged_node_costs_one_object_in_each_form(two: Two) -> None:
    """Promise: reuse goes by content, compressed, sealed or not, also after the key was rotated."""
    await two.agent.backup.run(backup("t1", "d1", "d2"))
    two.keyrings["d2"] = ROTATED
    outcome = await two.agent.backup.run(backup("t2", "d1", "d2"))
    results = outcome.result.targets  # type: ignore[attr-defined]
    assert [results[name].put_objects for name in ("d1", "d2")] == [1, 1]
    two.check("t1", "t2")


async def test_what_pays_is_compressed(two: Two) -> None:
    """Promise: an object that zstd makes smaller is stored so, its stored size in its key; random bytes stay raw."""
    base = two.node.sstable("shop", "orders", 77, 0)
    base.write_bytes(b"a row like every other; " * 200_000)
    base.with_name("nb-77-big-Digest.crc32").unlink()
    await two.agent.backup.run(backup("t1", "d1", "d2"))
    two.check("t1")
    for store in (two.plain, two.sealed):
        found = objects(store)
        coded = {key: len(body) for key, body in found.items() if ".zstd-" in key}
        assert all(key.endswith(f".zstd-{size}") for key, size in coded.items())
        assert 0 < len(coded) < len(found)
        assert sum(coded.values()) < 200_000


async def test_a_cut_compressed_object_is_put_anew(two: Two) -> None:
    """Promise: a listing shows that a compressed object was cut, as of a raw one, and the next backup heals it."""
    await two.agent.backup.run(backup("t1", "d1", "d2"))
    for store in (two.plain, two.sealed):
        key = max((key for key in objects(store) if ".zstd-" in key), key=lambda key: int(key.rpartition("-")[2]))
        body, when = store._objects[key]
        store._objects[key] = (body[:-1], when)
    outcome = await two.agent.backup.run(backup("t2", "d1", "d2"))
    assert all(len(one.warnings) == 1 for one in outcome.result.targets.values())  # type: ignore[attr-defined]
    two.check("t1", "t2")


async def test_a_sweep_of_an_encrypted_repository_keeps_what_is_needed(two: Two) -> None:
    """Promise: needed and unneeded objects are told apart by their keyed names."""
    await two.agent.backup.run(backup("t1", "d2"))
    two.node.sstable("shop", "orders", 9, 3_000)
    await two.agent.backup.run(backup("t2", "d2"))
    before = len(objects(two.sealed))
    await two.agent.delete.run(Command("delete", DeleteArguments("t1", target("d2"))))
    two.agent.on_sleep.append(_later(two.sealed))
    freed = (await two.agent.sweep.run(Command("sweep", SweepArguments(target("d2"), [])))).result
    assert isinstance(freed, FreedResult)
    assert 0 < freed.objects < before
    oracle = Oracle(MemoryReader(two.sealed), keys=Keys(KEYRING.name_key, KEYRING.sealing))
    oracle.expect("t2", [HOST])
    oracle.deleted("t1")
    assert same(oracle.check()["t2", HOST], two.node)


async def test_a_sealed_manifest_belongs_to_its_key(two: Two) -> None:
    """Promise: a manifest that was copied to another tag is not believed, though its seal is whole; one from a plain
    repository neither."""
    await two.agent.backup.run(backup("t1", "d1", "d2"))
    honest, foreign = manifest_key(CLUSTER, "t1", HOST), manifest_key(CLUSTER, "t9", HOST)
    two.sealed._objects[foreign] = two.sealed._objects[honest]
    with pytest.raises(ManifestInvalid, match="backup t9"):
        await read_manifest(two.opened(), "t9", HOST)
    two.sealed._objects[honest] = two.plain._objects[honest]
    with pytest.raises(ManifestInvalid, match="head"):
        await read_manifest(two.opened(), "t1", HOST)
