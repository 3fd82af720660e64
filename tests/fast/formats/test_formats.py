"""Every format that a repository was ever written in is read."""

import asyncio
import json
import tarfile
from pathlib import Path

import pytest

from agent.crypto.keyring import Keyring
from agent.crypto.slots import Unlocking
from agent.model.manifest import MANIFEST_FORMAT
from agent.repository.attach import attach
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.errors import RepositoryFormatNewer
from agent.repository.key_slots import read_slots, unlock
from agent.repository.keys import REPOSITORY as REPOSITORY_KEY
from agent.repository.keys import manifest_key
from agent.repository.manifest import read_manifest
from agent.repository.opened import OpenedRepository
from agent.storage.local.storage import LocalStorage
from agent.storage.protocol import OPEN, Storage
from agent.wire.commands import State
from tests.cluster.whole_backup import files_of
from tests.fast.formats.make import HERE, PASSPHRASE, digest_of
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Agent, Repositories
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup
from tests.oracle.checker import Oracle
from tests.oracle.reader import DirectoryReader

FIXTURES = sorted(path.name.removesuffix(".tar.gz") for path in HERE.glob("*.tar.gz"))
NEWEST = [f"format-{MANIFEST_FORMAT}-encrypted", f"format-{MANIFEST_FORMAT}-plain"]


class Passphrase:
    """The keys as an agent gets them: from the slots, with the passphrase."""

    async def prove(self) -> None:
        """Nothing has to be read."""

    async def keyring(self, storage: Storage, repository_id: str, *, make: bool) -> Keyring:
        assert not make
        return await unlock(await read_slots(storage), repository_id, Unlocking("passphrase", PASSPHRASE))


async def opened(name: str, directory: Path) -> OpenedRepository:
    """The fixture as a local destination."""
    with tarfile.open(HERE / f"{name}.tar.gz") as archive:
        archive.extractall(directory, filter="data")
    storage = LocalStorage(directory, workers=4)
    attached = await attach(
        storage,
        keys=Passphrase() if name.endswith("encrypted") else None,
        initialise=False,
        repository_id=REPOSITORY,
        cluster_id=CLUSTER,
        cluster_name=None,
    )
    return OpenedRepository("d1", storage, REPOSITORY, CLUSTER, OPEN, 4, attached.keyring)


def test_the_present_format_is_among_them() -> None:
    """Promise: whoever changes the format adds its fixture."""
    assert set(NEWEST) <= set(FIXTURES)
    assert "format-1-plain" in FIXTURES


@pytest.mark.parametrize("name", FIXTURES)
async def test_a_repository_of_any_format_is_listed_and_restored(name: str, tmp_path: Path) -> None:
    """Promise: what an earlier version backed up is found, complete, and comes back byte for byte."""
    repository = await opened(name, tmp_path / "repository")
    listing = await Catalogue(repository, RecordCache()).listing()
    expected = json.loads((HERE / f"{name}.json").read_text())
    assert {one.tag for one in listing if not one.deleted} == set(expected)
    for tag, files in expected.items():
        assert (await Catalogue(repository, RecordCache()).view(tag)).complete
        found = await files_of(repository, tag, HOST, tmp_path / "restored")
        assert {table: digest_of(content) for table, content in found.items()} == files
    await repository.storage.close()


@pytest.mark.parametrize("name", FIXTURES)
async def test_a_backup_is_added_to_a_repository_of_any_format(name: str, tmp_path: Path) -> None:
    """Promise: a newer version goes on in an older repository, and what was there stays readable."""
    repository = await opened(name, tmp_path / "repository")
    node = Node(tmp_path / "node")
    node.sstable("shop", "orders", 9, 1_000)
    keyrings = {} if repository.keyring is None else {"d1": repository.keyring}
    agent = Agent(node, {}, tmp_path / "state", repositories=Repositories({"d1": repository.storage}, keyrings))
    assert (await agent.backup.run(backup("t9"))).state is State.SUCCESS
    agent.close()
    for tag in ("t1", "t2", "t9"):
        manifest = await read_manifest(repository, tag, HOST)
        assert [part for one in manifest.head.tables async for part in manifest.parts(one)]
    await repository.storage.close()


@pytest.mark.parametrize("name", NEWEST)
async def test_a_newer_format_is_refused_by_name(name: str, tmp_path: Path) -> None:
    """Promise: what a later version wrote is no damage: the error says that it is newer, and where."""
    repository = await opened(name, tmp_path / "repository")
    manifest = tmp_path / "repository" / manifest_key(CLUSTER, "t1", HOST)
    body = bytearray(manifest.read_bytes())
    body[-81] = 99  # the trailer's format
    manifest.chmod(0o600)
    await asyncio.to_thread(manifest.write_bytes, body)
    with pytest.raises(RepositoryFormatNewer, match="format 99"):
        await read_manifest(repository, "t1", HOST)
    await repository.storage.close()
    about = tmp_path / "repository" / REPOSITORY_KEY
    about.chmod(0o600)
    about.write_text('{"repository_id":"r1","format":99}')
    with pytest.raises(RepositoryFormatNewer, match="format 99"):
        await attach(
            LocalStorage(tmp_path / "repository", workers=1),
            keys=None,
            initialise=False,
            repository_id=REPOSITORY,
            cluster_id=CLUSTER,
            cluster_name=None,
        )


@pytest.mark.parametrize("name", NEWEST)
async def test_a_reader_of_its_own_finds_the_same(name: str, tmp_path: Path) -> None:
    """Promise: what docs/repository.md says is enough to read a repository, key slots and seals included."""
    repository = await opened(name, tmp_path / "repository")
    await repository.storage.close()
    oracle = Oracle(DirectoryReader(tmp_path / "repository"), keys=PASSPHRASE if name.endswith("encrypted") else None)
    oracle.deleted("t0")
    for tag in ("t1", "t2"):
        oracle.expect(tag, [HOST])
    found = oracle.check(idle=True)
    expected = json.loads((HERE / f"{name}.json").read_text())
    assert {tag for tag, _ in found} == set(expected)
