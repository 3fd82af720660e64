"""A backup in a local directory, and `helenus-repository` run on it."""

import io
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from agent.cli.main import run
from agent.cli.screen import Screen
from agent.repository.attach import attach
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.opened import OpenedRepository
from agent.storage.local import LocalStorage
from agent.storage.protocol import OPEN
from agent.wire.backups import SUCCESS, NodeRecord, Plan, PlannedNode, Record
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Agent
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup

TABLES = {"shop": ["orders"], "many": ["t1", "empty"]}


@dataclass
class Place:
    """A destination with the backup `t1` of `node`; `file` names it."""

    root: Path
    node: Node
    file: Path

    def run(self, *arguments: str) -> tuple[int, str]:
        """The exit code, and what was printed."""
        out = io.StringIO()
        return run(["--destination", str(self.file), *arguments], Screen(out, io.StringIO())), out.getvalue()

    def objects(self) -> list[Path]:
        """The data objects, the largest first."""
        return sorted(self.root.rglob("data/*/*"), key=lambda path: -path.stat().st_size)


async def recorded(storage: LocalStorage, tag: str, time: float) -> None:
    """Plan and final record of a backup, as a coordinator has them put."""
    opened = OpenedRepository("d1", storage, REPOSITORY, CLUSTER, OPEN, 4)
    catalogue = Catalogue(opened, RecordCache())
    nodes = [PlannedNode(HOST, "127.0.0.1", "dc1", "r1", ["0"])]
    await catalogue.put_plan(Plan(tag, "adhoc", time, "prod", CLUSTER, nodes, TABLES, {}, "v"))
    sizes = {"shop": 3_000_000}
    record = Record(tag, "adhoc", time, SUCCESS, TABLES, [NodeRecord(HOST, "127.0.0.1", "success", sizes)], time)
    await catalogue.put_record(record)


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    root, node = tmp_path / "destination", Node(tmp_path / "node")
    root.mkdir()
    node.sstable("shop", "orders", 1, 3_000_000)
    node.sstable("many", "t1", 1, 500)
    node.sstable("many", "t1", 2, 700, index=".by_name")
    node.table("many", "empty")
    storage = LocalStorage(root)
    await attach(storage, keys=None, initialise=True, repository_id=REPOSITORY, cluster_id=CLUSTER, cluster_name="prod")
    await recorded(storage, "t1", 1_700_000_000.0)
    agent = Agent(node, {"d1": storage}, tmp_path / "state")
    await agent.backup.run(backup("t1"))
    agent.close()
    await storage.close()
    file = tmp_path / "destination.json"
    file.write_bytes(msgspec.json.encode({"provider": "local", "path": str(root)}))
    file.chmod(0o600)
    return Place(root, node, file)
