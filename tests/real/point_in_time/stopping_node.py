"""One real node that its agent stops and starts: with the agent as a process, and what a restore's other phases would
leave for those that are tried here.

In: a version and a directory. Out: a node with two tables, whose agent can be killed at any stage.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from agent.cassandra.staging import make_root
from agent.jobs.point_in_time.node_facts import segments_of
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.jobs.restore.notes import Fetched, RestoreNotes
from agent.wire.point_in_time import PitArguments
from tests.cluster import sessions
from tests.cluster.cassandra import CassandraNode
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import AgentProcess
from tests.fast.point_in_time.noted_point import note_covered

KEYSPACE = "stopped"
HOST_ID = "11111111-2222-3333-4444-555555555555"


class StoppingNode:
    """`async with StoppingNode(version, directory) as site`. A test leaves the agent running and Cassandra up."""

    def __init__(self, version: str, directory: Path) -> None:
        options = {"hints_flush_period": "1s"}
        self.cluster = ScratchCluster(directory / "cluster", nodes=1, version=version, options=options)
        self.node: CassandraNode = self.cluster.nodes[0]
        self.agent = AgentProcess(self.node, directory / "agent")
        self.fence = 0
        self.job = ""

    async def __aenter__(self) -> "StoppingNode":
        await self.cluster.start()
        self.cql(
            f"CREATE KEYSPACE {KEYSPACE} WITH replication = {{'class': 'NetworkTopologyStrategy', 'dc1': 1}}",
            *(f"CREATE TABLE {KEYSPACE}.{table} (id int PRIMARY KEY)" for table in ("asked", "other")),
        )
        await self.agent.start()
        await self.agent.ask("GET", "/v1/node")
        self.begin_job()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.agent.stop()
        await self.cluster.kill()

    # Cassandra

    async def kill(self) -> None:
        """kill -9, once what was written survives it: the log's sections are closed ten times a second."""
        await asyncio.sleep(0.7)
        await self.node.kill()

    def cql(self, *statements: str) -> list[Any]:
        """Send the statements; the rows of the last one."""
        session = sessions.open_session([self.node.address])
        try:
            return [list(session.execute(statement)) for statement in statements][-1]
        finally:
            sessions.close(session)

    def put(self, table: str, number: int) -> None:
        self.cql(f"INSERT INTO {KEYSPACE}.{table} (id) VALUES ({number})")

    def rows(self, table: str) -> set[int]:
        return {row.id for row in self.cql(f"SELECT id FROM {KEYSPACE}.{table}")}

    @property
    def options(self) -> str:
        return (self.node.directory / "conf" / "jvm-server.options").read_text()

    # Commands

    def begin_job(self) -> None:
        self.job, self.fence = f"job-{secrets.token_hex(4)}", 0

    @property
    def arguments(self) -> dict[str, Any]:
        return {"tag": "tag", "pit_micros": 1_700_000_000_000_000, "tables": {KEYSPACE: ["asked"]}}

    async def end_of(self, kind: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send the command, with a higher fence than any before; its view when it has ended."""
        self.fence += 1
        taken = self.arguments if arguments is None else arguments
        return await self.agent.ended(await self.agent.command(kind, taken, job=self.job, fence=self.fence))

    async def do(self, kind: str, arguments: dict[str, Any] | None = None) -> Any:
        """The result of a command that must succeed."""
        view = await self.end_of(kind, arguments)
        assert view["state"] == "success", view["error"]
        return view["result"]

    async def cut(self, moments: Sequence[str], arguments: dict[str, Any] | None = None) -> None:
        """The command, sent again and again; each time the agent dies at the next of the moments. Each ends
        `interrupted`; the agent runs afterwards."""
        for moment in moments:
            kind = moment.partition(":")[0]
            await self.agent.stop()
            await self.agent.start_mortal(moment)
            self.fence += 1
            command = f"{kind}-{secrets.token_hex(4)}"
            taken = self.arguments if arguments is None else arguments
            with contextlib.suppress(aiohttp.ClientError):
                await self.agent.command(kind, taken, job=self.job, fence=self.fence, id=command)
            assert await self.agent.died() == -9
            await self.agent.start()
            assert (await self.agent.ended(command))["state"] == "interrupted"

    async def waits(self, command: str) -> dict[str, Any]:
        """What a command that is under way says that it waits for."""
        async with asyncio.timeout(60):
            while True:
                view = await self.agent.ask("GET", f"/v1/commands/{command}")
                if view["state"] == "waiting":
                    error: dict[str, Any] = view["error"]
                    return error
                await asyncio.sleep(0.05)

    async def fetched(self) -> None:
        """What PIT_FETCH and PIT_COVER would leave for the job, of a backup in which the asked table is empty."""
        facts = await PlaceNotes(self.agent.state_directory, self.job).must_facts()
        for root in facts.roots:
            make_root(root)
        segments_of(facts).mkdir(exist_ok=True)
        notes = RestoreNotes(self.agent.state_directory, self.job)
        await notes.put_staging(facts.data)
        await notes.put_fetched(Fetched("tag", HOST_ID, {KEYSPACE: {"asked": [0, 0, 0]}}))
        await note_covered(self.agent.state_directory, self.job, msgspec.convert(self.arguments, PitArguments))
