"""What the agent asks of Cassandra, timed from outside. In: a node. Out: settings that lead an agent's nodetool and
Jolokia calls past a clock, and the intervals in which such a call was under way.

nodetool is wrapped by a script that notes begin and end (some 5 ms a start, counted as nodetool's); before Jolokia
stands a forwarder on loopback (well under a millisecond a call).
"""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.cluster.cassandra import CassandraNode

_SCRIPT = """#!/bin/sh
began=$(date +%s.%N)
"{nodetool}" "$@"
ended=$?
echo "$began $(date +%s.%N)" >> "{log}"
exit $ended
"""


class Orders(NamedTuple):
    """Seconds in which at least one order was under way, and how often a JVM was started for one."""

    inside: float
    jvm_starts: int


class OrderClock:
    """Times the orders of one agent. Unix seconds throughout."""

    def __init__(self, node: CassandraNode, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._node = node
        self._log = directory / "nodetool.log"
        self._log.unlink(missing_ok=True)
        self._script = directory / "nodetool"
        self._script.write_text(_SCRIPT.format(nodetool=node.launchers / "nodetool", log=self._log))
        self._script.chmod(0o755)
        self._calls: list[list[float]] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> dict[str, Any]:
        """Begin; changes for agent.toml."""
        changes: dict[str, Any] = {"nodetool": {"command": [str(self._script)]}}
        if self._node.spec.jolokia_port is not None:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
            port = self._server.sockets[0].getsockname()[1]
            changes["jolokia"] = {"url": f"http://127.0.0.1:{port}/jolokia/"}
        return changes

    async def stop(self) -> None:
        """End the forwarder."""
        if self._server is not None:
            self._server.close()

    def between(self, began: float, ended: float) -> Orders:
        """What was under way in that time."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        starts = [[float(word) for word in line.split()] for line in lines]
        starts = [one for one in starts if began <= one[0] <= ended]
        inside, last = 0.0, began
        for first, end in sorted([*starts, *(one for one in self._calls if began <= one[0] <= ended)]):
            inside += max(0.0, min(end, ended) - max(first, last))
            last = max(last, end)
        return Orders(inside, len(starts))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._node.spec.jolokia_port is not None
        jolokia, to_jolokia = await asyncio.open_connection("127.0.0.1", self._node.spec.jolokia_port)
        asking = False
        call = [0.0, 0.0]

        async def forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, asks: bool) -> None:
            nonlocal asking, call
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    if asks and not asking:
                        call = [time.time(), time.time()]
                        self._calls.append(call)
                    asking = asks
                    sink.write(data)
                    await sink.drain()
                    call[1] = time.time()
            sink.close()

        # The agent asks one thing at a time on a connection; the last byte of the answer ends the interval.
        await asyncio.gather(forward(reader, to_jolokia, asks=True), forward(jolokia, writer, asks=False))
