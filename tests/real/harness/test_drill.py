"""`make drill`: a backup that it makes itself, then that one again from its directories alone, killed, damaged. It has
the demo's own addresses, in a network of its own. Needs root."""

import io
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.cli.screen import Screen
from agent.cli.verifying import verify
from tests.cluster.loopback import OwnLoopback
from tests.cluster.places import CASSANDRA_50, REPOSITORY
from tests.cluster.processes import Child, ProcessError, run
from tests.cluster.rows import DataSet
from tests.demo.story import SEED
from tests.demo.topology import NODES
from tests.drill.__main__ import MADE, WORK
from tests.drill.story import table_directories

pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]
ROWS = 200
DRILL = (sys.executable, "-m", "tests.drill")


class Drills:
    """Runs drills; `places`: the directories of the nodes' parts that the first one made."""

    def __init__(self, network: OwnLoopback) -> None:
        self._shell = [*network.prefix, "env", "-C", str(REPOSITORY)]
        self.places = [MADE / f"agent{number}" / "backups" / "demo" for number in range(1, NODES + 1)]

    async def made(self) -> str:
        """Of a backup that it makes; what it printed. Raises ProcessError."""
        return await run([*self._shell, *DRILL, "--rows", str(ROWS)], deadline=400)

    def argv(self) -> list[str]:
        """Of the backup that is there."""
        return [*self._shell, *DRILL, *(f"--destination={place}" for place in self.places)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def drills(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Drills]:
    async with OwnLoopback(tmp_path_factory.mktemp("drill")) as network:
        yield Drills(network)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def printed(drills: Drills) -> str:
    """By a drill of a backup that it made."""
    return await drills.made()


def rows_of(data: DataSet, *, views: bool) -> int:
    return sum(len(data.expected(spec)) for spec in data.tables if views or spec.view_of is None)


DATA = DataSet(seed=SEED, rows=ROWS, version=CASSANDRA_50, replication=NODES)


async def test_a_drill_restores_every_row_of_every_node(printed: str) -> None:
    """Promise: from the destinations alone one node gets the SSTables of three; sstableverify calls each whole, every
    column of every row is as it was written, indexes and views answer, and nothing of the restored is left."""
    rows = rows_of(DATA, views=True)
    assert re.search(r"sstableverify: (\d+) SSTables of 9 tables .*: all are whole", printed), printed
    assert re.fullmatch(rf"drill: .+: \d+ SSTables whole, {rows} of {rows} rows restored", printed.splitlines()[-1])
    assert not WORK.exists()


async def test_a_killed_drill_is_no_hindrance_to_the_next(printed: str, drills: Drills, tmp_path: Path) -> None:
    """Promise: killed while its node starts, a drill leaves no process that the next one minds; that one finds the
    newest backup by itself and reads as many rows."""
    killed = Child("a drill", drills.argv(), tmp_path / "killed.log", cwd=REPOSITORY)
    killed.start()

    async def scratching() -> bool:
        return "starting a scratch node" in killed.log.read_text()

    await killed.until("starting its node", scratching, 60)
    await killed.kill()
    again = await run(drills.argv(), deadline=300)
    assert again.splitlines()[-1].endswith(f"SSTables whole, {rows_of(DATA, views=False)} rows read")
    assert not WORK.exists()


async def test_a_part_that_is_named_nowhere_is_missed(printed: str, drills: Drills) -> None:
    """Promise: with the directory of one node forgotten the drill fails before it starts anything, and says whose part
    is missing."""
    with pytest.raises(ProcessError, match=r"ended with 3:(?s:.)*the parts of 1 nodes are in none of the destinations"):
        await run(drills.argv()[:-1], deadline=60)


async def test_a_damaged_object_and_a_damaged_sstable_are_told(printed: str, drills: Drills) -> None:
    """Promise: one flipped byte in one object of the last node, and the drill fails by it with exit code 3. A byte
    that flips where no digest looks any more is found by sstableverify, by its file's name."""
    victim = max(drills.places[-1].rglob("data/*/*"), key=lambda path: path.stat().st_size)
    whole = victim.read_bytes()
    flip(victim)
    try:
        with pytest.raises(ProcessError, match=r"ended with 3:(?s:.)*object_damaged(?s:.)*drill: failed"):
            await run(drills.argv(), deadline=120)
    finally:
        victim.write_bytes(whole)
    last = next(drills.places[-1].rglob("*.manifest")).stem
    shutil.rmtree(WORK / "extracted" / last)  # as far as it came
    for path in (WORK / "extracted").glob("*/*/*/*"):
        if path.name.partition("-")[0] != "things":
            shutil.rmtree(path)
    node, said = WORK / "scratch" / "node1", io.StringIO()
    sound, *_ = (WORK / "extracted").rglob("*-Data.db")
    flip(sound)
    tables, tool = table_directories(WORK / "extracted"), node / "launchers" / "sstableverify"
    assert verify(WORK / "extracted", tables, tool, node / "data0", Screen(said)) == 1
    assert f"{sound.relative_to(WORK / 'extracted')}: sstableverify: WARNING: Error verifying" in said.getvalue()


def flip(path: Path) -> None:
    """One byte in the midst of it is another one."""
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
