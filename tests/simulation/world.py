"""What outlives each process of a run: nodes, stores, states, and the oracle that looks at them. In: a directory. Out:
agents that are born and die there, and all that went wrong."""

import hashlib
from pathlib import Path
from typing import Any

from agent.wire.commands import CommandView, Kind
from tests.fast.jobs.agent_in_memory import MemoryReader
from tests.fast.jobs.node import HOST, Node
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Backup, Oracle
from tests.oracle.formats import INLINE, ZSTD, head_of, name_of, parts_of, place_of, plain_of
from tests.simulation.agent import CLUSTER, SECRET, SimulatedAgent, initialised
from tests.simulation.loop import unix_now
from tests.simulation.node import snapshot_tags
from tests.simulation.process import Calm, Crash, Faults
from tests.simulation.sealing import ORACLE_KEYS
from tests.simulation.sealing import SECRET as KEY_FILE

CALM = Calm()


class World:
    """One cluster of one node, and its destinations."""

    def __init__(self, place: Path, destinations: tuple[str, ...] = ("d1",), *, encrypted: bool = False) -> None:
        self.place = place
        self.node = Node(place / "node")
        self.stores = {name: MemoryStorage(clock=unix_now) for name in destinations}
        self.encrypted = encrypted
        self.keys = ORACLE_KEYS if encrypted else None
        self.oracles = {name: self._oracle(name) for name in destinations}
        self.trace: list[str] = []

    async def made(self) -> None:
        """Make the repositories."""
        for store in self.stores.values():
            await initialised(store, encrypted=self.encrypted)

    def tell(self, line: str) -> None:
        """Note what happens, with its time."""
        self.trace.append(f"{unix_now() % 100_000:12.4f} {line}")

    def agent(self, name: str = "a1", faults: Faults = CALM, node: Node | None = None, **more: Any) -> SimulatedAgent:
        """A new process of that agent."""
        where = self.place / f"state {name}"
        node = node or self.node
        return SimulatedAgent(name, node, self.stores, where, faults, self.tell, encrypted=self.encrypted, **more)

    def check(self, *, idle: bool = False) -> dict[str, dict[tuple[str, str], Backup]]:
        """I1 to I5 of every destination; destination → what `Oracle.check` gives."""
        return {name: oracle.check(idle=idle) for name, oracle in self.oracles.items()}

    def expect(self, tag: str) -> None:
        """A backup was reported a success in all destinations."""
        for oracle in self.oracles.values():
            oracle.expect(tag, [HOST])

    def deleted(self, tag: str) -> None:
        """Somebody deletes it."""
        for oracle in self.oracles.values():
            oracle.deleted(tag)

    def forget(self, destination: str, gone: set[str]) -> None:
        """Let the oracle look at a destination as if for the first time; `gone`: the tags that were deleted."""
        self.oracles[destination] = self._oracle(destination)
        for tag in gone:
            self.oracles[destination].deleted(tag)

    def snapshots(self) -> set[str]:
        """The snapshots on the node, whoever took them."""
        return snapshot_tags(self.node)

    def data_keys(self, destination: str = "d1") -> set[str]:
        """The data objects that are there."""
        return {key for key in self.stores[destination]._objects if "/data/" in key}

    def _oracle(self, destination: str) -> Oracle:
        return Oracle(MemoryReader(self.stores[destination]), keys=self.keys)


async def begun(agent: SimulatedAgent, *commands: tuple[str, Kind, Any]) -> bool:
    """Start the agent, post the commands and wait for their end; False if it died. It is buried then."""
    try:
        await agent.start()
        for command_id, kind, arguments in commands:
            await agent.post(command_id, kind, arguments)
        await agent.rest()
    except Crash:
        await agent.bury()
        return False
    return True


async def ended_once(agent: SimulatedAgent, command_id: str) -> CommandView:
    """I7: the command has come to exactly one end, and the event log tells of it once. Its view."""
    view = await agent.view(command_id)
    ends = [event.state for event in await agent.events() if event.command == command_id and event.state.terminal]
    assert view.state.terminal
    assert ends == [view.state], f"{command_id} is {view.state} and the log tells of {ends}"
    return view


def unowned(node: Node, state: Path) -> list[str]:
    """I8: the snapshots on the node that the agent of that state has not noted as its own."""
    noted = {path.parent.name for path in state.glob("on-server/*/owner.json")}
    return sorted(snapshot_tags(node) - noted)


def told_secrets(world: World) -> list[str]:
    """I9: where the secret of a destination stands, what shows through its encryption, and files of a state that
    others may read."""
    found = [line for line in world.trace if SECRET in line]
    for name, store in world.stores.items():
        found += [f"{name} {key}" for key, (content, _) in store._objects.items() if SECRET.encode() in content]
        if world.encrypted:
            told = [KEY_FILE, *(content[:64] for content in world.node.files().values() if len(content) >= 64)]
            stored = b"".join(content for content, _ in store._objects.values())
            found += [f"{name} has it in the clear: {plain[:20]!r}" for plain in told if plain in stored]
    for path in world.place.glob("state */**/*"):
        if path.is_file():
            if path.stat().st_mode & 0o077:
                found.append(f"{path} may be read by others")
            if path.parent.name != "destinations" and SECRET.encode() in path.read_bytes():
                found.append(str(path))
    return found


def digests(files: dict[tuple[str, str, str], bytes]) -> dict[tuple[str, str, str], str]:
    """The SHA-256 of each file, as the oracle tells it."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def of_tables(backup: Backup) -> dict[tuple[str, str, str], str]:
    """A backup's files, but for those that a snapshot writes itself."""
    own = ("manifest.json", "schema.cql")
    return {name: digest for name, digest in backup.files.items() if name[2] not in own}


def sstables_of(files: dict[tuple[str, str, str], str]) -> dict[tuple[str, str], list[frozenset[tuple[str, str]]]]:
    """(keyspace, table) → of each SSTable its components with their digests, whatever its number is. Statistics.db is
    there, but an import writes it anew."""
    found: dict[tuple[str, str], dict[str, set[tuple[str, str]]]] = {}
    for (keyspace, table, name), digest in files.items():
        sstable, _, component = name.rpartition("-")
        told = "" if component == "Statistics.db" else digest
        found.setdefault((keyspace, table), {}).setdefault(sstable, set()).add((component, told))
    return {table: [frozenset(one) for one in sstables.values()] for table, sstables in found.items()}


def staged_files(world: World) -> dict[tuple[str, str, str], bytes]:
    """(keyspace, table, name) → bytes of what a restore holds ready."""
    found = {}
    for path in world.place.rglob("held/*/*/**/*"):
        if path.is_file():
            keyspace, table, *name = path.parts[path.parts.index("held") + 1 :]
            found[keyspace, table, "/".join(name)] = path.read_bytes()
    return found


def named_objects(world: World, destination: str = "d1", tag: str = "", *, own: bool = True) -> set[str]:
    """The keys of the data objects that the manifests of the destination name, or only that of `tag`. `own`: also those
    of what a snapshot writes itself, which no restore fetches. Tables are small: their lists are in the manifest."""
    keys: set[str] = set()
    for key, (content, _) in world.stores[destination]._objects.items():
        if key.endswith(".manifest") and f"/backups/{tag and tag + '/'}" in key:
            head = head_of(content, key, CLUSTER, world.keys)
            if own:
                keys |= _keys(world, head.get("own_objects", {}), head.get("own_codecs", {}))
            for table in head["tables"]:
                assert not table.get("object")
                frame = content[table["offset"] : table["offset"] + table["length"]]
                if world.keys is not None:
                    place = place_of(key, table["keyspace"], table["table"])
                    frame = plain_of(frame, INLINE, place, CLUSTER, world.keys)
                for part in parts_of(frame)[1]:
                    keys |= _keys(world, part["objects"], part.get("codecs", {}))
    return keys


def _keys(world: World, objects: dict[str, int], codecs: dict[str, int]) -> set[str]:
    suffixes = {
        name_of(object_id, world.keys): f"zstd-{size}" if codecs.get(object_id) == ZSTD else "raw"
        for object_id, size in objects.items()
    }
    prefix = f"helenus/v1/clusters/{CLUSTER}/nodes/{HOST}/data"
    return {f"{prefix}/{name[:2]}/{name}.{suffix}" for name, suffix in suffixes.items()}
