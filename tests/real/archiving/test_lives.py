"""Lives of a real Cassandra 5.0 that end while no agent looks: what is whole is one run, what is lost is told."""

from pathlib import Path

import pytest

from agent.jobs.archiving.seeing import END_UNKNOWN
from agent.plan.segment_names import segment_id
from tests.real.archiving.site import Site

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
