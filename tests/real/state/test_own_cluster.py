"""A restore to a point of the one real node that holds the coordinators' own state: it is stopped for it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.cluster import sessions
from tests.cluster.backup_service import QUICK, BackupService
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import AgentProcess, CoordinatorProcess, write_secret
from tests.real.point_in_time.three_nodes import as_seconds, micros

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1800)]
DEADLINE = 400.0
LEASE_SECONDS = 12


class Site:
    """The node, its agent, and two coordinators whose state is on it. `point`: after the rows A and B."""

    def __init__(self, directory: Path) -> None:
        self.cluster = ScratchCluster(directory / "node", nodes=1, name="own", authentication=True, jolokia=True)
        self.node = self.cluster.nodes[0]
        self.agent = AgentProcess(self.node, directory / "agent", cql=sessions.SUPERUSER, jolokia=True, changes=QUICK)
        self.service = BackupService(self.cluster, directory, agents=[self.agent])
        user, password = sessions.SUPERUSER
        self.service.coordinator.changes = {
            "state": {
                "kind": "cassandra",
                "contact_points": [self.node.address],
                "port": self.node.spec.native_port,
                "replication": {self.node.spec.dc: 1},
                "username": user,
                "password_file": str(write_secret(directory / "state-password", password)),
                "key_file": str(write_secret(directory / "state-key", "ab" * 32)),
                "request_seconds": 2.0,
                "connect_seconds": 2.0,
                "patience_seconds": 4.0,
            },
            "leading": {"lease_seconds": LEASE_SECONDS},
        }
        self.first = self.service.coordinator
        self.second = CoordinatorProcess(
            [self.agent], directory / "second", cluster="flows", cluster_name="own", changes=self.first.changes
        )
        self.second.token_file.write_text(self.first.token)
        self.destination = ""
        self.point = 0

    async def begin(self) -> None:
        """Archiving on, rows A, a backup, rows B, the point, rows C."""
        await self.cluster.start()
        await self.service.start()
        await self.leads(self.first)
        await self.second.start(90)
        self.destination = await self.service.local("there")
        body = {"destinations": {self.destination: {}}, "sleep": 0}
        await self.ended(await self.order("/backups/pit", body))
        await self.leads(self.first, self.second)
        session = await self.cluster.session()
        session.execute("CREATE KEYSPACE pit WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        session.execute("CREATE TABLE pit.rows (id int PRIMARY KEY)")
        self.write(session, range(10))
        await self.ended(
            await self.order("/backups/run", {"keyspaces": ["pit"], "destinations": {self.destination: {}}})
        )
        self.write(session, range(10, 20))
        await asyncio.sleep(0.05)
        self.point = micros()
        await asyncio.sleep(0.05)
        self.write(session, range(100, 110))

    def write(self, session: Any, numbers: range) -> None:
        for number in numbers:
            session.execute(f"INSERT INTO pit.rows (id) VALUES ({number})")

    async def rows(self) -> set[int]:
        return {row.id for row in (await self.cluster.session()).execute("SELECT id FROM pit.rows")}

    def body(self) -> dict[str, Any]:
        return {
            "pit": as_seconds(self.point),
            "keyspaces": {"pit": {"column-families": ["rows"]}},
            "destination": self.destination,
            "pit_destination": self.destination,
        }

    async def leads(self, *coordinators: CoordinatorProcess) -> CoordinatorProcess:
        """The one of them that leads, once one does."""
        async with asyncio.timeout(DEADLINE):
            while True:
                for each in coordinators:
                    status, told = await self.told(each, "/health")
                    if status == 200 and told["status"] == "ok":
                        return each
                await asyncio.sleep(0.3)

    def alive(self) -> list[CoordinatorProcess]:
        return [each for each in (self.first, self.second) if each.alive]

    async def backups_told(self) -> dict[str, dict[str, Any]]:
        """Tag → what the activity has of its backup, the same at each coordinator that runs."""
        told = [await self.answer(each, "/flows/backup-activity") for each in self.alive()]
        assert all(each == told[0] for each in told), told
        return {event["backup_id"]: event for event in told[0] if event["type"] == "backup"}

    async def answer(self, coordinator: CoordinatorProcess, path: str) -> Any:
        """Its answer, once it has one; who was just started doesn't know who leads."""
        async with asyncio.timeout(DEADLINE):
            while (told := await self.told(coordinator, path))[0] != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.3)
        return told[1]

    async def order(self, path: str, body: dict[str, Any]) -> Any:
        """The answer; who is just changing places takes no order, and says so."""
        async with asyncio.timeout(DEADLINE):
            while True:
                leader = await self.leads(*self.alive())
                status, told = await leader.call("POST", f"/flows{path}", body)
                if status != 503:
                    assert status == 200, (status, told)
                    return told
                await asyncio.sleep(0.3)

    async def told_by_all(self, request: str) -> None:
        """Return once each coordinator, asked by itself, tells that it ended well, and that the state has it. A leader
        that did not carry it out looks for its end first."""
        for coordinator in self.alive():
            assert (await self.ended(request, at=[coordinator]))["id"] == request
            async with asyncio.timeout(DEADLINE):
                while request not in await self.kept_ended(coordinator):  # noqa: ASYNC110
                    await asyncio.sleep(0.3)

    async def kept_ended(self, coordinator: CoordinatorProcess) -> set[str]:
        """The restores to a point that the state tells the success of: the list of a type is what it has."""
        listed = await self.answer(coordinator, "/flows/request/pit/status")
        return {each["id"] for each in listed if each["state"] == "success"}

    async def told(self, coordinator: CoordinatorProcess, path: str) -> tuple[int, Any]:
        """0: it gave no answer."""
        try:
            return await coordinator.call("GET", path)
        except (aiohttp.ClientError, TimeoutError):
            return 0, None

    async def ended(
        self, request: Any, seen: list[tuple[int, Any]] | None = None, at: Sequence[CoordinatorProcess] = ()
    ) -> dict[str, Any]:
        """The request's status once it has succeeded, `at` whichever coordinator it is told. `seen`: gets what was
        told."""
        async with asyncio.timeout(DEADLINE):
            while True:
                for coordinator in at or self.alive():
                    status, told = await self.told(coordinator, f"/request/{request}/status")
                    if seen is not None and not self.node.alive:
                        seen.append((status, told))
                    if status == 200 and told["state"] != "running":
                        assert told["state"] == "success", told
                        return dict(told)
                await asyncio.sleep(0.3)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    site = Site(tmp_path_factory.mktemp("own"))
    try:
        await site.begin()
        yield site
    finally:
        await site.second.stop()
        await site.service.stop()
        await site.cluster.kill()


async def test_the_node_of_the_own_state_comes_to_the_point(site: Site) -> None:
    """Promise: exactly the rows A and B; the status is told while the node is stopped, and the state has it afterwards,
    at either coordinator. The state's own keyspace is refused."""
    leader = await site.leads(site.first, site.second)
    status, told = await leader.call("POST", "/flows/backups/pit/run", {**site.body(), "keyspaces": None})
    assert (status, told["code"]) == (409, "state_on_this_cluster"), told
    site.cluster.close_sessions()
    request = await site.order("/backups/pit/run", site.body())
    seen: list[tuple[int, Any]] = []
    ended = await site.ended(request, seen)
    assert ended["id"] == request
    assert any(status == 200 and told["state"] == "running" for status, told in seen), seen
    assert await site.rows() == set(range(20))
    await site.leads(site.first, site.second)
    await site.told_by_all(request)


async def test_killed_while_the_node_is_stopped_it_is_followed(site: Site) -> None:
    """Promise: kill -9 of the one that carries it out, and of the other one, with no Cassandra running: the next life
    finds the job with the agent, ends it, and the state has the end. Rows A and B are there."""
    site.write(await site.cluster.session(), range(200, 210))
    site.cluster.close_sessions()
    request = await site.order("/backups/pit/run", site.body())
    leader = await site.leads(site.first, site.second)
    [other] = [each for each in (site.first, site.second) if each is not leader]
    async with asyncio.timeout(DEADLINE):
        while site.node.alive:  # noqa: ASYNC110 - processes tell nobody
            await asyncio.sleep(0.05)
    await leader.kill()
    await other.kill()
    other.launch()
    assert (await site.ended(request))["id"] == request
    assert await site.rows() == set(range(20))
    await site.leads(other)
    await site.told_by_all(request)


async def test_the_whole_state_is_lost_and_the_activity_is_rebuilt(site: Site) -> None:
    """Promise: the keyspace of the state is dropped while both coordinators are down; they begin anew in an empty one,
    and the destination, added again, gives the activity of its backups back, at either coordinator."""
    await site.leads(site.first, site.second)
    before = await site.backups_told()
    assert before
    assert not any(event.get("rebuilt") for event in before.values()), before
    for each in site.alive():
        await each.stop()
    session = await site.cluster.session()
    await asyncio.to_thread(session.execute, "DROP KEYSPACE helenus_coordinator", timeout=120)
    site.cluster.close_sessions()
    await site.first.start(90)
    await site.leads(site.first)
    assert await site.backups_told() == {}
    made = await site.order("/backups/destinations", {"provider": "local", "path": "there"})
    await site.ended(made["request_id"])
    await site.second.start(90)
    after = await site.backups_told()
    assert {tag: bool(event.get("rebuilt")) for tag, event in after.items()} == dict.fromkeys(before, True)
    for tag, event in after.items():
        assert event["event_time"] == pytest.approx(before[tag]["event_time"], abs=2)
