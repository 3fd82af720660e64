"""A node's life in a plain and in an encrypted repository on every store: the agent's own jobs on real files and
servers, without a Cassandra."""

import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.crypto.keyring import Keyring
from agent.crypto.slots import Cost, Unlocking
from agent.repository.attach import attach
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.key_slots import make_first, read_slots, rotate, unlock
from agent.repository.opened import OpenedRepository
from agent.storage.opened import open_storage
from agent.storage.protocol import OPEN, Storage
from agent.wire.backups import NodeRecord, Plan, PlannedNode, Record
from agent.wire.commands import DeleteArguments, State, SweepArguments
from agent.wire.destinations import Settings
from agent.wire.results import FreedResult, UploadResult
from tests.cluster.stores import BUCKET
from tests.cluster.whole_backup import files_of
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Agent, Command, Repositories, target
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup

PASSPHRASE = Unlocking("passphrase", b"of the tests")
CHEAP = Cost(8, 1, 1)


class Slots:
    """Keys from the store's own slots."""

    async def prove(self) -> None:
        """Nothing has to be read."""

    async def keyring(self, storage: Storage, repository_id: str, *, make: bool) -> Keyring:
        if make:
            return await make_first(storage, repository_id, PASSPHRASE, CHEAP)
        return await unlock(await read_slots(storage), repository_id, PASSPHRASE)


@pytest.fixture(params=["local", "versity", "seaweed", "gcs", "azurite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty place in the store."""
    if request.param == "local":
        (tmp_path / "place").mkdir()
        wanted: dict[str, Any] = {"provider": "local", "path": str(tmp_path / "place")}
    else:
        wanted = request.getfixturevalue(request.param).settings(f"{BUCKET}/{uuid.uuid4()}")
    settings = msgspec.convert(wanted, Settings)
    return open_storage(settings, roots=[tmp_path], conditional_create=request.param != "seaweed")


async def attached(storage: Storage, keys: Slots | None, *, initialise: bool = False) -> OpenedRepository:
    """The repository as a command has it."""
    found = await attach(
        storage,
        keys=keys,
        initialise=initialise,
        repository_id=REPOSITORY,
        cluster_id=CLUSTER,
        cluster_name="test" if initialise else None,
    )
    return OpenedRepository("d1", storage, REPOSITORY, CLUSTER, OPEN, 4, found.keyring)


@pytest.mark.parametrize("form", ["plain", "encrypted"])
async def test_a_nodes_backups_live_and_die_on_every_store(storage: Storage, form: str, tmp_path: Path) -> None:
    """Promise: backups are put, listed, reused, deleted, swept and read back byte for byte, sealed or not, also after
    the keys were rotated."""
    keys = Slots() if form == "encrypted" else None
    node = Node(tmp_path / "node")
    node.sstable("shop", "orders", 1, 3_000_000)
    node.sstable("shop", "orders", 2, 40_000)
    node.sstable("many", "t1", 1, 500, index=".by_name")
    opened = await attached(storage, keys, initialise=True)
    wanted, put = {}, []
    for tag in ("t1", "t2"):
        keyrings = {} if opened.keyring is None else {"d1": opened.keyring}
        agent = Agent(node, {}, tmp_path / f"state-{tag}", repositories=Repositories({"d1": storage}, keyrings))
        catalogue = Catalogue(opened, RecordCache())
        tables = {"shop": ["orders"], "many": ["t1"]}
        nodes = [PlannedNode(HOST, "127.0.40.1", "dc1", "r1", ["1"])]
        await catalogue.put_plan(Plan(tag, f"b-{tag}", 1.0, "test", CLUSTER, nodes, tables, {"shop": {}}, "v1"))
        outcome = await agent.backup.run(backup(tag))
        assert outcome.state is State.SUCCESS
        assert isinstance(outcome.result, UploadResult)
        put.append(outcome.result.targets["d1"].put_objects)
        done = [NodeRecord(HOST, "127.0.40.1", "success", outcome.result.targets["d1"].sizes)]
        await catalogue.put_record(Record(tag, f"b-{tag}", 1.0, "success", tables, done, 2.0))
        wanted[tag] = node.files()
        node.sstable("shop", "orders", 2, 30_000)
        if keys is not None:
            await rotate(storage, REPOSITORY, PASSPHRASE, [], CHEAP)
            opened = await attached(storage, keys)
            assert opened.keyring is not None
            assert opened.keyring.epoch == len(put) + 1
        if tag == "t2":
            await agent.delete.run(Command("delete", DeleteArguments("t1", target())))
            swept = await agent.sweep.run(Command("sweep", SweepArguments(target(), margin_seconds=0.0)))
            assert isinstance(swept.result, FreedResult)
            assert swept.result.objects > 0
        agent.close()
    assert put[1] < put[0]
    listing = await Catalogue(opened, RecordCache()).listing()
    assert [one.tag for one in listing if not one.deleted] == ["t2"]
    assert (await Catalogue(opened, RecordCache()).view("t2")).complete
    found = await files_of(opened, "t2", HOST, tmp_path / "restored")
    assert {
        (*table.split("."), name): body for table, files in found.items() for name, body in files.items()
    } == wanted["t2"]
    await storage.close()
