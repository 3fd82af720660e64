"""The oracle itself: it is green on what a real backup left, and finds every damage that is done to it."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.pipeline.sstable_run import SSTableRun
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.opened import OpenedRepository
from agent.storage.local.storage import LocalStorage
from agent.storage.protocol import OPEN
from agent.wire.backups import RUNNING, NodeRecord, Plan, PlannedNode, Record
from agent.wire.results import UploadResult
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Agent
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup
from tests.oracle.checker import Oracle, OracleFailed
from tests.oracle.reader import DirectoryReader

OTHER = "99999999-2222-3333-4444-555555555555"


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
    catalogue = Catalogue(OpenedRepository("d1", store, REPOSITORY, CLUSTER, OPEN, 4), RecordCache())
    await recorded_backup(agent, catalogue, "t1")
    node.sstable("many", "t1", 2, 500)
    await recorded_backup(agent, catalogue, "t2")
    agent.close()
    await store.close()
    return root


async def recorded_backup(agent: Agent, catalogue: Catalogue, tag: str) -> None:
    """As a coordinator has it made: the plan and a record first, the final record last."""
    nodes = [PlannedNode(HOST, "127.0.0.1", "dc1", "r1", [])]
    await catalogue.put_plan(Plan(tag, "adhoc", 1.0, "test", CLUSTER, nodes, {}, {}, "v1"))
    running = NodeRecord(HOST, "127.0.0.1", RUNNING, {})
    await catalogue.put_record(Record(tag, "adhoc", 1.0, RUNNING, {}, [running]))
    result = (await agent.backup.run(backup(tag))).result
    assert isinstance(result, UploadResult)
    done = NodeRecord(HOST, "127.0.0.1", "success", result.targets["d1"].sizes)
    await catalogue.put_record(Record(tag, "adhoc", 1.0, "success", {}, [done], 2.0))


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


def mark(root: Path) -> None:
    """A mark that nobody asked for excuses no loss."""
    records(root)[0].with_name("deleted").write_bytes(b"{}")


def records(root: Path, number: int = 1) -> list[Path]:
    return sorted(root.rglob(f"catalogue/*/{number}.json"))


def lose_the_plan(root: Path) -> None:
    sorted(root.rglob("plan.json"))[0].unlink()


def plan_another_node(root: Path) -> None:
    path = sorted(root.rglob("plan.json"))[0]
    plan = json.loads(path.read_bytes())
    plan["nodes"].append({**plan["nodes"][0], "host_id": OTHER})
    path.write_text(json.dumps(plan))


def lie(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """A record with a higher number, which counts, says something else."""
    path = records(root)[0]
    record = json.loads(path.read_bytes())
    change(record)
    path.with_name("2.json").write_text(json.dumps(record))


def lie_about_bytes(root: Path) -> None:
    lie(root, lambda record: record["nodes"][0]["sizes"].update(shop=1))


def lie_about_a_node(root: Path) -> None:
    lie(root, lambda record: record["nodes"][0].update(host_id=OTHER))


def lie_about_success(root: Path) -> None:
    lie(root, lambda record: record["nodes"][0].update(state="failed"))


def lie_about_failure(root: Path) -> None:
    lie(root, lambda record: record.update(state="failed"))


def lie_about_the_backup(root: Path) -> None:
    lie(root, lambda record: record.update(time=7.0))


LIES = [lie_about_bytes, lie_about_a_node, lie_about_success, lie_about_failure, lie_about_the_backup]


async def test_a_sound_repository_is_green(repository: Path) -> None:
    """Promise: no false alarm, and every file of every backup was read."""
    oracle = Oracle(DirectoryReader(repository))
    oracle.expect("t1", [HOST])
    found = oracle.check()
    assert set(found) == {("t1", HOST), ("t2", HOST)}
    assert len(found["t2", HOST].files) == len(found["t1", HOST].files) + 8
    oracle.check(idle=True)


@pytest.mark.parametrize("damage", [flip, lose, swap, cut, change, exchange, remove, litter, mark, lose_the_plan])
async def test_damage_is_found(repository: Path, damage: Callable[[Path], None]) -> None:
    """Promise: a flipped byte, a missing object, swapped objects, a cut manifest and the like are all found."""
    oracle = Oracle(DirectoryReader(repository))
    oracle.check()
    damage(repository)
    with pytest.raises(OracleFailed):
        oracle.check()


@pytest.mark.parametrize(
    "damage", [flip, lose, swap, cut, change, exchange, remove, mark, lose_the_plan, plan_another_node, *LIES]
)
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


async def test_a_deleted_backup_may_bear_its_mark_and_lose_its_manifest(repository: Path) -> None:
    """Promise: what somebody deleted is no finding; that of the other one still is."""
    oracle = Oracle(DirectoryReader(repository))
    oracle.check()
    mark(repository)
    remove(repository)
    oracle.deleted("t1")
    assert set(oracle.check()) == {("t2", HOST)}
    manifests(repository)[0].unlink()
    with pytest.raises(OracleFailed, match="manifest of t2"):
        oracle.check()


async def test_a_deleted_backup_that_is_copied_anew_is_judged_anew(repository: Path) -> None:
    """Promise: its manifest may be another one, once the first was seen to be gone; after that it must stay."""
    first, second = manifests(repository)
    oracle = Oracle(DirectoryReader(repository))
    oracle.check()
    tag = shutil.copytree(first.parent, repository.parent / "kept")
    shutil.rmtree(first.parent)
    oracle.deleted("t1")
    shutil.move(records(repository)[0].parent, repository.parent / "records")
    oracle.check()
    shutil.move(repository.parent / "records", records(repository)[0].parents[1] / "t1")
    shutil.move(tag, second.parents[1] / "t1")
    oracle.expect("t1", [HOST])
    assert set(oracle.check()) == {("t1", HOST), ("t2", HOST)}
    first.unlink()
    with pytest.raises(OracleFailed, match="manifest of t1"):
        oracle.check()


async def test_a_mark_that_nobody_asked_for_excuses_no_loss(repository: Path) -> None:
    """Promise: I4. The loss is found beside the mark."""
    oracle = Oracle(DirectoryReader(repository))
    oracle.check()
    mark(repository)
    remove(repository)
    with pytest.raises(OracleFailed) as failed:
        oracle.check()
    assert [finding.partition(":")[0] for finding in failed.value.findings] == ["I4", "I4/I5"]


async def test_an_intent_that_is_left_is_found_when_nothing_works(repository: Path) -> None:
    """Promise: while a job writes its intent may stand, afterwards none."""
    intent = repository / "helenus" / "v1" / "clusters" / CLUSTER / "nodes" / HOST / "intents" / "t2"
    intent.parent.mkdir(exist_ok=True)
    intent.write_bytes(b"{}")
    oracle = Oracle(DirectoryReader(repository))
    oracle.check()
    with pytest.raises(OracleFailed, match="intents/t2 is left"):
        oracle.check(idle=True)


async def test_one_nodes_own_directory_needs_its_own_manifest_alone(repository: Path) -> None:
    """Promise: a record of several nodes is whole in a directory of one of them with that one's part, not without."""
    plan_another_node(repository)
    lie(repository, lambda record: record["nodes"].append({**record["nodes"][0], "host_id": OTHER}))
    oracle = Oracle(DirectoryReader(repository), per_node=True)
    oracle.check()
    with pytest.raises(OracleFailed, match=f"I5: .*{OTHER}"):
        Oracle(DirectoryReader(repository)).check()
    remove(repository)
    with pytest.raises(OracleFailed, match="I5: the record 2 of t1"):
        Oracle(DirectoryReader(repository), per_node=True).check()


async def test_cassandras_own_checksum_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: what an agent that forgot to compare stored is found, however well its own digests agree."""
    monkeypatch.setattr(SSTableRun, "_check_crc", lambda *_: None)
    node = Node(tmp_path / "node")
    data = node.sstable("shop", "orders", 1, 20_000)
    data.with_name(data.name.replace("Data.db", "Digest.crc32")).write_bytes(b"1")
    root = tmp_path / "destination"
    root.mkdir()
    store = LocalStorage(root)
    agent = Agent(node, {"d1": store}, tmp_path / "state")
    await agent.backup.run(backup("t1"))
    agent.close()
    await store.close()
    with pytest.raises(OracleFailed) as failed:
        Oracle(DirectoryReader(root)).check()
    assert failed.value.findings == [f"{data.name} of shop.orders of t1 has another CRC-32 than its Digest.crc32 says"]
