"""The agent is killed at each stage of placing, verifying, undoing and cleaning, on a real node whose Cassandra is
stopped and started by it."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence

import aiohttp
import pytest
import pytest_asyncio

from agent.cassandra.staging import make_directory
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.jobs.restore.notes import Fetched, RestoreNotes
from tests.cluster import places
from tests.cluster.moments import PIT_CLEAN, PIT_PLACE, PIT_UNDO, PIT_VERIFY, named
from tests.real.point_in_time.stopping_node import HOST_ID, KEYSPACE, StoppingNode

pytestmark = pytest.mark.asyncio(loop_scope="module")
INDEX = f"CREATE INDEX IF NOT EXISTS asked_v ON {KEYSPACE}.asked (v)"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StoppingNode]:
    async with StoppingNode(places.CASSANDRA_50, tmp_path_factory.mktemp("killed")) as site:
        site.cql(f"ALTER TABLE {KEYSPACE}.asked ADD v int", INDEX)
        yield site


async def ready_to_place(site: StoppingNode) -> set[int]:
    """A job whose backup holds rows 1 and 2 of the asked table, without the files of its index, and not 3; the node has
    rows that it is not to lose. Its rows now."""
    site.begin_job()
    site.cql(f"TRUNCATE {KEYSPACE}.asked")
    for number in (1, 2):
        site.cql(f"INSERT INTO {KEYSPACE}.asked (id, v) VALUES ({number}, 7)")
    await site.node.nodetool("flush", KEYSPACE, "asked")
    held = [path for table in site.node.table_directories(KEYSPACE, "asked") for path in table.glob("nb-*")]
    kept = [(path.name, path.read_bytes()) for path in held]
    site.put("asked", 3)
    site.put("other", 3)
    await site.do("pit_quiesce")
    await site.do("pit_stop")
    await site.fetched()
    state = site.agent.state_directory
    facts = await PlaceNotes(state, site.job).must_facts()
    directory = make_directory(facts.data[0], ("held", KEYSPACE, "asked"))
    for name, content in kept:
        (directory / name).write_bytes(content)
    counts = [len(kept), 0, sum(name.endswith("-Data.db") for name, _ in kept)]
    await RestoreNotes(state, site.job).put_fetched(Fetched("tag", HOST_ID, {KEYSPACE: {"asked": counts}}))
    return {1, 2, 3}


async def resumed(site: StoppingNode, kind: str, moments: Sequence[str]) -> None:
    """A repeatable command for each moment: the agent dies there, and ends it in its next life."""
    for moment in moments:
        await site.agent.stop()
        await site.agent.start_mortal(moment)
        site.fence += 1
        command = f"{kind}-{secrets.token_hex(4)}"
        with contextlib.suppress(aiohttp.ClientError):
            await site.agent.command(kind, site.arguments, job=site.job, fence=site.fence, id=command)
        assert await site.agent.died() == -9
        await site.agent.start()
        view = await site.agent.ended(command)
        assert view["state"] == "success", view["error"]


def files(site: StoppingNode) -> dict[str, int]:
    """Every file of the node's data, hints and log: path → inode."""
    directory = site.node.directory
    return {
        str(path): path.stat().st_ino
        for place in (*site.node.data_directories, directory / "hints", directory / "commitlog")
        for path in place.rglob("*")
        if path.is_file() and not path.is_relative_to(place / ".helenus")
    }


async def test_placing_is_finished_by_the_same_order_after_any_death_and_so_is_the_end(site: StoppingNode) -> None:
    """Promise: killed at each stage and ordered again, the node has exactly what was placed, its index is rebuilt, and
    other tables have every row; what was set aside goes at last."""
    await ready_to_place(site)
    await site.cut(PIT_PLACE)
    await site.do("pit_place")
    await site.do("pit_start")
    rebuilt = (await site.do("pit_verify"))["indexes_rebuilt"]
    assert rebuilt == [f"{KEYSPACE}.asked_v"]
    await resumed(site, "pit_verify", named(PIT_VERIFY, KEYSPACE))
    await site.do("pit_open")
    assert site.rows("asked") == {1, 2}
    assert {row.id for row in site.cql(f"SELECT id FROM {KEYSPACE}.asked WHERE v = 7")} == {1, 2}
    assert 3 in site.rows("other")
    await resumed(site, "pit_clean", PIT_CLEAN)
    assert not [path for path in site.node.directory.rglob(".helenus/**/*") if path.is_file()]


@pytest.mark.parametrize("started", [pytest.param(False, marks=pytest.mark.long), True])
async def test_an_undo_is_finished_by_the_same_order_after_any_death(site: StoppingNode, started: bool) -> None:
    """Promise: killed at each stage and ordered again, the node has its old data, whether it had been started with what
    was placed or not; clients are let in, and no setting is left behind."""
    options = site.options
    rows = await ready_to_place(site)
    before = files(site)
    await site.do("pit_place")
    assert files(site) != before
    if started:
        await site.do("pit_start")
        await site.cut(PIT_UNDO)
    else:
        await site.cut(PIT_UNDO[1:])
    await site.do("pit_undo")
    assert site.rows("asked") == rows
    assert 3 in site.rows("other")
    assert site.options == options
    assert "not running" not in await site.node.nodetool("statusbinary")
    await site.do("pit_clean")
