"""Peak memory of a whole agent. In: a stage. Out: figures of backups of very many small files and of a very large one.

Cassandra can't be made to hold either in minutes, so its snapshot is filled up by hand: the agent takes a real
snapshot, files are added to its directories under SSTable names that no live one has, and the agent uploads the
snapshot with all that is in it, to a real S3 server. Nothing of the agent is replaced. Since the large file would need
its room twice, what the S3 server stored of it is hollowed out a moment later: objects keep their names and sizes.
"""

import asyncio
import os
import random
import secrets
import shutil
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from bench.backups import Figures
from bench.clock import Figure
from bench.dataset import MANY_TABLES
from bench.ours import MeasuredAgent
from bench.stage import Stage
from tests.cluster.cassandra import CassandraNode

GIB = 2**30
SMALL_FILES = 200_000
LARGE_FILE = 20 * GIB
ONE_FILE = "memory: one file of "
SPARE = 8 * GIB
"""Bytes of the disk that stay free."""
BLOCK = 8 * 2**20
COMPONENTS = {
    "Data.db": 400,
    "Index.db": 60,
    "Filter.db": 30,
    "Summary.db": 90,
    "Statistics.db": 4_900,
    "CompressionInfo.db": 50,
    "TOC.txt": 90,
}
"""With Digest.crc32 the eight files of an SSTable, and their bytes in the data set `many`."""
FIRST_GENERATION = 1_000_000
Fill = Callable[[list[Path]], None]


async def memory(stage: Stage, rounds: int) -> Figures:
    """Once each, whatever the rounds: a peak hardly varies."""
    every = {"many": [f"t{number:03d}" for number in range(MANY_TABLES)]}
    one = {"many": ["t000"]}
    room = shutil.disk_usage(stage.work).free - SPARE
    size = min(LARGE_FILE, room) // BLOCK * BLOCK
    figures: Figures = {}
    for what, tables, fill in (
        (f"memory: {SMALL_FILES:,} small files, {MANY_TABLES} tables, S3", every, small_files),
        (f"memory: {SMALL_FILES:,} small files in one table, S3", one, small_files),
        (f"{ONE_FILE}{size / GIB:.0f} GiB, S3", one, lambda places: large_file(places, size)),
    ):
        print(f"bench: {what}", flush=True)
        agent = MeasuredAgent(stage.node, stage.work / "agent-memory", jolokia=True)
        await agent.start()
        try:
            figures[what, agent.name] = [await _filled(stage, agent, tables, fill)]
        finally:
            await agent.stop()
            stage.forget_backups()
    return figures


async def _filled(stage: Stage, agent: MeasuredAgent, tables: Mapping[str, list[str]], fill: Fill) -> Figure:
    """Snapshot, fill, upload: the upload's figure."""
    target = await agent.destination(await stage.fresh_s3())
    tag = f"memory-{secrets.token_hex(4)}"
    await agent.agent.do("snapshot", {"tag": tag, "keyspaces": dict(tables)})
    try:
        await asyncio.to_thread(fill, _places(stage.node, tag))
        # The agent noted which files it took: without the note it takes the snapshot for one of an older release.
        (agent.agent.state_directory / "on-server" / tag / "listing").unlink()
        requests = len(stage.store.requests())
        async with _hollowing(stage.store.data):
            figure, _ = await agent.measured("upload", {"tag": tag, "targets": [dict(target)]}, deadline=3600)
        return msgspec.structs.replace(figure, requests=len(stage.store.requests()) - requests)
    finally:
        with suppress(Exception):
            await stage.node.nodetool("clearsnapshot", "-t", tag, deadline=600)


def _places(node: CassandraNode, tag: str) -> list[Path]:
    """The snapshot's directories."""
    return sorted(path for data in node.data_directories for path in data.glob(f"*/*/snapshots/{tag}"))


def small_files(places: list[Path]) -> None:
    """SMALL_FILES files of SSTables under 6 KB, no two with the same bytes, dealt to the directories."""
    generator = random.Random(1)
    for number in range(SMALL_FILES // (len(COMPONENTS) + 1)):
        write_sstable(places[number % len(places)], FIRST_GENERATION + number, generator)


def large_file(places: list[Path], size: int) -> None:
    """One SSTable whose Data.db has `size` bytes: random ones, with a number in front of each piece."""
    generator = random.Random(2)
    write_sstable(places[0], FIRST_GENERATION, generator)
    block = bytearray(generator.randbytes(BLOCK))
    crc = 0
    with (places[0] / f"nb-{FIRST_GENERATION}-big-Data.db").open("wb") as data:
        for number in range(size // BLOCK):
            block[:8] = number.to_bytes(8, "big")
            crc = zlib.crc32(block, crc)
            data.write(block)
    (places[0] / f"nb-{FIRST_GENERATION}-big-Digest.crc32").write_text(str(crc))


def write_sstable(place: Path, generation: int, generator: random.Random) -> None:
    """The eight files of a small SSTable; Digest.crc32 is right."""
    for component, size in COMPONENTS.items():
        content = generator.randbytes(size)
        (place / f"nb-{generation}-big-{component}").write_bytes(content)
        if component == "Data.db":
            (place / f"nb-{generation}-big-Digest.crc32").write_text(str(zlib.crc32(content)))


@asynccontextmanager
async def _hollowing(data: Path) -> AsyncIterator[None]:
    """Meanwhile, give back the room of stored pieces."""
    over = asyncio.Event()

    async def work() -> None:
        while not over.is_set():
            await asyncio.to_thread(hollow, data)
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), 2)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        over.set()
        await task


def hollow(data: Path) -> None:
    """Take the content of every large object that was stored over two seconds ago; name, size and attributes stay."""
    for path in data.glob("*/helenus/v1/clusters/*/nodes/*/data/*/*"):
        with suppress(FileNotFoundError):
            about = path.stat()
            if about.st_size >= BLOCK and about.st_blocks and about.st_mtime < time.time() - 2:
                os.truncate(path, 0)
                os.truncate(path, about.st_size)
