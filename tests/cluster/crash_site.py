"""One real node with its agent and coordinator, to be killed: data, requests that live through deaths, and what must be
so after each.

In: a running one-node cluster and a directory. Out: requests driven through the coordinator's API whose agent (or
coordinator) dies at chosen moments, and the checks of the promises: terminal, moving again, rows equal, oracle green,
no staging, no snapshot left.
"""

import asyncio
import os
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from cassandra.cluster import Session

from tests.cluster.cassandra import CassandraNode
from tests.cluster.comparison import compare_every_column
from tests.cluster.rows import DataSet
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import AgentProcess, CoordinatorProcess
from tests.cluster.stores import ObjectStore
from tests.oracle.checker import Oracle
from tests.oracle.reader import DirectoryReader

ROWS = 300
TABLES = ("orders", "visits", "stock", "stock_by_state")
SLOWER = float(os.environ.get("HELENUS_SLOWER", "1"))
"""How many times the machine is slower than an idle one with two cores: deadlines are stretched by it."""
MOVING_SECONDS = 10.0 * SLOWER
"""So soon after a restart the work goes on."""
TERMINAL_SECONDS = 60.0 * SLOWER
"""So soon after the last restart the work has ended, of what tests make short."""
PLACE = "kills"


class CrashSite:
    """`async with CrashSite(directory, cluster) as site`. A test leaves agent and coordinator running."""

    def __init__(
        self,
        directory: Path,
        cluster: ScratchCluster,
        *,
        store: ObjectStore | None = None,
        passphrase: str | None = None,
        **agent: Any,
    ) -> None:
        """`store`: where the destination is, a local directory by default; `passphrase`: of an encrypted one; `agent`:
        further options of AgentProcess."""
        self.cluster = cluster
        self.node: CassandraNode = cluster.nodes[0]
        changes = {
            "sweep": {"margin_seconds": 0.5},
            "cassandra": {"nodetool": dict.fromkeys(("deadline_seconds", "import_deadline_seconds"), 15.0 * SLOWER)},
        }
        self.agent = AgentProcess(self.node, directory / "agent", changes=changes, **agent)
        self.coordinator = CoordinatorProcess(
            [self.agent], directory / "coordinator", cluster="site", cluster_name=cluster.name
        )
        prefix = f"k{secrets.token_hex(3)}"
        self.data = DataSet(seed=7, rows=ROWS, version=cluster.version, replication=1, prefix=prefix)
        self.data.tables = [spec for spec in self.data.tables if spec.name in TABLES]
        self.keyspace = f"{prefix}_all"
        self._first = store, passphrase
        self._places = 0
        self.oracle: Oracle
        self.session: Session

    async def __aenter__(self) -> Self:
        self.session = await self.cluster.session()
        await self.data.create(self.session)
        await self.data.write(self.session)
        await self.agent.start()
        await self.coordinator.start()
        await self.move_to(*self._first)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.coordinator.stop()
        await self.agent.stop()
        for name in self.data.keyspaces:
            quoted = f'"{name}"'
            await asyncio.to_thread(self.session.execute, f"DROP KEYSPACE IF EXISTS {quoted}")

    async def move_to(self, store: ObjectStore | None, passphrase: str | None) -> None:
        """Make a destination of its own in the store (None: a local directory), encrypted if there is a passphrase;
        from here on requests go to it, and the oracle reads it."""
        self._places += 1
        wanted: dict[str, Any]
        if store is not None:
            bucket = f"site-{self.data.prefix}-{self._places}"
            await store.make_bucket(bucket)
            wanted, reader = store.settings(bucket), store.reader(bucket)
        else:
            path = PLACE if self._places == 1 else f"{PLACE}-{self._places}"
            wanted, reader = {"provider": "local", "path": path}, DirectoryReader(self.agent.local_root / path)
        if passphrase is not None:
            wanted["encryption"] = {"passphrase": passphrase}
        self.oracle = Oracle(reader, keys=None if passphrase is None else passphrase.encode())
        made = await self.ask("POST", "/backups/destinations", wanted)
        self.place = str(made["destination_id"]["id"])
        await self.succeeded(made["request_id"])

    # Requests

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer of the coordinator about its cluster."""
        return await self.coordinator.ask(method, f"/{self.coordinator.cluster}{path}", body)

    async def status(self, request: str) -> dict[str, Any]:
        """GET /request/{id}/status."""
        status: dict[str, Any] = await self.coordinator.ask("GET", f"/request/{request}/status")
        return status

    async def follow(self, request: str, deadline: float = 180.0 * SLOWER) -> dict[str, Any]:
        """The request's status once it has ended."""
        async with asyncio.timeout(deadline):
            while True:
                status = await self.status(request)
                if status["state"] != "running":
                    return status
                await asyncio.sleep(0.2)

    async def succeeded(self, request: str, deadline: float = 180.0 * SLOWER) -> dict[str, Any]:
        """The status of a request that must end in success."""
        status = await self.follow(request, deadline)
        assert status["state"] == "success", status
        return status

    async def start_backup(self, **more: Any) -> str:
        """POST /backups/run of the keyspace to the destination; the request."""
        body = {"keyspaces": [self.keyspace], "destinations": {self.place: {}}, **more}
        return str(await self.ask("POST", "/backups/run", body))

    async def start_restore(self, tag: str, **more: Any) -> str:
        """POST /backups/restore/{tag} of the keyspace with truncate; the request."""
        body = {"destination": self.place, "keyspaces": {self.keyspace: {"truncate": True}}, **more}
        return str(await self.ask("POST", f"/backups/restore/{tag}", body))

    async def start_sync(self, tag: str) -> str:
        """POST /backups/sync of an on-server backup to the destination; the request."""
        return str(await self.ask("POST", "/backups/sync", {"tag": tag, "destinations": {self.place: {}}}))

    async def start_delete(self, tag: str) -> str:
        """DELETE /backups of the tag in the destination; the request."""
        self.oracle.deleted(tag)
        return str(await self.ask("DELETE", f"/backups?tag={tag}&destination={self.place}"))

    async def keep(self) -> str:
        """An on-server backup that must succeed; its tag."""
        request = str(await self.ask("POST", "/backups/run", {"keyspaces": [self.keyspace]}))
        return str((await self.succeeded(request))["tag"])

    async def backup(self) -> str:
        """A backup that must succeed; its tag."""
        return str((await self.succeeded(await self.start_backup()))["tag"])

    # Deaths

    async def arm_agent(self, moment: str) -> None:
        """Start the agent anew, to die (or stand still) at the moment."""
        await self.agent.stop()
        await self.agent.start_mortal(moment)

    async def die(self, moments: Sequence[str]) -> None:
        """The agent, armed with an earlier moment, dies; each next life dies at the next of `moments`; the last one
        lives."""
        for moment in [*moments, ""]:
            code = await self.agent.died()
            assert code == -9, f"the agent ended with {code}"
            if moment:
                self.agent.launch_mortal(moment)
            else:
                await self.agent.start()

    async def arm_coordinator(self, moment: str) -> None:
        """Start the coordinator anew, to die at the moment."""
        await self.coordinator.stop()
        self.coordinator.launch_mortal(moment)
        await self.coordinator.wait_until_ready()

    async def moving(self, request: str, last: int) -> None:
        """Within MOVING_SECONDS the agent's log shows that this process of it does something, or the request has
        ended. `last`: the log's sequence when the earlier process had ended."""
        instance = (await self.agent.ask("GET", "/v1/node"))["instance"]
        async with asyncio.timeout(MOVING_SECONDS):
            while (await self.status(request))["state"] == "running":
                events = await self.agent.ask("GET", f"/v1/events?after={last}&limit=1000")
                if any(event["instance"] == instance for event in events):
                    return
                await asyncio.sleep(0.1)

    async def coordinator_moving(self, before: list[Any]) -> None:
        """Within MOVING_SECONDS the coordinator, which was started just now, has written something about a request, or
        has died of what it was to write. `before`: what was `noted` when the earlier process had ended."""
        async with asyncio.timeout(MOVING_SECONDS):
            while self.coordinator.alive and self.noted() == before:  # noqa: ASYNC110  # a store sets no event
                await asyncio.sleep(0.1)

    def noted(self) -> list[Any]:
        """What the coordinator's store holds of requests, their steps and their commands."""
        with closing(sqlite3.connect(self.coordinator.state_directory / "coordinator.sqlite")) as store:
            statements = ("SELECT id, data FROM commands", "SELECT request, name FROM steps", "SELECT * FROM requests")
            return [store.execute(statement).fetchall() for statement in statements]

    async def sequence(self) -> int:
        """The newest sequence of the agent's log."""
        return int((await self.agent.ask("GET", "/v1/node"))["events"])

    async def lost_reply(self, posting: Callable[[], Awaitable[str]], kind: str) -> str:
        """Post a request to a coordinator that dies before its reply; the id that its next life, which moves, tells."""
        before = await self._requests_of(kind)
        try:
            await posting()
        except aiohttp.ClientError:
            pass
        else:
            raise AssertionError("the coordinator lived and replied")
        assert await self.coordinator.died() == -9
        noted = self.noted()
        await self.coordinator.start()
        await self.coordinator_moving(noted)
        (request,) = await self._requests_of(kind) - before
        return request

    async def _requests_of(self, kind: str) -> set[str]:
        events = await self.ask("GET", f"/backup-activity?filter_type={kind}")
        return {str(event["request_id"]) for event in events}

    # What must be so

    async def disaster(self) -> None:
        """A table is emptied, another one dropped."""
        await asyncio.to_thread(self.session.execute, f"TRUNCATE {self.keyspace}.orders", timeout=120)
        await asyncio.to_thread(self.session.execute, f"DROP TABLE IF EXISTS {self.keyspace}.visits", timeout=120)

    async def settled(self) -> None:
        """A further backup, deleted again: what a killed nodetool left owed is paid by it."""
        await self.succeeded(await self.start_delete(await self.backup()))

    async def all_is_well(self, *, rows: bool = True, kept: Collection[str] = ()) -> None:
        """The oracle is green, nothing is left in the destination or on the node (but for the snapshots `kept`), and
        the rows are those that were written."""
        self.oracle.check(idle=True)
        assert self.snapshots() == set(kept)
        assert self.staging() == []
        if rows:
            await compare_every_column(self.data, [self.node])

    def snapshots(self) -> set[str]:
        """Tags of the snapshots on the node's disks, Cassandra's own left out."""
        return {path.name for path in self.snapshot_directories()}

    def snapshot_directories(self) -> set[Path]:
        """Where on the node's disks these snapshots are, one directory for each table and volume."""
        found = {path for data in self.node.data_directories for path in data.glob("*/*/snapshots/*")}
        return {path for path in found if not path.name.startswith(("truncated-", "dropped-"))}

    def staging(self) -> list[Path]:
        """Files that restores left on the node's volumes."""
        places = {*self.node.data_directories, *(data.parent for data in self.node.data_directories)}
        return [path for place in places for path in place.glob(".helenus/**/*") if path.is_file()]

    async def commands(self, **wanted: str) -> list[dict[str, Any]]:
        """The agent's commands, the oldest first, whose fields are as given."""
        found = await self.agent.ask("GET", "/v1/commands")
        return [one for one in reversed(found) if all(one[name] == value for name, value in wanted.items())]
