"""One real Cassandra node: started, stopped, killed, paused, wiped.

In: a `NodeSpec` and a directory, kept between runs. Out: a node that answers CQL and is NORMAL in the ring. It is bound
to no event loop. What it prints is in `<directory>/cassandra.log`, appended to at every start. An agent may stop and
start it by the launchers meanwhile: what is said of the node here is always of its last run, whoever started it.
"""

import os
import re
import shutil
import socket
from pathlib import Path

from tests.cluster import java, node_files, node_launchers
from tests.cluster.node_files import JMX_PASSWORD, JMX_USER, NodeSpec
from tests.cluster.processes import Child, Found, ProcessError, run, together, watch

__all__ = ["JMX_PASSWORD", "JMX_USER", "CassandraNode", "NodeSpec"]

_OPTIONS_FRAME = bytes((4, 0, 0, 0, 5, 0, 0, 0, 0))  # CQL v4 request OPTIONS: what does the server support?
_SUPPORTED = 6
_STATE_LINE = re.compile(r"InetAddress /([0-9.]+):\d+ is now (UP|DOWN)")
_NORMAL_LINE = re.compile(r"Node /([0-9.]+):\d+ state jump to NORMAL")


class CassandraNode:
    """A node of a scratch cluster; methods that wait raise ProcessError with the end of the log."""

    def __init__(
        self,
        spec: NodeSpec,
        directory: Path,
        *,
        cluster_name: str = "scratch",
        seeds: str | None = None,
        outlives_us: bool = False,
        archive_to: Path | None = None,
    ) -> None:
        """`seeds` is a comma separated list of addresses, the node alone by default."""
        self.spec = spec
        self.directory = directory
        self.log = directory / "cassandra.log"
        self.launchers = directory / "launchers"
        self.data_directories = node_files.data_directories(spec, directory)
        self._cluster_name = cluster_name
        self._seeds = seeds or spec.address
        self._outlives_us = outlives_us
        self._archive_to = archive_to
        self._child: Child | None = None

    @property
    def address(self) -> str:
        """The address of CQL and of the other nodes' connections."""
        return self.spec.address

    @property
    def child(self) -> Child:
        """The process of the last run; raises ProcessError before the first start."""
        if self._child is None:
            raise ProcessError(f"Cassandra {self.address} was never started")
        run = node_launchers.last_run(self.directory)
        if run is not None and run.pid != self._child.pid and run.alive:
            self._child.let_go_if_ended()
            self._child = Found(self._child.name, run.pid, run.started, self.log)
        return self._child

    @property
    def jmx_password_file(self) -> Path:
        """What nodetool takes as -pwf when the node has `authentication`."""
        return self.directory / "conf" / "jmxremote.password"

    async def start(self, deadline: float = 120.0) -> None:
        """Start it and wait until it answers CQL and is NORMAL."""
        self.launch()
        await self.wait_until_ready(deadline)

    def launch(self) -> None:
        """Start it without waiting."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "tmp").mkdir(exist_ok=True)
        options = node_files.write(self.spec, self.directory, self._cluster_name, self._seeds)
        conf = self.directory / "conf"
        command = java.node(self.spec.version, self.spec.heap_mb, options, conf, self._archive_to)
        self.log.touch()
        launcher = node_launchers.write(command, self._prefix(), self.directory)
        if self.spec.run_as is not None:
            self._hand_over()
        self._child = Child(
            f"Cassandra {self.spec.version} {self.address}",
            [*self._prefix(), launcher],
            self.log,
            cwd=self.directory,
            outlives_us=self._outlives_us,
        )
        if not self._outlives_us:
            watch(self.directory)
        self._child.start()

    async def wait_until_ready(self, deadline: float = 120.0) -> None:
        """Wait until it answers CQL and is NORMAL."""

        async def ready() -> bool:
            return "Startup complete" in self.printed() and self.address in self._normal() and self._answers_cql()

        await self.child.until("answering CQL", ready, deadline)

    async def wait_until_sees(self, addresses: set[str], deadline: float = 120.0) -> None:
        """Wait until the node sees exactly these others as UP."""

        async def sees() -> bool:
            return self.peers_up() == addresses

        await self.child.until(f"seeing {sorted(addresses)}", sees, deadline)

    async def stop(self, grace: float = 60.0) -> None:
        """End it as a service manager does: SIGTERM, and SIGKILL after `grace` seconds."""
        if self._child is not None:
            await self.child.stop(grace)

    async def kill(self) -> None:
        """SIGKILL."""
        await self.child.kill()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        self.child.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self.child.resume()

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._child is not None and self.child.alive

    def wipe(self) -> None:
        """Delete all that it stored (it must not run): the next start is that of a new node with the same tokens."""
        if self.alive:
            raise ProcessError(f"Cassandra {self.address} still runs")
        for path in (*self.data_directories, *(self.directory / n for n in ("commitlog", "hints", "saved_caches"))):
            shutil.rmtree(path, ignore_errors=True)

    def table_directories(self, keyspace: str, table: str) -> list[Path]:
        """The directories of a table over all data directories (`<table>-<id>`, dropped ones too)."""
        return [
            path
            for data in self.data_directories
            for path in sorted((data / keyspace).glob(f"{table}-*"))
            if path.name.rpartition("-")[0] == table
        ]

    async def nodetool(self, *arguments: str, deadline: float = 120.0) -> str:
        """What `nodetool <arguments>` prints; raises ProcessError when it fails."""
        connection = ["-h", "127.0.0.1", "-p", str(self.spec.jmx_port)]
        if self.spec.authentication:
            connection += ["-u", JMX_USER, "-pwf", str(self.jmx_password_file)]
        return await run([self.launchers / "nodetool", *connection, *arguments], deadline)

    def printed(self) -> str:
        """What it printed since its last start."""
        run = node_launchers.last_run(self.directory)
        if run is None or not self.log.exists():
            return ""
        with self.log.open("rb") as stream:
            stream.seek(run.log_start)
            return stream.read().decode(errors="replace")

    def peers_up(self) -> set[str]:
        """The other nodes that it last reported as UP."""
        last = dict(_STATE_LINE.findall(self.printed()))
        return {address for address, state in last.items() if state == "UP"} - {self.address}

    def _normal(self) -> set[str]:
        return set(_NORMAL_LINE.findall(self.printed()))

    def _answers_cql(self) -> bool:
        try:
            with socket.create_connection((self.address, self.spec.native_port), timeout=2) as connection:
                connection.sendall(_OPTIONS_FRAME)
                answer = connection.recv(9)
        except OSError:
            return False
        return len(answer) >= 5 and answer[4] == _SUPPORTED

    def _hand_over(self) -> None:
        """Give the node's directory to its user."""
        assert self.spec.run_as is not None
        user, group, _ = self.spec.run_as
        for path in (self.directory, *self.directory.rglob("*")):
            if path.lstat().st_uid != user:
                os.chown(path, user, group, follow_symlinks=False)

    def _prefix(self) -> list[str]:
        """What runs a program as the node's user."""
        if self.spec.run_as is None:
            return []
        user, group, further = self.spec.run_as
        groups = f"--groups={','.join(map(str, further))}" if further else "--clear-groups"
        return ["setpriv", f"--reuid={user}", f"--regid={group}", groups]


async def start_together(nodes: list[CassandraNode], deadline: float = 180.0) -> None:
    """Start nodes at once and wait until each is ready."""
    for node in nodes:
        node.launch()
    await together(*(node.wait_until_ready(deadline) for node in nodes))
