"""The commit log of a real Cassandra 5.0 on its way to an S3 server and a local directory: nothing lost, nothing twice,
byte by byte, while a destination is away and the agent is killed."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from cassandra.cluster import Session

from agent.cassandra.commit_log.sections import segment_state
from agent.model.commit_log import SegmentRecord
from agent.pipeline.segments import SegmentBytes
from agent.plan.log_windows import gaps, runs
from agent.repository.commit_logs.index import CommitLogs
from agent.repository.opened import OpenedRepository
from agent.storage.local.storage import LocalStorage
from agent.storage.protocol import OPEN, Storage
from agent.storage.s3.storage import S3Storage
from agent.storage.threads import Workers
from tests.cluster.moments import ARCHIVE, TRIM_LOGS, Moments
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import AgentProcess
from tests.cluster.stores import BUCKET, Versity, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")
SMALL = {"commitlog_segment_size": "1MiB", "commitlog_sync_period": "1000ms"}


class Site:
    """A node with small segments, its agent, two destinations."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cluster = ScratchCluster(directory / "node", nodes=1, name="archived", options=SMALL)
        self.s3 = Versity(directory / "s3")
        self.node = self.cluster.nodes[0]
        self.agent = AgentProcess(self.node, directory / "agent")
        self.targets: dict[str, dict[str, str]] = {}
        self.written = 0

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
                session.execute(statement, (self.written, secrets.token_bytes(60_000)))

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
        host_id = (await self.agent.ask("GET", "/v1/node"))["node"]["host_id"]
        target, storage, workers = self.targets[name], self.storage(name), Workers(2, "read")
        opened = OpenedRepository(name, storage, target["repository_id"], target["cluster_id"], OPEN, 4)
        logs = CommitLogs(opened, host_id)
        segments = SegmentBytes(workers, lambda: 0.0)
        to.mkdir(parents=True, exist_ok=True)
        found = []
        try:
            for record in await logs.records():
                fetched = await segments.fetch(logs, record, to)
                found.append((fetched, (to / fetched.name).read_bytes()))
        finally:
            await workers.close()
            await storage.close()
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    site = Site(tmp_path_factory.mktemp("archiving"))
    await site.cluster.start()
    await site.s3.start()
    await site.s3.make_bucket(BUCKET)
    await site.agent.start()
    await site.destination("s3", site.s3.settings(BUCKET))
    await site.destination("here", {"provider": "local", "path": "here"})
    yield site
    await site.agent.stop()
    await site.s3.stop()
    await site.cluster.kill()


async def test_segments_arrive_byte_by_byte(site: Site, tmp_path: Path) -> None:
    """Promise: ordered on a running node it says that a restart is needed; then every closed segment is in both
    destinations with the bytes that Cassandra wrote, without a gap from the restart on."""
    result = await site.order(keep=True)
    assert result["restart_needed"]
    await site.until(lambda view: view["state"] == "restart_needed")
    await site.restart()
    await site.until(lambda view: view["state"] == "on")
    await site.write(6)
    await site.until(lambda _: len(list(site.archive.iterdir())) >= 5)
    await site.until(lambda view: all(place["waiting_segments"] == 0 for place in view["places"].values()))
    kept = {path.name: path.read_bytes() for path in site.archive.iterdir()}
    for name in site.targets:
        stored = await site.stored(name, tmp_path / name)
        assert {record.name: body for record, body in stored} == kept
        assert all(record.whole for record, _ in stored)
        (run,) = runs([record for record, _ in stored])
        view = await site.view()
        assert view["places"][name]["safe_until"] == run.until
    assert (await site.view())["gaps"] == []


async def test_a_destination_that_is_away_under_load_loses_nothing(site: Site, tmp_path: Path) -> None:
    """Promise: while S3 is away and rows are written the files wait on the node, the other destination goes on; the
    agent is killed meanwhile; afterwards each segment is in both once, and off the node."""
    await site.order(keep=False)
    await site.until(lambda _: not list(site.archive.iterdir()))
    await site.s3.stop()
    await site.write(4)
    await site.until(lambda view: view["places"]["s3"]["waiting_segments"] >= 3 and view["places"]["s3"]["error"])
    await site.until(lambda view: view["places"]["here"]["waiting_segments"] == 0)
    waiting = {path.name: path.read_bytes() for path in site.archive.iterdir()}
    assert waiting
    await site.agent.kill()
    await site.write(2)
    await site.agent.start()
    await site.s3.start()
    await site.until(lambda view: not list(site.archive.iterdir()) and view["state"] == "on", 180.0)
    here = {record.name: body for record, body in await site.stored("here", tmp_path / "here")}
    there = await site.stored("s3", tmp_path / "s3")
    assert here == {record.name: body for record, body in there}
    assert waiting.items() <= here.items()
    assert gaps([record for record, _ in there]) == []


async def test_a_tail_covers_what_was_written_seconds_ago(site: Site, tmp_path: Path) -> None:
    """Promise: with a live tail the newest write is safe within seconds, in a copy that Cassandra would replay; the
    whole segment takes its place."""
    await site.order(tail_seconds=1.0)
    await site.write(0)
    session = await site.cluster.session()
    session.execute("INSERT INTO k.t (id, body) VALUES (-1, 0xfeedfacefeedface)")
    written_at = (await site.agent.ask("GET", "/v1/node"))["now"]
    await site.until(lambda view: (view["places"]["here"]["safe_until"] or 0) > written_at)
    stored = await site.stored("here", tmp_path / "here")
    record, body = stored[-1]
    assert not record.whole
    assert bytes.fromhex("feedfacefeedface") in body
    state = segment_state(tmp_path / "here" / record.name)
    assert state.damage == ""
    await site.write(2)
    await site.until(lambda view: view["places"]["here"]["newest"] > record.name)
    again = {one.name: one for one, _ in await site.stored("here", tmp_path / "again")}
    assert again[record.name].whole


async def test_no_file_is_deleted_before_a_flush(site: Site) -> None:
    """Promise: with an archive directory that takes nothing Cassandra goes on writing; when it takes segments again all
    are archived by the agent and nothing is missing; Cassandra's directory is tidied."""
    await site.order()
    program_target = site.archive
    moved = program_target.with_name("archive-away")
    program_target.rename(moved)
    program_target.write_text("in the way")
    await site.write(4)
    view = await site.until(lambda view: view["unarchived_bytes"] > 2**20)
    assert view["state"] == "on"
    program_target.unlink()
    moved.rename(program_target)
    await site.until(lambda view: view["unarchived_bytes"] == 0 and not list(site.archive.iterdir()))
    assert (await site.view())["gaps"] == []


async def test_order_and_trim_outlive_their_agents_deaths(site: Site, tmp_path: Path) -> None:
    """Promise: killed with -9 at each stage, an order and a trim end in success by themselves; what was closed before
    the time is gone from the destination, and all later segments are one run."""
    await site.order()
    await site.write(3)
    await site.until(lambda view: all(place["waiting_segments"] == 0 for place in view["places"].values()))
    targets = [{"target": target} for target in site.targets.values()]
    await site.live_through("archive", {"enabled": True, "targets": targets, "tail_seconds": 0.0}, ARCHIVE)
    assert (await site.until(lambda view: view["state"] != "unknown"))["state"] == "on"
    before = [record for record, _ in await site.stored("here", tmp_path / "before")]
    cut = before[len(before) // 2]
    trim = {"before": cut.closed_at, "target": site.targets["here"]}
    would = await site.agent.do("trim_logs", {**trim, "dry_run": True})
    assert would["objects"] > 0
    await site.live_through("trim_logs", trim, TRIM_LOGS)
    after = [record for record, _ in await site.stored("here", tmp_path / "after")]
    assert after
    assert [one.name for one in after] == [one.name for one in before][-len(after) :]
    assert all(one.closed_at >= cut.closed_at for one in after[:1])
    assert len(runs(after)) == 1
    assert (await site.agent.do("trim_logs", trim))["objects"] == 0
    assert (await site.agent.do("trim_logs", {**trim, "dry_run": True}))["objects"] == 0
