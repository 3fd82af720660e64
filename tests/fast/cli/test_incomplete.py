"""Extract and drill of a backup of which a node's part, or a table, is not there."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.opened import OpenedRepository
from agent.storage.local.storage import LocalStorage
from agent.storage.protocol import OPEN
from agent.wire.backups import Plan, PlannedNode
from tests.fast.cli.conftest import TABLES, Place, made
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY
from tests.fast.jobs.node import HOST

LOST = "99999999-2222-3333-4444-555555555555"


@pytest.fixture
async def incomplete(tmp_path: Path) -> Place:
    """`t1` was planned for two nodes and has the manifest of one."""
    return await _planned(await made(tmp_path, None), [HOST, LOST], [])


async def _planned(place: Place, hosts: list[str], away: list[str]) -> Place:
    """`t1` with a plan for these nodes, taken without those that were away."""
    next(place.root.rglob("plan.json")).unlink()
    storage = LocalStorage(place.root)
    catalogue = Catalogue(OpenedRepository("d1", storage, REPOSITORY, CLUSTER, OPEN, 4), RecordCache())
    nodes = [PlannedNode(host, "127.0.0.1", "dc1", "r1", ["0"]) for host in hosts]
    await catalogue.put_plan(Plan("t1", "adhoc", 1_700_000_000.0, "prod", CLUSTER, nodes, TABLES, {}, "v", away))
    await storage.close()
    return place


@pytest.mark.parametrize("command", [("drill", "--into", "out"), ("check",)])
async def test_a_backup_that_was_taken_without_a_node_is_not_complete(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Promise: what was accepted when the backup was made is no proof that every row is there: the node is named."""
    place = await _planned(await made(tmp_path, None), [HOST], [LOST])
    name, *more = command
    arguments = ["t1", *more[:1], *(str(tmp_path / each) for each in more[1:])]
    code, told = await asyncio.to_thread(place.run, name, *arguments)
    assert code == 3
    assert f"without 1 of its 2 nodes (1 of them away when it was taken): {LOST}" in told


@pytest.mark.parametrize("command", ["extract", "drill"])
def test_a_node_without_a_manifest_is_named(incomplete: Place, tmp_path: Path, command: str) -> None:
    """Promise: what is there is extracted, the nodes that are not are named, and exit code 3 says that this is no proof
    of the backup; of one node that was asked for it is."""
    into = tmp_path / "out"
    code, told = incomplete.run(command, "t1", "--into", str(into))
    assert code == 3
    assert f"t1: NOT COMPLETE: without 1 of its 2 nodes: {LOST}" in told
    assert "a directory of its own" in told
    assert list(into.rglob("nb-1-big-Data.db"))
    code, told = incomplete.run(command, "t1", "--into", str(into), "--node", HOST)
    assert (code, "COMPLETE" in told) == (0, False), told


def test_a_directory_that_every_node_sees_is_no_node_of_its_own(incomplete: Place, tmp_path: Path) -> None:
    """Promise: nobody looks for the missing parts in other directories where there are none."""
    settings = {"provider": "local", "path": str(incomplete.root), "shared": True}
    incomplete.file.write_bytes(msgspec.json.encode(settings))
    code, told = incomplete.run("extract", "t1", "--into", str(tmp_path / "out"))
    assert (code, "NOT COMPLETE" in told, "a directory of its own" in told) == (3, True, False), told


@pytest.mark.parametrize("body", [None, b"{}"])
def test_without_a_plan_that_can_be_read_nothing_is_proved(place: Place, tmp_path: Path, body: bytes | None) -> None:
    """Promise: which nodes the backup should have is unknown then, and so it is said; exit code 3."""
    plan = next(place.root.rglob("plan.json"))
    plan.unlink() if body is None else plan.write_bytes(body)
    code, told = place.run("drill", "t1", "--into", str(tmp_path / "out"))
    assert (code, "NOT COMPLETE" in told, "plan" in told) == (3, True, True), told
    assert "all are whole" in told


def test_a_backup_without_any_manifest_has_nothing_to_extract(place: Place, tmp_path: Path) -> None:
    """Promise: it isn't called unknown: the nodes of its plan are named."""
    next(place.root.rglob("*.manifest")).unlink()
    code, told = place.run("extract", "t1", "--into", str(tmp_path / "out"))
    assert (code, f"without 1 of its 1 nodes: {HOST}" in told) == (3, True), told


@pytest.mark.parametrize("command", ["extract", "drill"])
async def test_a_table_that_was_left_out_of_the_backup_is_named(tmp_path: Path, command: str) -> None:
    """Promise: what was damaged when the backup was made is no part of it, however whole the rest is: exit code 3, also
    of one node; of other tables that were asked for it is 0."""
    place = await made(tmp_path, None, bad="bad")
    into = str(tmp_path / "out")
    for more in ((), ("--node", HOST), ("--keyspace", "many")):
        code, told = await asyncio.to_thread(place.run, command, "t1", "--into", into, *more)
        assert code == 3, told
        assert f"t1: NOT COMPLETE: many.bad of {HOST} was left out, or a file of it: sstable_corrupt" in told
    for more in (("--keyspace", "shop"), ("--table", "t1")):
        code, told = await asyncio.to_thread(place.run, command, "t1", "--into", into, *more)
        assert (code, "COMPLETE" in told) == (0, False), told


async def test_a_list_says_what_is_not_complete_though_nobody_recorded_how_it_ended(tmp_path: Path) -> None:
    """Promise: without a final record each manifest's own head tells whether its node's part is complete."""
    rows = {}
    for bad in ("", "bad"):
        place = await made(tmp_path / (bad or "good"), None, bad=bad)
        for record in place.root.rglob("catalogue/t1/*"):
            record.unlink()
        code, told = await asyncio.to_thread(place.run, "list")
        rows[bad] = (code, told.splitlines()[1].split()[3:6])
    assert rows == {"": (0, ["?", "1/1", "yes"]), "bad": (0, ["?", "1/1", "no"])}
