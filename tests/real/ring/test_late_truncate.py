"""The most dangerous moment of a restore, on three real nodes: the agent that truncates is lost there and comes back
late, or stands still and is woken up. No row that was restored is lost, with and without `force`."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import pytest_asyncio
from cassandra.cluster import Session

from tests.cluster import sessions
from tests.cluster.comparison import compare_every_column
from tests.cluster.crash_site import SLOWER
from tests.cluster.rows import DataSet
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import AgentProcess, CoordinatorProcess, share_token
from tests.cluster.victims import until_stopped
from tests.oracle.checker import Oracle
from tests.oracle.reader import DirectoryReader

pytestmark = pytest.mark.asyncio(loop_scope="module")

FENCE, MARGIN = 6.0 * SLOWER, 16.0 * SLOWER
"""Seconds, not ten minutes each: the time a TRUNCATE may wait to begin, and how long after it `force` goes on. Together
longer than the coordinator takes to see that an agent is lost (it asks for each command every 10 seconds)."""
ROWS = 200
TABLES = ("orders", "visits")
TRUNCATING = "truncate:truncating {}.orders:stop"
TRUNCATED = "truncate:success:before"


class Ring:
    """Three nodes with their agents and a coordinator of little patience."""

    def __init__(self, directory: Path, cluster: ScratchCluster) -> None:
        self.cluster = cluster
        self.agents = [
            AgentProcess(node, directory / f"agent{number}", jolokia=True)
            for number, node in enumerate(cluster.nodes, 1)
        ]
        share_token(self.agents)
        patience = {"fence_seconds": FENCE, "force_margin_seconds": MARGIN, "agent_return_seconds": 20.0 * SLOWER}
        self.coordinator = CoordinatorProcess(
            self.agents,
            directory / "coordinator",
            cluster="ring",
            cluster_name=cluster.name,
            changes={"orchestration": patience, "clusters": {"ring": {"request_seconds": 10.0 * SLOWER}}},
        )
        self.data = DataSet(
            seed=11, rows=ROWS, version=cluster.version, replication=3, prefix=f"late{secrets.token_hex(3)}"
        )
        self.data.tables = [spec for spec in self.data.tables if spec.name in TABLES]
        self.keyspace = self.data.keyspaces[0]
        self.tag = ""
        self.oracles = {
            agent.address: Oracle(DirectoryReader(agent.local_root / "late"), per_node=True) for agent in self.agents
        }
        self.session: Session

    async def __aenter__(self) -> Self:
        self.session = await self.cluster.session()
        await self.data.create(self.session)
        await self.data.write(self.session)
        for agent in self.agents:
            await agent.start()
        await self.coordinator.start()
        made = await self.ask("POST", "/backups/destinations", {"provider": "local", "path": "late"})
        await self.ended(made["request_id"])
        self.place = made["destination_id"]["id"]
        backup = await self.ask(
            "POST", "/backups/run", {"keyspaces": [self.keyspace], "destinations": {self.place: {}}}
        )
        status = await self.ended(backup)
        assert status["state"] == "success", status
        self.tag = status["tag"]
        for address, part in status["details"]["subrequests"].items():
            self.oracles[address].expect(self.tag, [part["host_id"]])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.coordinator.stop()
        for agent in self.agents:
            await agent.stop()
        for name in self.data.keyspaces:
            await asyncio.to_thread(self.session.execute, f'DROP KEYSPACE IF EXISTS "{name}"', timeout=120)

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        return await self.coordinator.ask(method, f"/ring{path}", body)

    async def status(self, request: str) -> dict[str, Any]:
        status: dict[str, Any] = await self.coordinator.ask("GET", f"/request/{request}/status")
        return status

    async def ended(self, request: str, deadline: float = 180.0 * SLOWER) -> dict[str, Any]:
        async with asyncio.timeout(deadline):
            while (status := await self.status(request))["state"] == "running":  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        return status

    async def restore(self, *, force: bool) -> str:
        """Rows that came later, then the restore with truncate; the request."""
        insert = self.session.prepare(f"INSERT INTO {self.keyspace}.orders (customer, id) VALUES (?, ?)")
        await asyncio.to_thread(self.session.execute, insert, ("later", 1))
        return str(await self.post_restore(force=force))

    async def post_restore(self, *, force: bool) -> Any:
        body = {"destination": self.place, "keyspaces": {self.keyspace: {"truncate": True}}, "force": force}
        return await self.ask("POST", f"/backups/restore/{self.tag}", body)

    async def speaker(self) -> AgentProcess:
        """The agent that will truncate: that of the lowest host id."""
        hosts = {await host_of(agent): agent for agent in self.agents}
        return hosts[min(hosts)]

    async def arm(self, moment: str) -> AgentProcess:
        """The agent that will truncate, started anew to die or stand still there."""
        agent = await self.speaker()
        await agent.stop()
        await agent.start_mortal(moment.format(self.keyspace))
        return agent

    async def named_as_lost(self, request: str, agent: AgentProcess) -> None:
        """Wait until the running request says that this agent does not answer."""
        async with asyncio.timeout(120 * SLOWER):
            while True:
                status = await self.status(request)
                assert status["state"] == "running", status
                errors = status["details"]["subrequests"][agent.address]["details"].get("errors", [])
                if any(error["code"] == "agent_unreachable" for error in errors):
                    return
                await asyncio.sleep(0.2)

    async def told(self, agent: AgentProcess, request: str) -> set[str]:
        """What kinds of commands an agent got of the job."""
        return {one["kind"] for one in await agent.ask("GET", f"/v1/commands?job={request}")}

    async def nobody_else_went_on(self, request: str, lost: AgentProcess) -> None:
        """The others were neither told to truncate in its place nor to import."""
        for agent in self.agents:
            if agent is not lost:
                assert await self.told(agent, request) <= {"preflight", "fetch"}

    async def truncated_at(self) -> list[int]:
        """When each node truncated the large table last."""
        found = []
        for agent in self.agents:
            report = await agent.ask("GET", "/v1/node?truncations=true")
            found.append(report["truncated_at"][report["keyspaces"][self.keyspace]["tables"]["orders"]])
        return found

    async def counts(self, without: AgentProcess) -> dict[str, int]:
        """Rows of the large table at ONE on each node but that agent's."""
        found = {}
        for agent in self.agents:
            if agent is not without:
                session = await sessions.session_one(agent.node)
                rows = await asyncio.to_thread(session.execute, f"SELECT COUNT(*) FROM {self.keyspace}.orders")
                found[agent.address] = int(rows.one()[0])
                await asyncio.to_thread(sessions.close, session)
        return found

    async def all_is_well(self) -> None:
        """Every row on every replica, the oracles green, nothing staged."""
        await compare_every_column(self.data, self.cluster.nodes)
        for agent in self.agents:
            assert list(self.oracles[agent.address].check(idle=True)) == [(self.tag, await host_of(agent))]
            assert not [path for path in agent.node.directory.glob("**/.helenus/**/*") if path.is_file()]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ring(three_nodes_50: ScratchCluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ring]:
    async with Ring(tmp_path_factory.mktemp("late-truncate"), three_nodes_50) as ring:
        yield ring


async def test_killed_after_truncate_it_is_waited_for(ring: Ring) -> None:
    """The tables are empty and nobody knows: the job waits and names the agent, also past every deadline, nobody goes
    on in its place; back again it is told again, and every row is restored on every replica."""
    lost = await ring.arm(TRUNCATED)
    request = await ring.restore(force=False)
    assert await lost.died() == -9
    await ring.named_as_lost(request, lost)
    await asyncio.sleep(FENCE + MARGIN + 2)  # what must not happen then
    await ring.named_as_lost(request, lost)
    await ring.nobody_else_went_on(request, lost)
    await lost.start()
    status = await ring.ended(request)
    assert status["state"] == "success", status
    assert "interrupted" in {one["state"] for one in await lost.ask("GET", f"/v1/commands?job={request}")}
    await ring.all_is_well()


@pytest.mark.long
async def test_killed_after_truncate_force_goes_on_and_its_return_loses_nothing(ring: Ring) -> None:
    """Past the deadline and the margin the others import; the agent that comes back truncates nothing; the same restore
    posted again finishes its node."""
    lost = await ring.arm(TRUNCATED)
    request = await ring.restore(force=True)
    assert await lost.died() == -9
    await ring.named_as_lost(request, lost)
    await ring.nobody_else_went_on(request, lost)
    await _forced(ring, request, lost)
    restored = await ring.counts(without=lost)
    assert set(restored.values()) == {ROWS}
    await lost.start()
    assert await ring.counts(without=lost) == restored
    await _finished_by_posting_again(ring, lost, request)


async def test_stopped_between_check_and_truncate_it_is_waited_for(ring: Ring) -> None:
    """SIGSTOP exactly there: the job waits and names the agent, nobody truncates in its place and nobody imports. Woken
    up after its time it truncates no more, is told again, and every row is restored."""
    lost = await ring.arm(TRUNCATING)
    request = await ring.restore(force=False)
    await until_stopped(lost.child.pid)
    await asyncio.sleep(FENCE + MARGIN + 2)  # what must not happen then
    await ring.named_as_lost(request, lost)
    await ring.nobody_else_went_on(request, lost)
    assert set((await ring.counts(without=lost)).values()) == {ROWS + 1}
    lost.resume()
    status = await ring.ended(request)
    assert status["state"] == "success", status
    errors = [one["error"]["code"] for one in await lost.ask("GET", f"/v1/commands?job={request}") if one["error"]]
    assert errors == ["too_late"]
    await lost.restart()
    await ring.all_is_well()


async def test_stopped_between_check_and_truncate_force_goes_on_and_its_waking_loses_nothing(ring: Ring) -> None:
    """SIGSTOP exactly there, `force`: past the deadline and the margin the others import. SIGCONT: the TRUNCATE that
    was about to be sent is not sent any more."""
    lost = await ring.arm(TRUNCATING)
    request = await ring.restore(force=True)
    await until_stopped(lost.child.pid)
    await _forced(ring, request, lost)
    restored = await ring.counts(without=lost)
    lost.resume()
    views = await lost.ask("GET", f"/v1/commands?job={request}")
    (truncate,) = [one["id"] for one in views if one["kind"] == "truncate"]
    end = await lost.ended(truncate)
    assert (end["state"], end["error"]["code"]) == ("failed", "too_late")
    assert await ring.counts(without=lost) == restored
    await lost.restart()
    await _finished_by_posting_again(ring, lost, request, truncated=False)


@pytest.mark.long
async def test_cancelled_by_force_while_stopped_the_next_restore_waits_for_it(ring: Ring) -> None:
    """SIGSTOP exactly there, cancelled by force, the same restore posted again: it names the agent, nobody truncates in
    its place and nobody imports. SIGCONT: what was sent is settled, and every row is restored. The nodes tell as it is
    when tables were truncated last."""
    lost = await ring.arm(TRUNCATING)
    request = await ring.restore(force=False)
    await until_stopped(lost.child.pid)
    await ring.coordinator.ask("POST", f"/request/{request}/cancel", {"force": True})
    assert (await ring.ended(request))["state"] == "cancelled"
    again = await ring.post_restore(force=False)
    async with asyncio.timeout(60 * SLOWER):
        while f"waits for the agent of {lost.address}" not in (await ring.status(again))["details"]["message"]:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    await ring.nobody_else_went_on(request, lost)
    assert set((await ring.counts(without=lost)).values()) == {ROWS + 1}
    lost.resume()
    status = await ring.ended(again)
    assert status["state"] == "success", status
    assert "without knowing" not in str(status["details"])
    await lost.restart()
    await ring.all_is_well()
    before = await ring.truncated_at()
    await asyncio.to_thread(ring.session.execute, f"TRUNCATE {ring.keyspace}.orders", timeout=120)
    assert all(now > then > 0 for then, now in zip(before, await ring.truncated_at(), strict=True))


async def host_of(agent: AgentProcess) -> str:
    return str((await agent.ask("GET", "/v1/node"))["node"]["host_id"])


async def _forced(ring: Ring, request: str, lost: AgentProcess) -> None:
    """The request ends without that agent, partial, and says that the outcome is not known."""
    status = await ring.ended(request)
    assert (status["state"], status.get("partial")) == ("error", True), status
    assert "without knowing whether it was done" in str(status["details"])
    assert lost.address in str(status["details"]["error"])
    for agent in ring.agents:
        if agent is not lost:
            assert "import" in await ring.told(agent, request)
            assert "truncate" not in await ring.told(agent, request)


async def _finished_by_posting_again(ring: Ring, lost: AgentProcess, request: str, *, truncated: bool = True) -> None:
    """The same restore again: the job goes on, nothing is truncated, the lost agent's node gets its rows."""
    again = await ring.post_restore(force=True)
    assert again != request
    status = await ring.ended(again)
    assert status["state"] == "success", status
    kinds = [one["kind"] for one in await lost.ask("GET", f"/v1/commands?job={request}")]
    assert kinds.count("truncate") == 1
    if not truncated:  # what was there before the restore was never removed: it is merged, and then goes
        statement = f"DELETE FROM {ring.keyspace}.orders WHERE customer = 'later'"
        await asyncio.to_thread(ring.session.execute, statement)
    await ring.all_is_well()
