"""The place of the measurement: one Cassandra node, one S3 server, directories. In: `build/bench`. Out: a `Stage`.

The mixed data set is written once and kept for the next run; the large one comes and goes.
"""

import asyncio
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.contenders import Scene
from bench.dataset import write_large, write_mixed
from tests.cluster.cassandra import CassandraNode
from tests.cluster.places import BUILD
from tests.cluster.scratch import ScratchCluster
from tests.cluster.stores import Versity

DIRECTORY = BUILD / "bench"
BUCKET = "bench"
HEAP_MB = 2048


class Stage:
    """Started once for all measurements."""

    def __init__(self) -> None:
        self.cluster = ScratchCluster(
            DIRECTORY / "cassandra", nodes=1, name="bench", jolokia=True, heap_mb=HEAP_MB, network="127.0.9"
        )
        self.store = Versity(DIRECTORY / "store", access_log=True)
        self.local = DIRECTORY / "local"
        self.work = DIRECTORY / "work"
        for directory in (self.local, self.work):
            directory.mkdir(parents=True, exist_ok=True)

    @property
    def node(self) -> CassandraNode:
        """The only node."""
        return self.cluster.nodes[0]

    async def start(self) -> None:
        """Start both servers; write the mixed data set unless it is there."""
        if self.store.access_log is not None:
            self.store.access_log.unlink(missing_ok=True)
        await self.cluster.start()
        await self.store.start()
        await self.store.make_bucket(BUCKET)
        session = await self.cluster.session()
        await self.drop_large()
        written = DIRECTORY / "mixed-written"
        if not written.exists():
            await self._write("mixed", write_mixed, session)
            written.touch()

    async def write_large(self) -> None:
        """Write the large data set."""
        await self._write("large", write_large, await self.cluster.session())

    async def drop_large(self) -> None:
        """Remove it, and all snapshots (Cassandra takes one of what it drops)."""
        session = await self.cluster.session()
        await asyncio.to_thread(session.execute, "DROP KEYSPACE IF EXISTS large", timeout=60)
        await self.node.nodetool("clearsnapshot", "--all")

    async def stop(self) -> None:
        """Stop both servers; the node's data stays, what was backed up goes."""
        await self.cluster.stop()
        await self.store.stop()
        for directory in (self.local, self.work, self.store.data):
            shutil.rmtree(directory, ignore_errors=True)

    def forget_backups(self) -> None:
        """Make room: remove what was stored so far."""
        for directory in (self.local, self.store.data):
            for path in directory.iterdir():
                shutil.rmtree(path)
        (self.store.data / BUCKET).mkdir()

    def scene(self) -> Scene:
        """What a contender is told."""
        return Scene(
            nodetool=str(self.node.launchers / "nodetool"),
            jmx_port=self.node.spec.jmx_port,
            cassandra_yaml=self.node.directory / "conf" / "cassandra.yaml",
            address=self.node.address,
            data=self.node.data_directories[0],
            tools=BUILD / "peers" / "bin",
            endpoint=self.store.endpoint,
            key=self.store.access_key,
            secret=self.store.access_secret,
            bucket=BUCKET,
            local=self.local,
            work=self.work,
        )

    async def fresh_s3(self) -> dict[str, Any]:
        """Settings of a destination in a bucket of its own: unsigned payloads, as over TLS, and a CRC-32 of each object
        that the server verifies."""
        bucket = f"helenus-{secrets.token_hex(4)}"
        await self.store.make_bucket(bucket)
        return {
            "provider": "s3",
            "path": bucket,
            "endpoint": self.store.endpoint,
            "access_key": self.store.access_key,
            "access_secret": self.store.access_secret,
            "payload_signing": "never",
            "checksum": "CRC32",
        }

    async def _write(self, name: str, write: Callable[..., None], session: Any) -> None:
        print(f"bench: writing the {name} data set", flush=True)
        loop = asyncio.get_running_loop()

        def nodetool(*arguments: str) -> None:
            asyncio.run_coroutine_threadsafe(self.node.nodetool(*arguments, deadline=600), loop).result()

        await asyncio.to_thread(write, session, nodetool)


def write_out() -> None:
    """Have on the disk what whoever came before left in memory: a fsync waits for such pages as well, whosever."""
    os.sync()


def drop_page_cache() -> None:
    """Forget every cached file page (root): the next read comes from the disk."""
    write_out()
    Path("/proc/sys/vm/drop_caches").write_text("3")
