"""A whole service: a scratch cluster, an agent beside each node, a coordinator, and what a person does with them.

In: a cluster that is up, and a directory. Out: backups and restores through OpsCenter's API, an oracle watches each
destination. Bound to no event loop.
"""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.cluster.cassandra import CassandraNode
from tests.cluster.opscenter import OpsCenter, RequestFailed
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import AgentProcess, CoordinatorProcess, share_token
from tests.cluster.stores import ObjectStore
from tests.oracle.checker import Backup, Oracle
from tests.oracle.reader import DirectoryReader, Reader

QUICK = {"sweep": {"margin_seconds": 0.5}}
"""What tests make short: between the sweep's mark and its deletions lies half a minute otherwise."""
EVERYBODY = ""
"""Whose part lies in a destination that all nodes share."""
_OWN = ("truncated-", "dropped-")  # Cassandra's own snapshots


class BackupService:
    """Agents and coordinator of one cluster."""

    def __init__(
        self, cluster: ScratchCluster, directory: Path, *, agents: Sequence[AgentProcess] | None = None
    ) -> None:
        """`agents`: one for each node, in their order, where they are to be special; else each uses its node's Jolokia,
        where that has one."""
        self.cluster = cluster
        self.directory = directory
        self.agents = list(agents or []) or [
            AgentProcess(node, directory / f"agent{number}", jolokia=node.spec.jolokia_port is not None, changes=QUICK)
            for number, node in enumerate(cluster.nodes, 1)
        ]
        share_token(self.agents)
        self.coordinator = CoordinatorProcess(
            self.agents, directory / "coordinator", cluster="flows", cluster_name=cluster.name
        )
        self.api = OpsCenter(self.coordinator)
        self._readers: dict[str, list[Reader]] = {}
        self._oracles: dict[str, dict[str, Oracle]] = {}
        """Destination → agent's address (or EVERYBODY) → the oracle of that part."""
        self._memory: dict[str, dict[str, Oracle]] = {}
        """The same by where the destination is."""

    @property
    def node(self) -> CassandraNode:
        """The first node as it is configured now."""
        return self.cluster.nodes[0]

    async def start(self) -> None:
        """Agents first, then the coordinator."""
        async with asyncio.TaskGroup() as group:
            for agent in self.agents:
                group.create_task(agent.start(90))
        await self.coordinator.start(90)

    async def stop(self) -> None:
        """The coordinator first, then the agents."""
        await self.coordinator.stop()
        async with asyncio.TaskGroup() as group:
            for agent in self.agents:
                group.create_task(agent.stop())

    async def lose_state(self) -> None:
        """Stop everything, forget all that it remembered, and start it again."""
        await self.stop()
        for service in (*self.agents, self.coordinator):
            shutil.rmtree(service.state_directory)
        await self.start()

    async def lose_state_of(self, agent: AgentProcess) -> None:
        """The same for one agent, as when its disk is lost."""
        await agent.stop()
        shutil.rmtree(agent.state_directory)
        await agent.start()

    # Destinations

    async def local(self, path: str) -> str:
        """Add a local destination (again); its id."""
        made = await self.api.post("/backups/destinations", {"provider": "local", "path": path})
        name = str(made["destination_id"]["id"])
        parts: dict[str, Reader] = {agent.address: DirectoryReader(agent.local_root / path) for agent in self.agents}
        return self._watched(name, path, parts)

    async def bucket(self, store: ObjectStore, bucket: str) -> str:
        """Add a bucket (which is made when it isn't there) as a destination; its id."""
        await store.make_bucket(bucket)
        made = await self.api.post("/backups/destinations", store.settings(bucket))
        name = str(made["destination_id"]["id"])
        return self._watched(name, f"{store.endpoint}/{bucket}", {EVERYBODY: store.reader(bucket)})

    async def sizes(self, destination: str) -> dict[str, int]:
        """Key → bytes of all that lies in a destination (of a per-node one: of the last node that has the key)."""

        def look() -> dict[str, int]:
            return {key: size for reader in self._readers[destination] for key, size in reader.list()}

        return await asyncio.to_thread(look)

    def expect(self, tag: str, status: dict[str, Any], destinations: Sequence[str]) -> None:
        """What a request reported as done must be there from now on."""
        for address, part in status["details"]["subrequests"].items():
            for name in destinations:
                oracles = self._oracles[name]
                oracles[EVERYBODY if EVERYBODY in oracles else address].expect(tag, [str(part["host_id"])])

    async def inspected(self, destination: str) -> dict[tuple[str, str], Backup]:
        """What the oracle read there: every byte of every backup, by tag and host id. Nothing runs meanwhile. Raises
        OracleFailed."""
        found: dict[tuple[str, str], Backup] = {}
        for oracle in self._oracles[destination].values():
            found |= await asyncio.to_thread(oracle.check, idle=True)
        return found

    async def judged(self) -> None:
        """Every destination there ever was is as it should be. Nothing runs meanwhile. Raises OracleFailed."""
        for oracles in self._memory.values():
            for oracle in oracles.values():
                await asyncio.to_thread(oracle.check, idle=True)

    # Backups and restores

    async def backup(
        self,
        keyspaces: list[str] | dict[str, list[str]] | None,
        *destinations: str,
        keep: bool = False,
        deadline: float = 600.0,
    ) -> str:
        """Run a backup that must succeed (no destination: on the nodes); its tag. The oracles are told."""
        body: dict[str, Any] = {}
        if keyspaces is not None:
            body["keyspaces"] = unquoted(keyspaces)
        if destinations:
            body["destinations"] = {name: {} for name in (*destinations, *(["OPSC_ON_SERVER"] if keep else []))}
        status = await self._follow(await self.api.post("/backups/run", body), deadline)
        self.expect(str(status["tag"]), status, destinations)
        return str(status["tag"])

    async def restore(
        self,
        tag: str,
        destination: str | None,
        *below: str,
        deadline: float = 600.0,
        **options: Any,
    ) -> dict[str, Any]:
        """Restore the backup, a keyspace or a table of it (`below`); its last status. Raises RequestFailed, and
        AssertionError when the API refuses at once."""
        path, body = _restore(tag, destination, below, options)
        return await self._follow(await self.api.post(path, body), deadline)

    async def sync(self, tag: str, *destinations: str) -> dict[str, Any]:
        """Copy an on-server backup to destinations. The oracles are told."""
        body = {"tag": tag, "destinations": {name: {} for name in destinations}}
        status = await self._follow(await self.api.post("/backups/sync", body), 600)
        self.expect(tag, status, destinations)
        return status

    async def delete(self, tag: str, destination: str | None, *, remove_destination: bool = False) -> dict[str, Any]:
        """Delete a backup and free its space; the request's last status. The oracles are told."""
        query = f"?tag={tag}" + (f"&destination={destination}" if destination else "")
        query += "&remove_destination=true" if remove_destination else ""
        status = await self._follow(await self.api.delete(f"/backups{query}"), 600)
        for oracle in self._oracles.get(destination or "", {}).values():
            oracle.deleted(tag)
        return status

    async def listed(self, destination: str | None = None) -> dict[str, Any]:
        """Tag → record of the backups there."""
        query = f"?destination={destination}" if destination else ""
        answer: dict[str, Any] = await self.api.get(f"/backups{query}")
        return answer

    async def refusal(self, tag: str, destination: str | None, *below: str, **options: Any) -> dict[str, Any]:
        """The error object of a restore that must not be done, at once or by its request."""
        path, body = _restore(tag, destination, below, options)
        code, answer = await self.api.refused("POST", path, body)
        if code >= 300:
            refused: dict[str, Any] = answer
            return refused
        try:
            status = await self._follow(str(answer), 600)
        except RequestFailed as failed:
            return failed.error
        raise AssertionError(f"the restore was done: {status}")

    # What is on the nodes

    def snapshots(self) -> set[str]:
        """Tags of snapshots on the nodes' volumes, Cassandra's own left out."""
        found = {
            path.name
            for node in self.cluster.nodes
            for data in node.data_directories
            for path in data.glob("*/*/snapshots/*")
        }
        return {name for name in found if not name.startswith(_OWN)}

    def staged(self) -> list[Path]:
        """Files that restores left on the nodes' volumes."""
        found: list[Path] = []
        for node in self.cluster.nodes:
            for place in {*node.data_directories, *(data.parent for data in node.data_directories)}:
                found += [path for path in place.glob(".helenus/**/*") if path.is_file()]
        return found

    def _watched(self, name: str, place: str, readers: dict[str, Reader]) -> str:
        self._readers[name] = list(readers.values())
        # Services that lost their state call a place by another name: what was there is to be there all the same.
        new = {whose: Oracle(reader, per_node=whose != EVERYBODY) for whose, reader in readers.items()}
        self._oracles[name] = self._memory.setdefault(place, new)
        return name

    async def _follow(self, request: str, deadline: float) -> dict[str, Any]:
        return await self.api.follow(request, deadline=deadline, poll=0.1)


def _restore(
    tag: str, destination: str | None, below: Sequence[str], options: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Path and body of a restore."""
    body = {key.replace("column_families", "column-families"): value for key, value in options.items()}
    if destination is not None:
        body["destination"] = destination
    return "/".join(("/backups/restore", tag, *(unquote(name) for name in below))), body


def unquote(name: str) -> str:
    """A name as the API takes it: CQL's quotes are no part of it."""
    return name.strip('"')


def unquoted(names: list[str] | dict[str, list[str]]) -> list[str] | dict[str, list[str]]:
    """The same for keyspaces, with or without their tables."""
    if isinstance(names, dict):
        return {unquote(keyspace): [unquote(table) for table in tables] for keyspace, tables in names.items()}
    return [unquote(name) for name in names]
