"""The oracle itself: it is green on what a real backup left, and finds every damage that is done to it."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.storage.local import LocalStorage
from tests.fast.jobs.agent_in_memory import Agent
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup
from tests.oracle.checker import Oracle, OracleFailed
from tests.oracle.reader import DirectoryReader


@pytest.fixture
async def repository(tmp_path: Path) -> Path:
    """A local destination with two backups."""
    node = Node(tmp_path / "node")
    node.sstable("shop", "orders", 1, 1_200_000)
    node.sstable("many", "t1", 1, 500)
    root = tmp_path / "destination"
    root.mkdir()
    store = LocalStorage(root)
    agent = Agent(node, {"d1": store}, tmp_path / "state")
    await agent.backup.run(backup("t1"))
    node.sstable("many", "t1", 2, 500)
    await agent.backup.run(backup("t2"))
    agent.close()
    await store.close()
    return root


def objects(root: Path) -> list[Path]:
    return sorted(root.rglob("*.raw"))


def manifests(root: Path) -> list[Path]:
    return sorted(root.rglob("*.manifest"))


def flip(root: Path) -> None:
    path = random.Random(1).choice(objects(root))
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def lose(root: Path) -> None:
    objects(root)[0].unlink()


def swap(root: Path) -> None:
    first, second = objects(root)[:2]
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)


def cut(root: Path) -> None:
    path = manifests(root)[0]
    path.write_bytes(path.read_bytes()[:-1])


def change(root: Path) -> None:
    path = manifests(root)[0]
    body = bytearray(path.read_bytes())
    body[20] ^= 1
    path.write_bytes(body)


def exchange(root: Path) -> None:
    first, second = manifests(root)
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)


def remove(root: Path) -> None:
    manifests(root)[0].unlink()


def litter(root: Path) -> None:
    (root / "stray").write_bytes(b"x")


async def test_a_sound_repository_is_green(repository: Path) -> None:
    """Promise: no false alarm, and every file of every backup was read."""
    oracle = Oracle(DirectoryReader(repository))
    oracle.expect("t1", [HOST])
    found = oracle.check()
    assert set(found) == {("t1", HOST), ("t2", HOST)}
    assert len(found["t2", HOST].files) == len(found["t1", HOST].files) + 8
    oracle.check()


@pytest.mark.parametrize("damage", [flip, lose, swap, cut, change, exchange, remove, litter])
async def test_damage_is_found(repository: Path, damage: Callable[[Path], None]) -> None:
    """Promise: a flipped byte, a missing object, swapped objects, a cut manifest and the like are all found."""
    oracle = Oracle(DirectoryReader(repository))
    oracle.check()
    damage(repository)
    with pytest.raises(OracleFailed):
        oracle.check()


@pytest.mark.parametrize("damage", [flip, lose, swap, cut, change, exchange])
async def test_damage_is_found_at_the_first_look(repository: Path, damage: Callable[[Path], None]) -> None:
    """Promise: the oracle needs no memory of a better time for what it can judge by itself."""
    damage(repository)
    with pytest.raises(OracleFailed):
        Oracle(DirectoryReader(repository)).check()


async def test_a_success_without_a_manifest_is_found(repository: Path) -> None:
    """Promise: I5."""
    oracle = Oracle(DirectoryReader(repository))
    oracle.expect("t3", [HOST])
    with pytest.raises(OracleFailed, match="I5"):
        oracle.check()
