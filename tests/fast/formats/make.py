"""Makes the fixture of the present format: `python -m tests.fast.formats.make`. In: nothing; out, for a plain and an
encrypted repository `format-<n>-<form>.tar.gz` and beside it `.json`, what must be read of it.

Run it once when the format grows, and commit what it makes; never make an old one anew: what it holds are bytes that
somebody's backups are in.
"""

import asyncio
import hashlib
import io
import json
import tarfile
import tempfile
from pathlib import Path

from agent.crypto.keyring import Keyring
from agent.crypto.slots import Cost, Unlocking
from agent.model.manifest import MANIFEST_FORMAT
from agent.repository.attach import attach
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.key_slots import make_first
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN, Storage
from agent.wire.backups import NodeRecord, Plan, PlannedNode, Record
from agent.wire.commands import BackupArguments, DeleteArguments, SnapshotArguments
from agent.wire.results import UploadResult
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Agent, Command, Repositories, target
from tests.fast.jobs.node import HOST, Node
from tests.fast.storage.memory import MemoryStorage

HERE = Path(__file__).parent
PASSPHRASE = b"a passphrase that everybody knows"
MANY = 300
"""SSTables whose table's frame is an object of its own."""


class Slotted:
    """Keys behind a slot that opens in a moment."""

    async def prove(self) -> None:
        """Nothing has to be read."""

    async def keyring(self, storage: Storage, repository_id: str, *, make: bool) -> Keyring:
        return await make_first(storage, repository_id, Unlocking("passphrase", PASSPHRASE), Cost(8, 1, 1))


def digest_of(files: dict[str, bytes]) -> str:
    """One SHA-256 of a table's files, by name and content."""
    whole = hashlib.sha256()
    for name, content in sorted(files.items()):
        whole.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return whole.hexdigest()


async def made(directory: Path, *, encrypted: bool) -> tuple[MemoryStorage, dict[str, dict[str, str]]]:
    """A repository with the backups t1 and t2 and a deleted one; tag → keyspace.table → its files' digest."""
    node = Node(directory / "node")
    node.sstable("shop", "orders", 1, 900)
    node.sstable("shop", "orders", 2, 1_300_000).write_bytes(b"")
    node.sstable("shop", "items", 1, 2_000, index=".by_name")
    for number in range(MANY):
        data = node.sstable("wide", "many", number, 10)
        for component in ("Statistics", "Index"):
            data.with_name(data.name.replace("Data", component)).write_bytes(b"")
    rows = node.table("shop", "orders") / "nb-2-big-Data.db"
    rows.write_bytes(b"a row like every other; " * 60_000)
    rows.with_name("nb-2-big-Digest.crc32").unlink()
    store = MemoryStorage()
    keys = Slotted() if encrypted else None
    attached = await attach(
        store, keys=keys, initialise=True, repository_id=REPOSITORY, cluster_id=CLUSTER, cluster_name="test"
    )
    keyrings = {} if attached.keyring is None else {"d1": attached.keyring}
    agent = Agent(node, {}, directory / "state", repositories=Repositories({"d1": store}, keyrings))
    catalogue = Catalogue(OpenedRepository("d1", store, REPOSITORY, CLUSTER, OPEN, 4, attached.keyring), RecordCache())
    tables = {"shop": ["orders", "items"], "wide": ["many"]}
    expected = {}
    for tag in ("t0", "t1", "t2"):
        nodes = [PlannedNode(HOST, "127.0.40.1", "dc1", "r1", ["1"])]
        await catalogue.put_plan(Plan(tag, f"b-{tag}", 1.0, "test", CLUSTER, nodes, tables, {"shop": {}}, "v1"))
        asked = BackupArguments(SnapshotArguments(tag), [target()])
        stored = (await agent.backup.run(Command(f"backup {tag}", asked))).result
        assert isinstance(stored, UploadResult)
        done = [NodeRecord(HOST, "127.0.40.1", "success", stored.targets["d1"].sizes)]
        await catalogue.put_record(Record(tag, f"b-{tag}", 1.0, "success", tables, done, 2.0))
        files: dict[str, dict[str, bytes]] = {}
        for (keyspace, table, name), content in node.files().items():
            files.setdefault(f"{keyspace}.{table}", {})[name] = content
        expected[tag] = {table: digest_of(content) for table, content in files.items()}
        node.sstable("shop", "orders", 3, 700)
    await agent.delete.run(Command("delete", DeleteArguments("t0", target())))
    del expected["t0"]
    agent.close()
    return store, expected


def write(store: MemoryStorage, expected: dict[str, dict[str, str]], name: str) -> None:
    """The fixture's two files."""
    with tarfile.open(HERE / f"{name}.tar.gz", "w:gz") as archive:
        for key, (body, _) in sorted(store._objects.items()):
            about = tarfile.TarInfo(key)
            about.size = len(body)
            archive.addfile(about, io.BytesIO(body))
    (HERE / f"{name}.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


def main() -> None:
    """Both forms."""
    for form in ("plain", "encrypted"):
        with tempfile.TemporaryDirectory() as directory:
            store, expected = asyncio.run(made(Path(directory), encrypted=form == "encrypted"))
        write(store, expected, f"format-{MANIFEST_FORMAT}-{form}")


if __name__ == "__main__":
    main()
