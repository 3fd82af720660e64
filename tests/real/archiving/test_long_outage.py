"""A destination that is away for ten minutes under load: nothing lost, nothing twice."""

import asyncio
import re
import threading
import time
from pathlib import Path

import pytest
from cassandra.concurrent import execute_concurrent_with_args

from agent.plan.log_windows import gaps, runs
from bench.clock import peak_mib
from tests.real.archiving.site import Site

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]
AWAY_SECONDS = 600.0
AT_ONCE, BODY_BYTES = 500, 1000
ROW = re.compile(rb"row:([0-9]{12})")


class Load:
    """Writes rows that can be found in the log by their numbers, until it is told to end."""

    def __init__(self, site: Site) -> None:
        self._site, self._ended = site, threading.Event()
        self.acknowledged = 0

    async def begin(self) -> asyncio.Task[None]:
        session = await self._site.cluster.session()
        statement = session.prepare("INSERT INTO k.t (id, body) VALUES (?, ?)")

        def write() -> None:
            while not self._ended.is_set():
                first = self.acknowledged
                rows = [(one, b"row:%012d" % one + bytes(BODY_BYTES)) for one in range(first, first + AT_ONCE)]
                execute_concurrent_with_args(session, statement, rows, concurrency=64)
                self.acknowledged += AT_ONCE

        return asyncio.create_task(asyncio.to_thread(write))

    def end(self) -> None:
        self._ended.set()


async def test_ten_minutes_without_a_destination(tmp_path: Path) -> None:
    """Promise: while S3 is away for ten minutes under as much load as the machine carries, Cassandra writes on and the
    other destination takes all; each row that Cassandra acknowledged is afterwards in both, each segment once, none on
    the node, without a gap."""
    async with Site(tmp_path) as site:
        await site.write(0)
        await site.order()
        await site.restart()
        await site.until(lambda view: view["state"] == "on")
        load = Load(site)
        writing = await load.begin()
        await asyncio.sleep(5)
        await site.s3.stop()
        began, before = time.monotonic(), load.acknowledged
        try:
            await asyncio.wait({writing}, timeout=AWAY_SECONDS)
        finally:
            load.end()
            await writing
        rate = (load.acknowledged - before) / (time.monotonic() - began)
        view = await site.until(lambda view: view["places"]["s3"]["error"])
        print(f"{rate:,.0f} writes/s; {view['places']['s3']['waiting_segments']} segments wait for S3", end=", ")
        await site.write(2)  # closes the segment in which the last row is
        await site.s3.start()
        await site.until(lambda view: not list(site.archive.glob("CommitLog-*")) and view["state"] == "on", 900.0)
        print(f"agent's peak {peak_mib(site.agent.child.pid):.0f} MiB")
        assert (await site.view())["gaps"] == []
        kept = {}
        for name in site.targets:
            kept[name] = await _judge(site, name, tmp_path / name, load.acknowledged)
        assert kept["s3"] == kept["here"]


async def _judge(site: Site, name: str, to: Path, rows: int) -> list[tuple[str, str]]:
    """Names and digests of the segments of a place, once it is known that no row is missing in them."""
    seen = bytearray(rows)
    records = []
    async for record, path in site.each_stored(name, to):
        records.append(record)
        for found in ROW.finditer(path.read_bytes()):
            seen[int(found[1])] = 1
        path.unlink()
    assert seen.count(0) == 0, f"{seen.count(0)} rows of {rows} are in no segment of {name}"
    assert gaps(records) == []
    assert len(runs(records)) == 1
    names = [record.name for record in records]
    assert len(names) == len(set(names))
    return [(record.name, record.digest) for record in records]
