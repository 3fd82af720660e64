"""A backup on its way from one real store to others, each in its own form: the agent's own jobs on real files and
servers, without a Cassandra."""

import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.crypto.keyring import Keyring
from agent.storage.opened import open_storage
from agent.storage.protocol import Storage
from agent.wire.commands import State, SyncArguments
from agent.wire.destinations import Settings
from agent.wire.results import UploadResult
from tests.cluster.azurite import Azurite
from tests.cluster.stores import BUCKET, Versity
from tests.cluster.whole_backup import files_of
from tests.fast.jobs.agent_in_memory import Agent, Command, Repositories, target
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup
from tests.real.storage.test_encrypted_repository import Slots, attached


def opened_at(wanted: dict[str, Any], roots: Path) -> Storage:
    return open_storage(msgspec.convert(wanted, Settings), roots=[roots], conditional_create=True)


@pytest.mark.parametrize("form", ["plain", "encrypted"])
async def test_a_backup_goes_from_s3_to_a_directory_and_to_azure(
    form: str, tmp_path: Path, versity: Versity, azurite: Azurite
) -> None:
    """Promise: from a bucket to a directory and a container, one of them under another key, every byte comes over and
    what was there before is not put again."""
    (tmp_path / "place").mkdir()
    stores: dict[str, Storage] = {
        "s3": opened_at(versity.settings(f"{BUCKET}/{uuid.uuid4()}"), tmp_path),
        "local": opened_at({"provider": "local", "path": str(tmp_path / "place")}, tmp_path),
        "azure": opened_at(azurite.settings(f"{BUCKET}/{uuid.uuid4()}"), tmp_path),
    }
    sealed = {"azure"} if form == "plain" else {"s3", "local"}
    keys = {name: Slots() if name in sealed else None for name in stores}
    opened = {name: await attached(storage, keys[name], initialise=True) for name, storage in stores.items()}
    keyrings: dict[str, Keyring] = {name: one.keyring for name, one in opened.items() if one.keyring is not None}
    assert keyrings.keys() == sealed
    node = Node(tmp_path / "node")
    node.sstable("shop", "orders", 1, 20_000_000)
    node.sstable("many", "t1", 1, 500, index=".by_name")
    agent = Agent(node, {}, tmp_path / "state", repositories=Repositories(stores, keyrings))
    await agent.backup.run(backup("t0", "local"))
    node.sstable("shop", "orders", 2, 40_000)
    await agent.backup.run(backup("t1", "s3"))
    wanted = node.files()
    for table in node.tables:
        for path in node.table(*table).rglob("nb-*"):
            path.unlink()  # only the stores have it
    arguments = SyncArguments("t1", [target("local"), target("azure")], source=target("s3"), source_host_id=HOST)
    outcome = await agent.sync.run(Command("sync", arguments))
    assert outcome.state is State.SUCCESS
    assert isinstance(outcome.result, UploadResult)
    assert 0 < outcome.result.targets["local"].put_bytes < 1_000_000
    for name in ("local", "azure"):
        found = await files_of(opened[name], "t1", HOST, tmp_path / f"restored {name}")
        assert {
            (*table.split("."), file): body for table, files in found.items() for file, body in files.items()
        } == wanted
    agent.close()
    for storage in stores.values():
        await storage.close()
