"""The largest honest input: 1,000 nodes of 256 tokens and 20 keyspaces. What is the same for all nodes is looked at
once, and what takes its time keeps nobody from being answered."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from agent.wire.commands import State
from agent.wire.node import NodeReport, RingMember
from agent.wire.point_in_time import JobDocument
from agent.wire.results import PreflightResult
from coordinator.fleet.client import AgentClient
from coordinator.fleet.registry import Registry
from coordinator.fleet.reports import Reports
from coordinator.model.orders import RestoreOrder
from coordinator.model.requests import Request, RequestKind, RequestState, spec_of
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.errors import RestoreRefused
from coordinator.orchestrate.muster import muster
from coordinator.orchestrate.point_in_time.found_jobs import glance
from coordinator.orchestrate.restore import replicas
from coordinator.orchestrate.restore.restore import RestoreFlow
from coordinator.orchestrate.restore.scope import RestoreScope
from coordinator.orchestrate.restore.verdict import Situation, Verdict, judge
from coordinator.orchestrate.run import Run, Surroundings
from coordinator.orchestrate.topology import cluster_nodes
from coordinator.store.sqlite import SqliteStore
from tests.cluster.large_cluster import TAG, LargeCluster

NODES, TOKENS, KEYSPACES = 1000, 256, 20
HANGS = 60.0
"""Seconds after which something is wrong altogether."""
FEW_WALKS = 10
"""Of a ring that all agents share, where the nodes' number may not count."""


class Ring(list[RingMember]):
    """Counts how often it is walked."""

    walks = 0

    def __iter__(self) -> Iterator[RingMember]:
        self.walks += 1
        return super().__iter__()


class Client:
    """An agent that tells what it is given."""

    def __init__(self, report: NodeReport, number: int) -> None:
        self.url = f"http://agent{number}"
        self._report = report
        self.asked_for_jobs = 0

    async def node(self, *, read: Callable[[bytes], NodeReport]) -> NodeReport:
        return self._report

    async def jobs(self, *, running: bool) -> list[JobDocument]:
        assert running
        self.asked_for_jobs += 1
        return []


class Largest:
    """The cluster, and what a coordinator works with over it."""

    def __init__(self, store: SqliteStore) -> None:
        self.described = LargeCluster(NODES, TOKENS, KEYSPACES)
        self.ring = Ring(self.described.members)
        first = self.described.report(0)
        clients: list[AgentClient] = []
        for number, member in enumerate(self.described.members):
            assert first.node is not None
            node = msgspec.structs.replace(first.node, host_id=member.host_id, address=member.address)
            report = msgspec.structs.replace(first, node=node, ring=self.ring)
            clients.append(cast(AgentClient, Client(report, number)))
        self.clients = cast(list[Client], clients)
        self.registry = Registry({"large": clients})
        self.around = Surroundings(store, self.registry, Reports())

    def flow(self, order: RestoreOrder) -> RestoreFlow:
        request = Request(
            "request", RequestKind.RESTORE, "large", RequestState.RUNNING, 1.0, spec_of(order), tag=order.tag
        )
        return RestoreFlow(Run(request, self.around, self.around.store), order)

    def scope(self, hosts: list[str]) -> RestoreScope:
        plan = self.described.plan()
        return RestoreScope(plan, plan.keyspaces, [], {host: host for host in hosts}, [], None)


@pytest.fixture
async def largest(tmp_path: Path) -> Any:
    store = await SqliteStore.open(tmp_path / "state", now=1.0)
    yield Largest(store)
    await store.close()


async def test_what_all_agents_see_alike_is_looked_at_once(largest: Largest) -> None:
    """A muster, and a list of the nodes."""
    async with asyncio.timeout(HANGS):
        present = await muster(largest.around, "large")
        assert len(present.planned(present.present)) == len(present.addresses(present.present)) == NODES
        assert not present.missing
        assert len(present.keyspaces) == KEYSPACES
        assert largest.ring.walks < FEW_WALKS
        assert len(cluster_nodes(largest.registry.agents("large"))) == NODES
        assert largest.ring.walks < 2 * FEW_WALKS


@pytest.mark.parametrize("left_out", [False, True])
async def test_everybody_is_answered_while_a_restore_is_judged(
    largest: Largest, monkeypatch: pytest.MonkeyPatch, left_out: bool
) -> None:
    """Of all nodes no token is looked at; of some of them, all tokens once for keyspaces that replicate alike, while
    the event loop turns."""
    restored = {member.host_id for member in largest.described.members}
    if left_out:
        # The first node of each rack in the order of tokens: together all replicas of the first range.
        owned = [(int(token), member) for member in largest.described.members for token in member.tokens]
        first: dict[str, str] = {}
        for _, member in sorted(owned, key=lambda each: each[0]):
            first.setdefault(member.rack, member.host_id)
        restored -= {*first.values()}

    async def asked(flow: RestoreFlow, phase: str, *_: object) -> dict[str, Answered]:
        found: dict[str, Any] = msgspec.to_builtins(
            PreflightResult(
                files=1,
                bytes=1,
                sstables=1,
                tables_in_backup={},
                now=1.0,
                volumes=[],
                missing_tables={},
                missing_keyspaces=[],
                differences=[],
                replication_differs={},
                live_views=[],
                backup_views=[],
                views_enabled=True,
                warnings=[],
                refusals=[],
            )
        )
        return {host_id: Answered(host_id, host_id, State.SUCCESS, found, None) for host_id in restored}

    monkeypatch.setattr(RestoreFlow, "_ask", asked)
    circles = 0
    own_circle = replicas._Owners.__init__

    def circle(owners: Any, ring: Any) -> None:
        nonlocal circles
        circles += 1
        own_circle(owners, ring)

    monkeypatch.setattr(replicas._Owners, "__init__", circle)
    judging, turned = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def judged(situation: Situation, found: dict[str, PreflightResult]) -> Verdict:
        loop.call_soon_threadsafe(judging.set)
        assert turned.wait(HANGS / 4), "the event loop stood still"
        return judge(situation, found)

    monkeypatch.setattr("coordinator.orchestrate.restore.restore.judge", judged)

    async def anybody() -> None:
        await judging.wait()
        turned.set()

    async with asyncio.timeout(HANGS), asyncio.TaskGroup() as group:
        group.create_task(anybody())
        flow = largest.flow(RestoreOrder(TAG, destination="there"))
        if not left_out:
            assert (await flow._preflight(largest.scope(sorted(restored)))).refusals == []
            assert circles == 0
            return
        with pytest.raises(RestoreRefused) as refused:
            await flow._preflight(largest.scope(sorted(restored)))
    refusals = refused.value.fields["refusals"]
    assert isinstance(refusals, list)
    assert [refusal["code"] for refusal in refusals] == ["ranges_uncovered"] * KEYSPACES
    assert circles <= 2


async def test_to_see_that_no_job_runs_costs_a_few_requests(largest: Largest) -> None:
    """However many nodes there are, and each look asks others."""
    for turn in range(3):
        assert (await glance(largest.around, "large", turn)).jobs == []
    assert [client.asked_for_jobs for client in largest.clients] == [1] * 15 + [0] * (NODES - 15)
