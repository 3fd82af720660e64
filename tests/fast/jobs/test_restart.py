"""A restart in its steps, with scripts that stand in for Cassandra. Real nodes: tests/real/point_in_time."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.cassandra.commit_log.errors import ArchivingRefused
from agent.cassandra.errors import CassandraUnavailable
from agent.cassandra.jvm_options import JvmOptions
from agent.cassandra.node import CassandraNode
from agent.cassandra.protocol import MemberState
from agent.cassandra.service_errors import CassandraNotStarted, DrainFailed
from agent.jobs.restart import RestartJob
from agent.jobs.restore.errors import NodesMoving
from agent.model.refusals import TooLate
from agent.wire.archiving import RestartArguments, RestartResult
from tests.fast.cassandra.launched import Launched
from tests.fast.restore.context import Context


class Site:
    """A node of two, the other one up; `steps`: what was ordered, in its order."""

    def __init__(self, directory: Path) -> None:
        self.launched = Launched(directory)
        self.members = {"a": MemberState(True, "NORMAL"), "b": MemberState(True, "NORMAL")}
        self.context = Context(RestartArguments())
        node = SimpleNamespace(
            service=self.launched.service,
            orders=self.launched.orders,
            jvm=JvmOptions(None),
            settings=self.launched.settings,
            view=SimpleNamespace(life=self._life),
            control=SimpleNamespace(members=self._members),
        )
        self.job = RestartJob(cast(CassandraNode, node), self._before_stop, lambda: 1_000.0)
        self.cql = True

    @property
    def steps(self) -> list[str]:
        return [call for call in self.launched.calls if call in ("drain", "before the stop", "stop", "start")]

    async def run(self, *, drain: bool = False) -> RestartResult:
        self.context.arguments = RestartArguments(drain)
        return cast(RestartResult, (await self.job.run(self.context)).result)

    async def _life(self) -> Any:
        if not self.cql:
            raise CassandraUnavailable("no CQL")

    async def _members(self) -> dict[str, MemberState]:
        return self.members

    async def _before_stop(self) -> None:
        with (self.launched.directory / "calls").open("a") as calls:
            calls.write("before the stop\n")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.launched.end()


async def test_a_node_is_drained_when_asked_and_looked_after_before_its_stop(site: Site) -> None:
    """Promise: in this order; one that is down is only started."""
    assert (await site.run(drain=True)).drained is False
    assert site.steps == ["start"]
    site.launched.say(mode="NORMAL")
    stopping = site.launched.directory / "stop"
    stopping.write_text(stopping.read_text() + f"echo NORMAL > {site.launched.directory}/mode\n")
    assert (await site.run(drain=True)).drained is True
    assert site.steps == ["start", "before the stop", "drain", "stop", "start"]
    assert site.context.stages.entered[-4:] == ["draining", "stopping", "starting", "asking the node"]


async def test_what_refuses_the_stop_does_so_before_the_drain(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a node is not left drained, and so out of service, for segments that can't be archived."""
    await site.run()

    async def refuses() -> None:
        raise ArchivingRefused("they can't be archived")

    monkeypatch.setattr(site.job, "_before_stop", refuses)
    with pytest.raises(ArchivingRefused):
        await site.run(drain=True)
    assert site.steps == ["start"]


async def test_a_drain_that_fails_stops_nothing(site: Site) -> None:
    """Promise: a node that can't be drained runs on, and the command says so."""
    await site.run()
    script = site.launched.directory / "nodetool"
    script.write_text(script.read_text().replace("drain) echo DRAINED", "drain) echo NORMAL"))
    with pytest.raises(DrainFailed):
        await site.run(drain=True)
    assert "stop" not in site.steps
    assert await site.launched.service.alive()


async def test_a_node_on_its_way_is_not_stopped(site: Site) -> None:
    """Promise: nothing that moves data between nodes is broken off."""
    await site.run()
    site.launched.say(mode="JOINING")
    with pytest.raises(NodesMoving):
        await site.run()
    assert "stop" not in site.steps


async def test_a_node_that_does_not_see_its_neighbours_has_not_come_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: whom it held for up before must be so after it, and CQL must answer; else the command fails, so that no
    further node is restarted."""
    monkeypatch.setattr("agent.jobs.restart._ANSWER_SECONDS", 0.2)
    await site.run()
    states = iter([site.members])

    async def members() -> dict[str, MemberState]:
        return next(states, {"a": MemberState(True, "NORMAL"), "b": MemberState(False, "NORMAL")})

    monkeypatch.setattr(site.job._node.control, "members", members)
    with pytest.raises(CassandraNotStarted) as alone:
        await site.run()
    assert "does not see b up" in alone.value.message
    site.cql = False
    with pytest.raises(CassandraNotStarted) as silent:
        await site.run()
    assert "does not answer by CQL" in silent.value.message


async def test_after_its_time_nothing_is_stopped(site: Site) -> None:
    """Promise: a command that waited too long in its queue takes no node down."""
    await site.run()
    site.context.not_after = 999.0
    with pytest.raises(TooLate):
        await site.run()
    assert "stop" not in site.steps
