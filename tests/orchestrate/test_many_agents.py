"""Thirty simulated agents of fifty tables: what is told of a running request, and that nothing of the agents' reports
is lost, however seldom they come and whoever is started again."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from agent.wire.commands import Kind
from agent.wire.destinations import S3Settings
from agent.wire.node import EVENTS_INTERVAL, NODE_KNOWN
from coordinator.fleet import pace
from coordinator.model.orders import BackupOrder
from coordinator.model.requests import Request, RequestState
from coordinator.opscenter.app import build_app
from coordinator.opscenter.context import Api, ClusterEntry
from coordinator.opscenter.shapes import request_status, shown_parts
from coordinator.opscenter.streamed import status_pieces
from kit.logs import Redactor
from tests.cluster.loop_time import unix_seconds
from tests.cluster.ports import free_port
from tests.cluster.toy_coordinator import CLUSTER, DEADLINE, ToyCoordinator, copies
from tests.fleet.frozen import Frozen
from tests.fleet.node import Command, Pace
from tests.fleet.server import Fleet

AGENTS, TABLES = 30, 50
NETWORK = 78
INTERVAL = 2
"""Seconds that these agents are asked for."""
SLOW = Pace(snapshot=0.3, upload=30.0)
QUICK = Pace(snapshot=0.3, upload=4.0)


class Crowd:
    """The agents, and coordinators over one state directory."""

    def __init__(self, directory: Path, stack: AsyncExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self.fleet: Fleet

    async def agents(self, speed: Pace, features: tuple[str, ...] = (EVENTS_INTERVAL, NODE_KNOWN)) -> None:
        """Let them listen."""
        port = free_port()
        frozen = Frozen(AGENTS, TABLES, NETWORK, port, features)
        self.fleet = await self._stack.enter_async_context(Fleet(frozen, port, speed, silence=1.0))

    def coordinator(self) -> ToyCoordinator:
        """One life."""
        return ToyCoordinator(self._directory, self.fleet.frozen.urls)

    async def until(self, true: Callable[[], bool]) -> None:
        """Return once it is true; fails when that takes too long."""
        async with asyncio.timeout(DEADLINE):
            while not true():  # noqa: ASYNC110 - what is looked at are plain facts of the agents
                await asyncio.sleep(0.02)

    def uploads(self) -> list[Command]:
        """The agents' copies under way or done."""
        found = [command for node in self.fleet.nodes for command in node.commands.values()]
        return [command for command in found if command.post.kind is Kind.UPLOAD]

    async def begun(self, coordinator: ToyCoordinator) -> Request:
        """A backup that all nodes copy, and that doesn't move any more."""
        await coordinator.destination("there", S3Settings(path="fleet-bucket"))
        order = BackupOrder(tag="adhoc_1", time=1, copies=copies("there"), keep=False)
        request_id = await coordinator.orchestrator.start_backup(CLUSTER, order)
        await self.until(lambda: len(self.uploads()) == AGENTS)
        await self.until(lambda: all(command.position > 0 for command in self.uploads()))
        self.fleet.stop_moving()
        found = await coordinator.store.requests.get(request_id)
        assert found is not None
        return found

    async def agreed(self, coordinator: ToyCoordinator, request: Request) -> None:
        """Return once the coordinator tells of each node what the node's agent counts, table by table."""
        async with asyncio.timeout(DEADLINE):
            while True:
                told = await coordinator.orchestrator.progress(request.id)
                if {part.host_id: _shown(part.progress) for part in told} == self.counted():
                    return
                await asyncio.sleep(0.05)

    def counted(self) -> dict[str, Any]:
        """Host id → what its agent counts of its copy."""
        members = self.fleet.frozen.members
        return {
            members[node.number].host_id: json.loads(node.progress(command))
            for node in self.fleet.nodes
            for command in node.commands.values()
            if command.post.kind is Kind.UPLOAD
        }


def _shown(progress: Any) -> Any:
    return {
        place: {
            keyspace: {
                table: {name: getattr(counts, name) for name in counts.__struct_fields__}
                for table, counts in tables.items()
            }
            for keyspace, tables in keyspaces.items()
        }
        for place, keyspaces in progress.items()
    }


@pytest.fixture
async def crowd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Crowd]:
    monkeypatch.setattr(pace, "EVENTS_A_SECOND", AGENTS // INTERVAL)
    async with AsyncExitStack() as stack:
        yield Crowd(tmp_path, stack)


@pytest.fixture
async def ask(crowd: Crowd) -> AsyncIterator[Callable[..., Any]]:
    """GETs of the API over a coordinator: status and JSON."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def get(coordinator: ToyCoordinator, path: str) -> tuple[int, Any]:
            entries = {CLUSTER: ClusterEntry("Fleet", crowd.fleet.frozen.urls)}
            with_ids = Api(
                entries,
                coordinator.store,
                coordinator.orchestrator,
                coordinator.retention,
                coordinator.archiving,
                coordinator.schedules,
                unix_seconds,
                lambda: "id",
                Redactor(),
            )
            server = TestServer(build_app(with_ids, max_body_bytes=1 << 20, doors=[]), host="127.0.0.1")
            await server.start_server()
            try:
                async with session.get(server.make_url(path)) as answer:
                    return answer.status, json.loads(await answer.read())
            finally:
                await server.close()

        yield get


async def test_what_is_streamed_is_one_moment_s_and_equals_what_is_not(crowd: Crowd) -> None:
    """Promise: the pieces of a status are the same JSON as the whole, and stay those of the moment at which the answer
    began, however the nodes move on while they are sent."""
    await crowd.agents(SLOW)
    async with crowd.coordinator() as coordinator:
        request = await crowd.begun(coordinator)
        await crowd.agreed(coordinator, request)
        parts = await coordinator.orchestrator.progress(request.id)
        whole = json.loads(json.dumps(request_status(request, parts)))
        assert len(whole["details"]["subrequests"]) == AGENTS
        shown = shown_parts(parts)
        pieces = status_pieces(request, shown, shown)
        first = [next(pieces) for _ in range(5)]
        before = [command.position for command in crowd.uploads()]
        crowd.fleet.move_on()
        await crowd.until(lambda: all(now.position > was for now, was in zip(crowd.uploads(), before, strict=True)))
        crowd.fleet.stop_moving()
        await crowd.agreed(coordinator, request)
        assert json.loads(b"".join([*first, *pieces])) == whole
        later = request_status(request, await coordinator.orchestrator.progress(request.id))
        assert later["details"]["subrequests"] != whole["details"]["subrequests"]


async def test_a_status_without_details_and_of_one_node(crowd: Crowd, ask: Callable[..., Any]) -> None:
    """Promise: `details=0` leaves out the nodes' entries and nothing else, `node` all but that one; both tell of all
    nodes together in the message. What names no node, or asks for both, is refused."""
    await crowd.agents(SLOW)
    async with crowd.coordinator() as coordinator:
        request = await crowd.begun(coordinator)
        await crowd.agreed(coordinator, request)
        path = f"/request/{request.id}/status"
        _, whole = await ask(coordinator, path)
        status, short = await ask(coordinator, f"{path}?details=0")
        entries = whole["details"].pop("subrequests")
        assert (status, short) == (200, whole)
        assert whole["details"]["message"].startswith("uploading, ")
        member = crowd.fleet.frozen.members[7]
        for name in (member.address, member.host_id):
            _, one = await ask(coordinator, f"{path}?node={name}")
            assert one["details"].pop("subrequests") == {member.address: entries[member.address]}
            assert one == whole
        assert (await ask(coordinator, f"{path}?node=10.0.0.1"))[0] == 400
        assert (await ask(coordinator, f"{path}?node={member.address}&details=0"))[0] == 400
        _, events = await ask(coordinator, f"/{CLUSTER}/backup-activity?details=0")
        assert events[0]["full_status"] == whole


async def test_full_status_of_an_event_has_the_contract_s_shape(crowd: Crowd, ask: Callable[..., Any]) -> None:
    """Promise: an event of the activity is found by what the listing tells of it, and its status is the listing's, in
    the contract's shape; unknown ones are 404, one that isn't named is 400."""
    await crowd.agents(SLOW)
    async with crowd.coordinator() as coordinator:
        request = await crowd.begun(coordinator)
        await crowd.agreed(coordinator, request)
        at = f"/{CLUSTER}/backup-activity"
        _, [event] = await ask(coordinator, at)
        named = {name: event[name] for name in ("week", "event_time", "backup_id", "type")}
        query = "&".join(f"{name}={value}" for name, value in named.items())
        status, told = await ask(coordinator, f"{at}/full_status?{query}&destination={event['destination']['id']}")
        assert (status, told) == (200, event["full_status"])
        assert (await ask(coordinator, f"{at}/full_status?backup_id={event['backup_id']}"))[1] == told
        assert (await ask(coordinator, f"{at}/full_status?{query}&destination=elsewhere"))[0] == 404
        assert (await ask(coordinator, f"{at}/full_status?{query.replace('week=', 'week=9')}"))[0] == 404
        assert (await ask(coordinator, f"{at}/full_status"))[0] == 400
        keys = {"id", "state", "tag", "started", "finished", "cluster_id", "keyspaces", "destinations", "details"}
        assert told.keys() >= keys
        assert (told["state"], told["tag"], told["finished"]) == ("running", "adhoc_1", None)
        assert told["keyspaces"] == crowd.fleet.frozen.by_keyspace
        entry = told["details"]["subrequests"][crowd.fleet.frozen.members[0].address]
        assert entry.keys() >= {"id", "state", "started", "finished", "cluster_id", "details"}
        assert (entry["state"], entry["cluster_id"]) == ("running", None)
        assert entry["details"]["metadata"] == {"created": False, "errors": []}
        tables = entry["details"]["sstables"]
        assert {keyspace: [*tables[keyspace]] for keyspace in tables} == crowd.fleet.frozen.by_keyspace
        counts = tables["keyspace_00"]["table_number_0000"]
        assert counts.keys() == {"done_files", "total_files", "done_size", "total_size", "errors"}


async def test_reports_at_an_interval_lose_nothing(crowd: Crowd) -> None:
    """Promise: agents that tell only what changed, and seldom, over streams that break and processes that are started
    again on either side, come to be known as they count; and the backup ends whole."""
    await crowd.agents(QUICK)
    async with crowd.coordinator() as coordinator:
        request = await crowd.begun(coordinator)
        crowd.fleet.drop_streams()
        await crowd.agreed(coordinator, request)
        crowd.fleet.move_on()
        await asyncio.sleep(0.6)
        crowd.fleet.stop_moving()
        for node in crowd.fleet.nodes[::2]:
            node.restart()
        crowd.fleet.drop_streams()
        await crowd.agreed(coordinator, request)
        crowd.fleet.move_on()
    crowd.fleet.stop_moving()
    async with crowd.coordinator() as coordinator:
        await crowd.agreed(coordinator, request)
        crowd.fleet.move_on()
        ended = await coordinator.ended(request.id)
        assert ended.state is RequestState.SUCCESS
        parts = await coordinator.orchestrator.progress(request.id)
        assert {part.host_id: _shown(part.progress) for part in parts} == crowd.counted()
        kept = request_status(ended, parts)["details"]["subrequests"]
        counts = [table for entry in kept.values() for each in _tables(entry) for table in each.values()]
        assert len(counts) == AGENTS * TABLES
        assert all(each["done_files"] == each["total_files"] > 0 for each in counts)
    assert crowd.fleet.intervals.keys() == {str(INTERVAL)}


async def test_agents_that_know_no_interval_are_never_asked_for_one(crowd: Crowd) -> None:
    """Promise: a coordinator goes on with agents of an earlier release, also with those that were taken back to one
    while it runs: their refusal is all that it takes."""
    await crowd.agents(SLOW)
    async with crowd.coordinator() as coordinator:
        request = await crowd.begun(coordinator)
        await crowd.agreed(coordinator, request)
        crowd.fleet.frozen.features.clear()
        crowd.fleet.intervals.clear()
        crowd.fleet.drop_streams()
        crowd.fleet.move_on()
        before = [command.position for command in crowd.uploads()]
        await crowd.until(lambda: all(now.position > was for now, was in zip(crowd.uploads(), before, strict=True)))
        crowd.fleet.stop_moving()
        await crowd.agreed(coordinator, request)
        await crowd.until(lambda: crowd.fleet.intervals == {"": AGENTS})


def _tables(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [*entry["details"]["sstables"].values()]
