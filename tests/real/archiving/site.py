"""A real Cassandra 5.0 with small segments, its agent, an S3 server and a local directory that take its commit log.

In: a directory. Out: the site, running; what it wrote, and what lies in its destinations.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp
from cassandra.cluster import Session

from agent.model.commit_log import SegmentRecord
from agent.pipeline.segments import SegmentBytes
from agent.repository.commit_logs.index import CommitLogs
from agent.repository.opened import OpenedRepository
from agent.storage.local.storage import LocalStorage
from agent.storage.protocol import OPEN, Storage
from agent.storage.s3.storage import S3Storage
from agent.storage.threads import Workers
from tests.cluster.moments import Moments
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import AgentProcess
from tests.cluster.stores import BUCKET, Versity, settings_for

SMALL = {"commitlog_segment_size": "1MiB", "commitlog_sync_period": "1000ms"}


class Site:
    """A node with small segments, its agent, two destinations."""

    def __init__(self, directory: Path, *, changes: Mapping[str, Any] | None = None) -> None:
        """`changes`: further settings of the agent."""
        self.directory = directory
        self.cluster = ScratchCluster(directory / "node", nodes=1, name="archived", options=SMALL)
        self.s3 = Versity(directory / "s3")
        self.node = self.cluster.nodes[0]
        self.agent = AgentProcess(self.node, directory / "agent", changes=changes)
        self.targets: dict[str, dict[str, str]] = {}
        self.written = 0
        self.sent: list[tuple[float, bytes]] = []
        """When each row was sent (unix seconds), and the first bytes of its body."""

    async def __aenter__(self) -> Self:
        await self.cluster.start()
        await self.s3.start()
        await self.s3.make_bucket(BUCKET)
        await self.agent.start()
        await self.destination("s3", self.s3.settings(BUCKET))
        await self.destination("here", {"provider": "local", "path": "here"})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.agent.stop()
        await self.s3.stop()
        await self.cluster.kill()

    @property
    def archive(self) -> Path:
        return self.node.directory / "archive"

    async def destination(self, name: str, settings: dict[str, Any]) -> None:
        await self.agent.ask("PUT", f"/v1/destinations/{name}", {"revision": 1, "settings": settings})
        check = {"initialise": True, "cluster_name": "archived", "conformance": False}
        report = await self.agent.ask("POST", f"/v1/destinations/{name}/check", check)
        assert report["ok"], report
        self.targets[name] = {
            "destination": name,
            "repository_id": report["repository_id"],
            "cluster_id": report["cluster_id"],
        }

    async def order(self, **more: Any) -> Any:
        targets = [{"target": target, "compressed": name == "s3"} for name, target in self.targets.items()]
        return await self.agent.do("archive", {"enabled": True, "targets": targets, **more})

    async def view(self) -> Any:
        return await self.agent.ask("GET", "/v1/archiving")

    async def restart(self) -> None:
        self.cluster.close_sessions()
        await self.node.stop()
        await self.node.start()

    async def live_through(self, kind: str, arguments: dict[str, Any], moments: Moments) -> None:
        """One command, whose agent dies at each of the moments; it must end in success."""
        await self.agent.stop()
        await self.agent.start_mortal(moments[0])
        command = f"killed-{kind}"
        with contextlib.suppress(aiohttp.ClientError):  # an early death takes the answer with it
            await self.agent.command(kind, arguments, id=command)
        for moment in (*moments[1:], ""):
            assert await self.agent.died() == -9
            if moment:
                self.agent.launch_mortal(moment)
        await self.agent.start()
        view = await self.agent.ended(command)
        assert view["state"] == "success", view["error"]

    async def write(self, megabytes: int) -> None:
        """So much of rows that do not become smaller."""
        session: Session = await self.cluster.session()
        session.execute(
            "CREATE KEYSPACE IF NOT EXISTS k WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}"
        )
        session.execute("CREATE TABLE IF NOT EXISTS k.t (id int PRIMARY KEY, body blob)")
        statement = session.prepare("INSERT INTO k.t (id, body) VALUES (?, ?)")

        def insert() -> None:
            for _ in range(megabytes * 16):
                self.written += 1
                body = secrets.token_bytes(60_000)
                self.sent.append((time.time(), body[:32]))
                session.execute(statement, (self.written, body))

        await asyncio.to_thread(insert)

    async def until(self, reached: Any, deadline: float = 90.0) -> Any:
        async with asyncio.timeout(deadline):
            while True:
                view = await self.view()
                if reached(view):
                    return view
                await asyncio.sleep(0.2)

    def storage(self, name: str) -> Storage:
        if name == "s3":
            return S3Storage(settings_for(self.s3), conditional_create=True)
        return LocalStorage(self.agent.local_root / "here")

    async def stored(self, name: str, to: Path) -> list[tuple[SegmentRecord, bytes]]:
        """Every segment that is there, read back."""
        return [(record, path.read_bytes()) async for record, path in self.each_stored(name, to)]

    async def each_stored(self, name: str, to: Path) -> AsyncIterator[tuple[SegmentRecord, Path]]:
        """One segment after the other, fetched to that directory and compared with its digest."""
        host_id = (await self.agent.ask("GET", "/v1/node"))["node"]["host_id"]
        target, storage, workers = self.targets[name], self.storage(name), Workers(2, "read")
        opened = OpenedRepository(name, storage, target["repository_id"], target["cluster_id"], OPEN, 4)
        logs = CommitLogs(opened, host_id)
        segments = SegmentBytes(workers, lambda: 0.0)
        to.mkdir(parents=True, exist_ok=True)
        try:
            for record in await logs.records():
                fetched = await segments.fetch(logs, record, to)
                yield fetched, to / fetched.name
        finally:
            await workers.close()
            await storage.close()
