"""Measures what compressing costs and saves. In: levels. Out: a table of bytes stored and seconds.

    python -m bench.stored [--levels 0 1 3] [--rows 30000]

The same rows lie in a table that Cassandra compresses with LZ4, in one that it compresses with zstd, and in one that it
doesn't compress; beside them are 150 small tables. Each is stored into a local directory by the agent's own pipeline,
with each level of zstd; 0 never compresses. Level 1 is what an agent uses.
"""

import argparse
import asyncio
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cassandra.concurrent import execute_concurrent_with_args

from agent.cassandra.directories import Volume
from agent.cassandra.inventory import read_inventory
from agent.model.snapshot import SnapshotTable
from agent.pipeline.compression import Compression
from agent.pipeline.digest_cache import DigestCache
from agent.pipeline.store import Store
from agent.pipeline.table_run import StoredTable
from agent.pipeline.targets import StoreTarget
from agent.plan.objects import ObjectIndex
from agent.progress.tally import CommandTally
from agent.repository.opened import OpenedRepository
from agent.storage.local.storage import LocalStorage
from agent.storage.protocol import OPEN, Buffer
from bench.dataset import REPLICATION, shop_rows
from bench.stage import Stage, write_out
from tests.cluster.places import BUILD

OPTIONS = {
    "lz4": "{'class': 'LZ4Compressor'}",
    "zstd": "{'class': 'ZstdCompressor'}",
    "uncompressed": "{'enabled': 'false'}",
}
TAG = "stored"


class Never(Compression):
    """Leaves everything as it is."""

    def compressed(self, plain: memoryview) -> Buffer | None:
        """None."""
        return None


async def stored(tables: Sequence[SnapshotTable], level: int, work: Path) -> tuple[int, float]:
    """Bytes in the destination and seconds."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    write_out()
    storage = LocalStorage(work, workers=8)
    repository = OpenedRepository("d", storage, "r", "c", OPEN, 8)
    cache = DigestCache(work.with_suffix(".sqlite"))
    compression = Compression(level) if level else Never()
    target = StoreTarget(repository, "host", ObjectIndex(), OPEN)
    store = Store([target], cache, CommandTally(), compression=compression)

    async def finish(_: StoredTable) -> None:
        return None

    began = time.perf_counter()
    await store.tables(list(tables), finish)
    seconds = time.perf_counter() - began
    await store.close()
    await storage.close()
    cache.close()
    work.with_suffix(".sqlite").unlink()
    return target.put_bytes, seconds


async def write(stage: Stage, rows: int) -> None:
    """The three tables, anew."""
    session = await stage.cluster.session()

    def fill() -> None:
        session.execute(f"CREATE KEYSPACE IF NOT EXISTS stored WITH replication = {REPLICATION}")
        for name, options in OPTIONS.items():
            columns = "(id int PRIMARY KEY, body blob, note text)"
            session.execute(f"DROP TABLE IF EXISTS stored.{name}")
            session.execute(f"CREATE TABLE stored.{name} {columns} WITH compression = {options}")
            insert = session.prepare(f"INSERT INTO stored.{name} (id, body, note) VALUES (?, ?, ?)")
            execute_concurrent_with_args(session, insert, shop_rows(1, rows), concurrency=64)

    await asyncio.to_thread(fill)
    await stage.node.nodetool("flush", "stored")


async def measure(levels: Sequence[int], rows: int, rounds: int) -> list[dict[str, Any]]:
    """Every table with every level; the quickest of the rounds."""
    stage = Stage()
    found: list[dict[str, Any]] = []
    try:
        await stage.start()
        await write(stage, rows)
        await stage.node.nodetool("snapshot", "-t", TAG, "stored", "many")
        volume = Volume(str(stage.node.data_directories[0]), 1, "bench", 1, 1)
        tables = [one for one in read_inventory([volume], TAG, None) if one.keyspace in ("stored", "many")]
        sets = {name: [one for one in tables if (one.keyspace, one.table) == ("stored", name)] for name in OPTIONS}
        sets["150 small tables"] = [one for one in tables if one.keyspace == "many"]
        print("table              MB in files   level   MB stored   seconds")
        for name, some in sets.items():
            size = sum(file.size for one in some for file in one.files)
            for level in levels:
                runs = [await stored(some, level, stage.work / "stored") for _ in range(rounds)]
                put, seconds = min(runs, key=lambda run: run[1])
                found.append({"table": name, "bytes": size, "level": level, "stored": put, "seconds": seconds})
                print(f"{name:<18} {size / 1e6:11.1f} {level:7} {put / 1e6:11.1f} {seconds:9.2f}", flush=True)
        await stage.node.nodetool("clearsnapshot", "-t", TAG)
    finally:
        await stage.stop()
    return found


def main() -> None:
    """Parse the arguments, measure, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--levels", type=int, nargs="+", default=[0, 1, 3])
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = asyncio.run(measure(options.levels, options.rows, options.rounds))
    (BUILD / "stored.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
