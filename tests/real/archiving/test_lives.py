"""Lives of a real Cassandra 5.0 that end while no agent looks: what is whole is one run, what is lost is told."""

from pathlib import Path

import pytest

from agent.jobs.archiving.seeing import END_UNKNOWN
from agent.plan.segment_names import segment_id
from tests.real.archiving.site import Site

UNDER_WAY_SECONDS = 1.0
"""A row may be so long under way from its sending to the log."""

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


async def test_a_life_that_ended_while_the_agent_was_away(tmp_path: Path) -> None:
    """Promise: Cassandra killed and started again without an agent is no gap, for its log is offered at the start and
    ends with an empty segment; when what it wrote last is lost with its volume, that is told from the last segment that
    is there to the next start, by the agent and in every destination."""
    async with Site(tmp_path) as site:
        await site.write(0)
        await site.order()
        await site.restart()
        await site.until(lambda view: view["state"] == "on")
        await site.write(3)
        await _killed_without_agent(site)
        await site.agent.start()
        view = await site.until(lambda view: view["state"] == "on" and not list(site.archive.glob("CommitLog-*")))
        assert view["gaps"] == []
        await _killed_without_agent(site, lost=True)
        await site.write(2)
        left = sorted(site.archive.glob("CommitLog-*"), key=lambda path: segment_id(path.name))
        await site.agent.start()
        view = await site.until(lambda view: view["gaps"] and not list(site.archive.glob("CommitLog-*")))
        (gap,) = view["gaps"]
        assert gap["reason"] == END_UNKNOWN
        assert gap["after"] in [path.name for path in left]
        assert gap["since"] < gap["until"] == segment_id(gap["before"]) / 1000
        for name in site.targets:
            records = [record async for record, _ in site.each_stored(name, tmp_path / name)]
            (first,) = [record for record in records if record.name == gap["before"]]
            assert not first.follows
            assert sum(not record.follows for record in records) == 2  # and the first of all


@pytest.mark.parametrize("killed", [False, True])
async def test_all_that_was_written_since_the_log_is_said_to_begin_is_there(tmp_path: Path, *, killed: bool) -> None:
    """Promise: the Cassandra that runs when archiving is ordered has discarded some of its log; drained or killed for
    the restart, every row that was sent since the archive is said to begin is in what was archived, while rows of
    before, of the same life, are not."""
    async with Site(tmp_path) as site:
        await site.write(3)
        await site.node.nodetool("flush")
        await site.order()
        await site.write(3)
        if killed:
            site.cluster.close_sessions()
            await site.node.kill()
            await site.node.start()
        else:
            await site.restart()
        await site.until(lambda view: view["state"] == "on")
        await site.write(3)
        await site.until(lambda view: view["places"]["here"]["newest"])
        view = await site.until(lambda view: not list(site.archive.glob("CommitLog-*")))
        place = view["places"]["here"]
        since, until = place["safe_since"], place["safe_until"]
        archived = b"".join([path.read_bytes() async for _, path in site.each_stored("here", tmp_path / "here")])
        missing = [sent for sent, body in site.sent if body not in archived]
        wanted = [sent for sent, _ in site.sent if since <= sent < until - UNDER_WAY_SECONDS]
        assert wanted
        assert not {*missing} & {*wanted}
        assert min(missing) < since


async def _killed_without_agent(site: Site, *, lost: bool = False) -> None:
    """The agent dies, Cassandra writes on, dies and is started; `lost`: without what it had in its directory."""
    await site.agent.kill()
    await site.write(3)
    site.cluster.close_sessions()
    await site.node.kill()
    if lost:
        for path in (site.node.directory / "commitlog").iterdir():
            path.unlink()
    await site.node.start()
