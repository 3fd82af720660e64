"""Two plain and two encrypted destinations of one node, in memory: in, a node; out, an agent, and what stands there."""

from pathlib import Path

from agent.crypto.keyring import Keyring
from agent.repository.keys import data_prefix
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN, Storage
from agent.wire.commands import SyncArguments
from agent.wire.results import TargetResult, UploadResult
from tests.fast.jobs.agent_in_memory import (
    CLUSTER,
    REPOSITORY,
    Agent,
    Command,
    Faults,
    MemoryReader,
    Repositories,
    target,
)
from tests.fast.jobs.clock import Clock
from tests.fast.jobs.node import HOST, Node
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Backup, Oracle
from tests.oracle.formats import Keys

KEYRINGS = {"e1": Keyring(b"n" * 32, {1: b"k" * 32}), "e2": Keyring(b"o" * 32, {1: b"x" * 32, 2: b"y" * 32})}
"""of the encrypted ones of four destinations"""
NAMES = ("p1", "p2", "e1", "e2")


class Four:
    """Two plain and two encrypted destinations of one node, each with its own hook."""

    def __init__(self, node: Node, state: Path) -> None:
        self.node = node
        self.state = state
        self.faults = {name: Faults() for name in NAMES}
        self.stores = {name: MemoryStorage(clock=Clock(), hook=self.faults[name]) for name in NAMES}
        self.agent = self.started()

    def started(self, agent_id: str = "a1") -> Agent:
        """A new process of the agent (or another agent, with the same destinations)."""
        storages: dict[str, Storage] = dict(self.stores)
        return Agent(self.node, storages, self.state, agent_id, repositories=Repositories(storages, KEYRINGS))

    def found(self, name: str, tag: str = "t1", *, idle: bool = True) -> Backup:
        """The backup as the oracle reads it there, everything else looked at as well."""
        oracle = self.oracle(name)
        oracle.expect(tag, [HOST])
        return oracle.check(idle=idle)[tag, HOST]

    def opened(self, name: str) -> OpenedRepository:
        """The destination as a command has it."""
        return OpenedRepository(name, self.stores[name], REPOSITORY, CLUSTER, OPEN, 4, KEYRINGS.get(name))

    def oracle(self, name: str) -> Oracle:
        keyring = KEYRINGS.get(name)
        keys = Keys(keyring.name_key, keyring.sealing) if keyring is not None else None
        return Oracle(MemoryReader(self.stores[name]), keys=keys)

    def objects(self, name: str) -> dict[str, bytes]:
        """The data objects there, by key."""
        prefix = data_prefix(CLUSTER, HOST)
        return {key: body for key, (body, _) in self.stores[name]._objects.items() if key.startswith(prefix)}

    def copies(self, source: str, *names: str) -> list[str]:
        """The keys of objects that are read of the source from now on."""
        read: list[str] = []

        async def hook(verb: str, key: str) -> None:
            if verb == "get" and "/data/" in key:
                read.append(key)

        self.stores[source]._hook = hook
        return read


def sync(source: str, *names: str, tag: str = "t1", host_id: str = HOST) -> Command:
    arguments = SyncArguments(tag, [target(name) for name in names], source=target(source), source_host_id=host_id)
    return Command(f"sync-{tag}", arguments)


async def synced(agent: Agent, command: Command) -> dict[str, TargetResult]:
    outcome = await agent.sync.run(command)
    assert isinstance(outcome.result, UploadResult)
    return outcome.result.targets


def intents(four: Four, name: str) -> list[str]:
    return [key for key in four.stores[name]._objects if "/intents/" in key]


async def ended(four: Four, command: Command) -> Command:
    """The command once it has run."""
    await four.agent.sync.run(command)
    return command
