"""Real agent and coordinator processes. In: nodes and a directory. Out: services with a configuration of their own,
started, stopped, killed and asked over HTTP.

An agent listens on its node's loopback address. Everything of a service lies under its directory: `agent.toml`,
`token`, `state/`, `backups/` (the root of local destinations), `agent.log`.
"""

import asyncio
import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from tests.cluster import exchanges, toml
from tests.cluster.canaries import marked
from tests.cluster.cassandra import JMX_USER, CassandraNode
from tests.cluster.node_files import JOLOKIA_PASSWORD, JOLOKIA_USER
from tests.cluster.places import REPOSITORY
from tests.cluster.ports import free_port
from tests.cluster.processes import Child

TERMINAL = frozenset({"success", "partial", "failed", "cancelled", "interrupted"})


def write_secret(path: Path, text: str) -> Path:
    """A file of mode 0600 with the text."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text + "\n")
    return path


class Service:
    """A process of this project with an HTTP address and a token."""

    module = ""
    name = ""

    def __init__(
        self, directory: Path, address: str, port: int | None, *, prefix: Sequence[str] = (), outlives_us: bool = False
    ) -> None:
        self.directory = directory
        self.address = address
        self.port = port or free_port(address)
        self.settings_file = directory / f"{self.name}.toml"
        self.log = directory / f"{self.name}.log"
        self.state_directory = directory / "state"
        self.token_file = directory / "token"
        self.environment: dict[str, str] = {}
        """Added to the environment of the next start."""
        directory.mkdir(parents=True, exist_ok=True)
        if not self.token_file.exists():
            write_secret(self.token_file, marked(secrets.token_urlsafe(24)))
        self._prefix = tuple(prefix)
        self._outlives_us = outlives_us
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.address}:{self.port}"

    @property
    def token(self) -> str:
        """The bearer token that it asks for."""
        return self.token_file.read_text().strip()

    @property
    def child(self) -> Child:
        """The process of the last start."""
        if self._child is None:
            raise RuntimeError(f"the {self.name} was never started")
        return self._child

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._child is not None and self._child.alive

    @property
    def argv(self) -> list[str]:
        """The command line of the next start."""
        return [*self._prefix, sys.executable, "-m", self.module, "--config", str(self.settings_file)]

    async def died(self, deadline: float = 120.0) -> int:
        """Wait until the process has ended; its exit code, negative for a signal."""
        return await self.child.ended(deadline)

    def settings(self) -> dict[str, Any]:
        """The content of its configuration."""
        raise NotImplementedError

    def launch(self) -> None:
        """Write the configuration and start it, without waiting."""
        self.settings_file.write_text(toml.dumps(self.settings()))
        self._child = Child(
            f"{self.name} {self.url}",
            self.argv,
            self.log,
            cwd=REPOSITORY,
            env={"PYTHONUNBUFFERED": "1", **self.environment},
            outlives_us=self._outlives_us,
        )
        self._child.start()

    async def start(self, deadline: float = 30.0) -> None:
        """Start it and wait until it answers."""
        self.launch()
        await self.wait_until_ready(deadline)

    async def wait_until_ready(self, deadline: float = 30.0) -> None:
        """Wait until /health answers; raises ProcessError with the end of the log."""

        async def healthy() -> bool:
            try:
                return (await self.call("GET", "/health"))[0] == 200
            except (aiohttp.ClientError, TimeoutError):
                return False

        await self.child.until("answering", healthy, deadline)

    async def stop(self, grace: float = 30.0) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds."""
        if self._child is not None:
            await self._child.stop(grace)

    async def kill(self) -> None:
        """SIGKILL to it and its children."""
        await self.child.kill()

    async def restart(self) -> None:
        """Stop it and start it again."""
        await self.stop()
        await self.start()

    def pause(self) -> None:
        """SIGSTOP."""
        self.child.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self.child.resume()

    async def call(self, method: str, path: str, body: object = None, *, deadline: float = 60.0) -> tuple[int, Any]:
        """Status and decoded answer (None: no JSON) of one request. Raises aiohttp.ClientError, TimeoutError."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        timeout = aiohttp.ClientTimeout(total=deadline)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, self.url + path, json=body, headers=headers) as answer,
        ):
            text = await answer.text()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, None

    async def ask(self, method: str, path: str, body: object = None, *, deadline: float = 60.0) -> Any:
        """The answer of a request that must succeed."""
        status, answer = await self.call(method, path, body, deadline=deadline)
        if status >= 300:
            raise AssertionError(f"{method} {path} of the {self.name} answered {status}: {answer}")
        return answer


class AgentProcess(Service):
    """The agent beside a node."""

    module = "tests.cluster.recorded_agent"
    """The module whose agent writes down its exchanges; they are compared with openapi.yaml when it is stopped."""
    plain = "agent.daemon.main"
    name = "agent"
    mortal = "tests.cluster.mortal_agent"
    """The module whose agent kills itself at a chosen moment."""

    def __init__(
        self,
        node: CassandraNode,
        directory: Path,
        *,
        port: int | None = None,
        cql: tuple[str, str] | None = None,
        jolokia: bool = False,
        coordinators: Mapping[str, Mapping[str, str]] | None = None,
        changes: Mapping[str, Any] | None = None,
        prefix: Sequence[str] = (),
        outlives_us: bool = False,
        recorded: bool = True,
    ) -> None:
        """`cql`: user and password; `jolokia`: use the node's; `coordinators`: name → table of agent.toml; `changes`:
        further settings, which win; `prefix`: argument list in front of the agent's, such as setpriv's; `recorded`:
        False for the agent as it is shipped, in measurements and the demo."""
        super().__init__(directory, node.address, port, prefix=prefix, outlives_us=outlives_us)
        if not recorded:
            self.module = self.plain
        self.node = node
        self.local_root = directory / "backups"
        self.local_root.mkdir(exist_ok=True)
        self.coordinators = dict(coordinators or {})
        self.changes = dict(changes or {})
        self._cql = cql
        self._jolokia = jolokia

    def settings(self) -> dict[str, Any]:
        """agent.toml."""
        spec = self.node.spec
        nodetool: dict[str, Any] = {
            "command": [str(self.node.launchers / "nodetool")],
            "host": "127.0.0.1",
            "port": spec.jmx_port,
        }
        cql: dict[str, Any] = {"host": spec.address, "port": spec.native_port}
        if spec.authentication:
            nodetool |= {"username": JMX_USER, "password_file": str(self.node.jmx_password_file)}
        if self._cql is not None:
            user, password = self._cql
            cql |= {"username": user, "password_file": str(write_secret(self.directory / "cql-password", password))}
        cassandra: dict[str, Any] = {
            "nodetool": nodetool,
            "cql": cql,
            "service": {
                "start": [str(self.node.launchers / "start")],
                "stop": [str(self.node.launchers / "stop")],
                "jvm_options_file": str(self.node.directory / "conf" / "jvm-server.options"),
                "log_file": str(self.node.log),
            },
            "archiving": {
                "properties_file": str(self.node.directory / "conf" / "commitlog_archiving.properties"),
                "directory": str(self.node.directory / "archive"),
            },
        }
        if self._jolokia:
            cassandra["jolokia"] = {
                "url": f"http://127.0.0.1:{spec.jolokia_port}/jolokia/",
                "username": JOLOKIA_USER,
                "password_file": str(write_secret(self.directory / "jolokia-password", JOLOKIA_PASSWORD)),
            }
        tree: dict[str, Any] = {
            "state_directory": str(self.state_directory),
            "http": {"host": self.address, "port": self.port, "token_file": str(self.token_file)},
            "cassandra": cassandra,
            "destinations": {"local_roots": [str(self.local_root)], "file_roots": [str(self.directory)]},
        }
        if self.coordinators:
            tree["coordinators"] = self.coordinators
        return toml.merged(tree, self.changes)

    async def stop(self, grace: float = 30.0) -> None:
        """As `Service.stop`. Raises NotAsDescribed when what it and its callers said is not in openapi.yaml."""
        await super().stop(grace)
        if self.module == self.plain:
            return
        from tests.cluster import described  # what it needs is not installed for the demo

        await asyncio.to_thread(described.check, self.directory / exchanges.NAME)

    async def command(self, kind: str, arguments: Mapping[str, Any], **more: Any) -> str:
        """Post a command; its id."""
        post = {"id": f"{kind}-{secrets.token_hex(6)}", "kind": kind, "arguments": arguments, **more}
        await self.ask("POST", "/v1/commands", post)
        return str(post["id"])

    async def ended(self, command: str, deadline: float = 300.0) -> dict[str, Any]:
        """Wait until the command is terminal; its view."""
        async with asyncio.timeout(deadline):
            while True:
                view: dict[str, Any] = await self.ask("GET", f"/v1/commands/{command}")
                if view["state"] in TERMINAL:
                    return view
                await asyncio.sleep(0.1)

    async def do(self, kind: str, arguments: Mapping[str, Any], *, deadline: float = 300.0, **more: Any) -> Any:
        """Run a command that must succeed; its result."""
        view = await self.ended(await self.command(kind, arguments, **more), deadline)
        if view["state"] != "success":
            raise AssertionError(f"{kind} on {self.url} ended {view['state']}: {view['error']}")
        return view["result"]

    async def start_mortal(self, moment: str) -> None:
        """Start an agent that dies at the moment (see `mortal_agent`); `start` afterwards gives one that lives."""
        self.launch_mortal(moment)
        await self.wait_until_ready()

    def launch_mortal(self, moment: str) -> None:
        """The same without waiting for it: it may die before it answers."""
        from tests.cluster.mortal_agent import VARIABLE  # as in `stop`

        lively, self.module, self.environment = self.module, self.mortal, {VARIABLE: moment}
        try:
            self.launch()
        finally:
            self.module, self.environment = lively, {}


class CoordinatorProcess(Service):
    """A coordinator over the agents of one cluster (or, with `clusters`, of several)."""

    module = "tests.cluster.recorded_coordinator"
    """Its exchanges are written down, and compared with openapi.yaml when it is stopped."""
    plain = "coordinator.main"
    name = "coordinator"

    def __init__(
        self,
        agents: Sequence[AgentProcess],
        directory: Path,
        *,
        cluster: str = "scratch",
        cluster_name: str = "",
        address: str | None = None,
        port: int | None = None,
        changes: Mapping[str, Any] | None = None,
        outlives_us: bool = False,
        recorded: bool = True,
    ) -> None:
        """`cluster`: the id in paths; `cluster_name`: Cassandra's, when it is another one; `recorded`: False for the
        coordinator as it is shipped, in measurements and the demo. It listens on the address of the first agent unless
        told otherwise. Agents must ask for one token: see `share_token`."""
        super().__init__(directory, address or agents[0].address, port, outlives_us=outlives_us)
        if not recorded:
            self.module = self.plain
        self.agents = list(agents)
        self.cluster = cluster
        self.cluster_name = cluster_name
        self.changes = dict(changes or {})

    def settings(self) -> dict[str, Any]:
        """coordinator.toml."""
        tree: dict[str, Any] = {
            "state_directory": str(self.state_directory),
            "http": {"host": self.address, "port": self.port, "token_file": str(self.token_file)},
            "scrub": {"every_hours": 0},  # one in between would keep destinations in use
            "clusters": {
                self.cluster: {
                    "name": self.cluster_name,
                    "agents": [agent.url for agent in self.agents],
                    "token_file": str(self.agents[0].token_file),
                }
            },
        }
        return toml.merged(tree, self.changes)

    async def stop(self, grace: float = 30.0) -> None:
        """As `Service.stop`. Raises NotAsDescribed when what it and its callers said is not in openapi.yaml."""
        await super().stop(grace)
        if self.module == self.plain:
            return
        from tests.cluster import coordinator_exchanges  # what it needs is not installed for the demo

        await asyncio.to_thread(coordinator_exchanges.check_coordinator, self.directory / exchanges.NAME)

    def launch_mortal(self, moment: str) -> None:
        """Start a coordinator that dies at the moment (see `crashing_coordinator`), without waiting for it; `start`
        afterwards gives one that lives."""
        from tests.cluster import crashing_coordinator  # with the coordinator's own parts

        lively, self.module = self.module, crashing_coordinator.__name__
        self.environment = {crashing_coordinator.VARIABLE: moment}
        try:
            self.launch()
        finally:
            self.module, self.environment = lively, {}


def share_token(agents: Sequence[AgentProcess]) -> None:
    """Give all agents the first one's token; they must not run yet."""
    for agent in agents[1:]:
        write_secret(agent.token_file, agents[0].token)
