"""A backup in a local directory, and `helenus-repository` run on it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from agent.cli.main import run
from agent.cli.screen import Screen
from agent.crypto.keyring import Keyring
from agent.crypto.slots import Unlocking
from agent.repository.attach import attach
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.key_slots import make_first
from agent.repository.keyrings import Keys
from agent.repository.opened import OpenedRepository
from agent.storage.local.storage import LocalStorage
from agent.storage.protocol import OPEN, Storage
from agent.wire.backups import SUCCESS, NodeRecord, Plan, PlannedNode, Record
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Agent, Repositories
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup

TABLES = {"shop": ["orders"], "many": ["t1", "empty"]}
KEY = bytes(range(40))


@dataclass
class Place:
    """A destination with the backup `t1` of `node`; `file` names it."""

    root: Path
    node: Node
    file: Path

    def run(self, *arguments: str, typed: Sequence[str] = ()) -> tuple[int, str]:
        """The exit code, and what was printed; `typed`: answers to what is asked."""
        out, answers = io.StringIO(), iter(typed)
        screen = Screen(out, io.StringIO())
        code = run(["--destination", str(self.file), *arguments], screen, lambda question: next(answers))
        return code, out.getvalue()

    def settings(self, **encryption: str) -> None:
        """Put the destination's settings file."""
        settings: dict[str, object] = {"provider": "local", "path": str(self.root)}
        self.file.write_bytes(msgspec.json.encode({**settings, **({"encryption": encryption} if encryption else {})}))
        self.file.chmod(0o600)

    def secret(self, name: str, body: bytes) -> Path:
        """A file that only its owner reads."""
        path = self.file.with_name(name)
        path.write_bytes(body)
        path.chmod(0o600)
        return path

    def objects(self) -> list[Path]:
        """The data objects, the largest first."""
        return sorted(self.root.rglob("data/*/*"), key=lambda path: -path.stat().st_size)


class FirstSlot:
    """Makes an encrypted repository's first key slot (agent.repository.keyrings.Keys)."""

    async def prove(self) -> None:
        """Nothing has to be read."""

    async def keyring(self, storage: Storage, repository_id: str, *, make: bool) -> Keyring:
        assert make
        return await make_first(storage, repository_id, Unlocking("key_file", KEY))


async def recorded(opened: OpenedRepository, tag: str, time: float) -> None:
    """Plan and final record of a backup, as a coordinator has them put."""
    catalogue = Catalogue(opened, RecordCache())
    nodes = [PlannedNode(HOST, "127.0.0.1", "dc1", "r1", ["0"])]
    await catalogue.put_plan(Plan(tag, "adhoc", time, "prod", CLUSTER, nodes, TABLES, {}, "v"))
    sizes = {"shop": 3_000_000}
    record = Record(tag, "adhoc", time, SUCCESS, TABLES, [NodeRecord(HOST, "127.0.0.1", "success", sizes)], time)
    await catalogue.put_record(record)


async def made(directory: Path, keys: Keys | None, more: int = 0, *, bad: str = "") -> Place:
    """A destination below the directory; `keys`: it is encrypted; `more` SSTables of one size are in the backup;
    `bad`: a table of the keyspace `many` that is damaged on the node."""
    root, node = directory / "destination", Node(directory / "node")
    root.mkdir()
    node.sstable("shop", "orders", 1, 3_000_000)
    node.sstable("many", "t1", 1, 500)
    node.sstable("many", "t1", 2, 700, index=".by_name")
    node.table("many", "empty")
    for number in range(more):
        node.sstable("shop", "orders", 7 + number, 2_000_000)
    if bad:
        node.sstable("many", bad, 1, 900).write_bytes(b"other bytes than its digest says")
    storage = LocalStorage(root)
    attached = await attach(
        storage, keys=keys, initialise=True, repository_id=REPOSITORY, cluster_id=CLUSTER, cluster_name="prod"
    )
    await recorded(
        OpenedRepository("d1", storage, REPOSITORY, CLUSTER, OPEN, 4, attached.keyring), "t1", 1_700_000_000.0
    )
    keyrings = {} if attached.keyring is None else {"d1": attached.keyring}
    agent = Agent(node, {}, directory / "state", repositories=Repositories({"d1": storage}, keyrings))
    await agent.backup.run(backup("t1"))
    agent.close()
    await storage.close()
    place = Place(root, node, directory / "destination.json")
    place.settings()
    return place


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    return await made(tmp_path, None)


@pytest.fixture
async def sealed(tmp_path: Path) -> Place:
    """Encrypted with the key file `key`, which the settings name."""
    place = await made(tmp_path, FirstSlot())
    place.settings(key_file=str(place.secret("key", KEY)))
    return place
