"""One real node with the agent's parts for it, and phases of a restore run as the agent would run them.

In: a node of the harness and a state directory. Out: jobs' outcomes.
"""

from pathlib import Path
from typing import Any

from agent.cassandra.node import CassandraNode
from agent.cassandra.settings import CassandraSettings, CqlSettings, JolokiaSettings, NodetoolSettings
from agent.jobs.copying.manifests import on_server_manifest
from agent.jobs.restore.phases import restore_jobs
from agent.jobs.restore.repository_source import RestoreSources
from agent.jobs.restore.tools import RestoreTools
from agent.model.job import Outcome
from agent.model.snapshot import SnapshotInfo
from agent.repository.intents import Writer
from agent.repository.on_server import OnServer
from agent.wire.commands import Kind, RestoreArguments, SnapshotArguments
from tests.cluster import cassandra as harness
from tests.cluster.node_files import JOLOKIA_PASSWORD, JOLOKIA_USER
from tests.fast.restore.context import Context


def settings_for(node: harness.CassandraNode, **changes: Any) -> CassandraSettings:
    """The agent's settings for a node of the harness without passwords."""
    nodetool = NodetoolSettings(command=(str(node.launchers / "nodetool"),), port=node.spec.jmx_port)
    cql = CqlSettings(host=node.address, port=node.spec.native_port)
    return CassandraSettings(**{"nodetool": nodetool, "cql": cql, **changes})


def jolokia_for(node: harness.CassandraNode, directory: Path) -> JolokiaSettings:
    """The settings of a node's Jolokia, with its password in a file of its own."""
    secret = directory / "jolokia.password"
    secret.write_text(JOLOKIA_PASSWORD + "\n")
    secret.chmod(0o600)
    url = f"http://127.0.0.1:{node.spec.jolokia_port}/jolokia/"
    return JolokiaSettings(url=url, username=JOLOKIA_USER, password_file=str(secret))


class NoDestinations:
    """The rig restores from the node itself only."""

    def opened(self, target: Any, waiting: Any = None) -> Any:
        raise AssertionError(f"no destination was expected: {target}")


class Rig:
    """The agent's parts for one node."""

    def __init__(self, settings: CassandraSettings, state: Path) -> None:
        self.node = CassandraNode(settings, state)
        self.state = state
        self._on_server = OnServer(state / "on-server")
        sources = RestoreSources(NoDestinations(), self.node.snapshots, self._on_server)
        self.tools = RestoreTools(self.node, sources, state)
        self.jobs = restore_jobs(self.tools)

    async def keep(self, tag: str, keyspaces: dict[str, list[str]] | None) -> SnapshotInfo:
        """Take an on-server backup with its manifest."""
        info = await self.node.snapshots.take(SnapshotArguments(tag, keyspaces, keep=True), f"command-{tag}")
        tables = await self.node.snapshots.inventory(tag)
        writer = Writer("agent", "instance", "0")
        await self._on_server.put_manifest(tag, await on_server_manifest(info, tables, writer, f"command-{tag}"))
        return info

    async def arguments(self, tag: str, tables: dict[str, list[str]], **changes: Any) -> RestoreArguments:
        """Arguments of a phase for this node's own part."""
        info = await self.node.snapshots.info(tag)
        assert info is not None
        return RestoreArguments(tag, info.node.host_id, tables, **changes)

    async def run(self, kind: Kind, arguments: RestoreArguments, job: str | None = "job-1") -> Outcome:
        """Run one phase."""
        return await self.jobs[kind](Context(arguments, job))

    async def close(self) -> None:
        await self.node.close()
