"""Promise: a backup has what Cassandra put into its snapshot on every disk, or fails; it is never quietly smaller."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from agent.cassandra.errors import DataDirectoriesDiffer, NoDataDirectories, SnapshotMissing
from agent.cassandra.node_directories import NodeDirectories
from agent.cassandra.settings import CassandraSettings, SpaceSettings
from agent.wire.commands import SnapshotArguments
from agent.wire.node import NodeIdentity, Tables
from tests.fast.cassandra.directory_control import ID, DirectoryControl
from tests.fast.cassandra.schemaless import SchemalessSnapshots

IDENTITY = NodeIdentity("h", "127.0.0.1", "c", "dc1", "r1", ["0"], "5.0.9", "Murmur3Partitioner", "v")


class Cassandra(DirectoryControl):
    """A node with data directories `disks`, each of which holds an SSTable of shop.orders. It says that it has `named`
    (what it has, until a test says otherwise), and writes its manifest.json to the disk `writes_to`."""

    def __init__(self, root: Path, *names: str) -> None:
        super().__init__(root / names[0])
        self.root = root
        self.disks: list[str] = []
        self.named: list[str] | None = None
        self.writes_to = 0
        self.system: str | None = None
        self.asked = 0
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """A new disk, and what Cassandra has flushed to it."""
        self.disks.append(str(self.root / name))
        live = Path(self.disks[-1], "shop", f"orders-{ID}")
        live.mkdir(parents=True)
        (live / f"nb-{len(self.disks)}-big-Data.db").write_bytes(name.encode())

    async def setting(self, *names: str) -> str | None:
        self.asked += 1
        named = self.disks if self.named is None else self.named
        return {
            "data_file_directories": f"[{', '.join(named)}]",
            "local_system_data_file_directory": self.system,
            "commitlog_directory": str(self.root),
        }[names[0]]

    async def identity(self) -> NodeIdentity:
        return IDENTITY

    async def clear_snapshot(self, tag: str) -> None:
        for directory in self.root.glob(f"*/*/*/snapshots/{tag}"):
            shutil.rmtree(directory)

    async def snapshot(self, tag: str, tables: Tables, ttl_seconds: int | None) -> None:
        named = []
        for disk in map(Path, self.disks):
            target = disk / f"shop/orders-{ID}/snapshots/{tag}"
            target.mkdir(parents=True)
            for path in sorted(target.parents[1].glob("*.db")):
                (target / path.name).hardlink_to(path)
                named.append(path.name)
        manifest = Path(self.disks[self.writes_to], f"shop/orders-{ID}/snapshots/{tag}/manifest.json")
        manifest.write_text(json.dumps({"files": named, "created_at": "2026-01-01T00:00:00Z", "ephemeral": False}))


class Site:
    """An agent beside that node, for as long as a process lives."""

    def __init__(self, cassandra: Cassandra, *listed: str) -> None:
        space = SpaceSettings(backup_free=0.0)
        settings = CassandraSettings(data_directories=listed, space=space, snapshot_ttl_seconds=0)
        node: Any = cassandra
        nothing: Any = None
        self.directories = NodeDirectories(settings, node)
        self.snapshots = SchemalessSnapshots(
            settings, node, nothing, node, nothing, self.directories, cassandra.root / "state", lambda: 1_000.0
        )

    async def backup(self, tag: str) -> list[tuple[int, str]]:
        """Take the snapshot; disk and name of all Data files in it."""
        await self.snapshots.take(SnapshotArguments(tag, keep=True), f"command-{tag}")
        return await self.data_files(tag)

    async def data_files(self, tag: str) -> list[tuple[int, str]]:
        (table,) = await self.snapshots.inventory(tag)
        return [(file.volume, file.name) for file in table.files if file.name.endswith("Data.db")]


async def test_a_disk_that_was_added_while_the_agent_runs_is_in_the_next_backup(tmp_path: Path) -> None:
    """The operator adds a directory to cassandra.yaml and starts Cassandra anew; nobody starts the agent."""
    cassandra = Cassandra(tmp_path, "data1")
    site = Site(cassandra)
    assert await site.backup("t1") == [(0, "nb-1-big-Data.db")]
    cassandra.add("data2")
    assert await site.backup("t2") == [(0, "nb-1-big-Data.db"), (1, "nb-2-big-Data.db")]
    info = await site.snapshots.info("t2")
    assert info is not None
    assert list(info.data_directories) == cassandra.disks
    assert await site.data_files("t1") == [(0, "nb-1-big-Data.db")]


@pytest.mark.parametrize("writes_to", [0, 1])
async def test_files_on_a_disk_that_the_agent_does_not_know_are_missed(tmp_path: Path, writes_to: int) -> None:
    """Wherever Cassandra wrote what it put into the snapshot: then the list itself is missing."""
    cassandra = Cassandra(tmp_path, "data1", "data2")
    cassandra.named, cassandra.writes_to = cassandra.disks[:1], writes_to
    lost = "manifest.json" if writes_to else "nb-2-big-Data.db"
    with pytest.raises(SnapshotMissing, match=lost) as caught:
        await Site(cassandra).backup("t1")
    assert caught.value.fields["files"] == [f"shop.orders/{lost}"]


@pytest.mark.parametrize("content", [b"", b'{"files": [1]}', b"{}"])
async def test_a_list_that_can_not_be_read_is_no_proof(tmp_path: Path, content: bytes) -> None:
    """Promise: a snapshot whose own list is damaged is refused, for nobody knows what it should hold."""
    cassandra = Cassandra(tmp_path, "data1")
    site = Site(cassandra)
    await site.backup("t1")
    manifest = tmp_path / f"data1/shop/orders-{ID}/snapshots/t1/manifest.json"
    manifest.write_bytes(content)
    with pytest.raises(SnapshotMissing, match=r"manifest\.json"):
        await site.data_files("t1")
    (table,) = await site.snapshots.inventory("t1", {"shop": ["orders"]})  # for a restore: its own manifest tells
    assert len(table.files) == 2


async def test_a_snapshot_that_went_from_one_disk_is_missed(tmp_path: Path) -> None:
    """The table has a directory on the other one."""
    cassandra = Cassandra(tmp_path, "data1", "data2")
    site = Site(cassandra)
    await site.backup("t1")
    (tmp_path / f"data2/shop/orders-{ID}/snapshots/t1").rename(tmp_path / "gone")
    with pytest.raises(SnapshotMissing, match="nb-2-big-Data"):
        await site.data_files("t1")


async def test_a_legacy_index_is_named_by_its_directory_too(tmp_path: Path) -> None:
    """Promise: an index's Data.db counts wherever the list names it."""
    cassandra = Cassandra(tmp_path, "data1")
    site = Site(cassandra)
    await site.backup("t1")
    place = tmp_path / f"data1/shop/orders-{ID}/snapshots/t1"
    (place / ".by_name").mkdir()
    (place / ".by_name/nb-7-big-Data.db").write_bytes(b"x")
    (place / "manifest.json").write_text('{"files": ["nb-1-big-Data.db", ".by_name/nb-7-big-Data.db"]}')
    assert await site.data_files("t1") == [(0, ".by_name/nb-7-big-Data.db"), (0, "nb-1-big-Data.db")]
    (place / ".by_name/nb-7-big-Data.db").unlink()
    with pytest.raises(SnapshotMissing, match=r"\.by_name/nb-7-big-Data"):
        await site.data_files("t1")


async def test_settings_that_leave_out_a_disk_are_refused_by_its_name(tmp_path: Path) -> None:
    """Promise: no snapshot is taken of a part of the node's data directories."""
    cassandra = Cassandra(tmp_path, "data1", "data2")
    with pytest.raises(DataDirectoriesDiffer, match="data2") as caught:
        await Site(cassandra, cassandra.disks[0]).backup("t1")
    assert caught.value.fields["directories"] == [cassandra.disks[1]]
    assert not list(tmp_path.glob("*/shop/*/snapshots/*"))


async def test_settings_may_name_a_disk_by_another_path(tmp_path: Path) -> None:
    """A link to it, or one that Cassandra does not use."""
    cassandra = Cassandra(tmp_path, "data1", "data2")
    (tmp_path / "link").symlink_to(cassandra.disks[1])
    (tmp_path / "unused").mkdir()
    site = Site(cassandra, cassandra.disks[0], str(tmp_path / "link"), str(tmp_path / "unused"))
    assert await site.backup("t1") == [(0, "nb-1-big-Data.db"), (1, "nb-2-big-Data.db")]


async def test_the_system_keyspaces_may_have_a_directory_of_their_own(tmp_path: Path) -> None:
    """`local_system_data_file_directory`: snapshots are read there too, but no restore ever stages anything there."""
    cassandra = Cassandra(tmp_path, "data1", "system")
    cassandra.named, cassandra.system = cassandra.disks[:1], cassandra.disks[1]
    for site in (Site(cassandra), Site(cassandra, cassandra.disks[0])):
        assert await site.directories.every() == tuple(cassandra.disks)
        assert await site.directories.data() == tuple(cassandra.disks[:1])
    assert await site.backup("t1") == [(0, "nb-1-big-Data.db"), (1, "nb-2-big-Data.db")]


async def test_a_snapshot_is_found_where_the_data_was_moved_to(tmp_path: Path) -> None:
    """And its files are counted by the disks that it was taken on, in whatever order the node names them now."""
    cassandra = Cassandra(tmp_path, "data1", "data2")
    site = Site(cassandra)
    before = await site.backup("t1")
    cassandra.disks.reverse()
    assert await site.backup("t2") == [(1, "nb-1-big-Data.db"), (0, "nb-2-big-Data.db")]
    assert await site.data_files("t1") == before
    (tmp_path / "data1").rename(tmp_path / "data3")
    cassandra.disks = [str(tmp_path / "data2"), str(tmp_path / "data3")]
    assert await Site(cassandra).data_files("t1") == before
    (tmp_path / "data2").rename(tmp_path / "gone")
    with pytest.raises(NoDataDirectories, match="data2"):
        await Site(cassandra).data_files("t1")


async def test_the_report_on_the_node_shows_a_new_disk(tmp_path: Path) -> None:
    """Free space is looked at there too."""
    cassandra = Cassandra(tmp_path, "data1")
    site = Site(cassandra)
    await site.directories.fresh()
    cassandra.add("data2")
    assert await site.directories.fresh() == await site.directories.data() == tuple(cassandra.disks)
    asked = cassandra.asked
    assert await Site(cassandra, cassandra.disks[0]).directories.fresh() == (cassandra.disks[0],)
    assert cassandra.asked == asked
