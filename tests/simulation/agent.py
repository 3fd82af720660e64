"""One life of an agent over a node, stores and a state directory that outlive it: the real jobs, runner, journal, event
log and registry of destinations, in virtual time."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec import UNSET, UnsetType

from agent.cassandra.settings import CassandraSettings, SpaceSettings
from agent.commands.events import EventLog
from agent.commands.journal import Journal
from agent.commands.runner import Runner
from agent.daemon.archiving import archiver_of
from agent.daemon.compose import verifying
from agent.daemon.jobs import Collaborators, jobs_of, owed_snapshots
from agent.daemon.settings import AgentSettings
from agent.jobs.copying.rate import CopyRate
from agent.jobs.in_use import InUse
from agent.jobs.scrub.notes import ScrubNotes
from agent.pipeline.digest_cache import DigestCache
from agent.repository.attach import attach
from agent.repository.catalogue import RecordCache
from agent.repository.destination_files import DestinationFiles, StoredDestination
from agent.repository.destinations import Destinations
from agent.repository.hold_notes import HoldNotes
from agent.repository.keyrings import Keyrings
from agent.repository.limits import Limits
from agent.repository.live_storage import Patience
from agent.repository.on_server import OnServer
from agent.repository.opening import OpenDestinations
from agent.storage.protocol import Storage
from agent.storage.retrying import Retrying
from agent.wire.commands import CommandView, Event, Kind, PostCommand, RestoreArguments, Target
from agent.wire.destinations import Encryption, PutDestination, S3Settings
from tests.fast.jobs.node import Node
from tests.fast.storage.memory import MemoryStorage
from tests.simulation.loop import InLoop, unix_now
from tests.simulation.node import SimulatedNode
from tests.simulation.process import Crash, Faults, Process
from tests.simulation.sealing import ENCRYPTION, FirstSlot, read_key_file
from tests.simulation.store import RemoteStorage

CLUSTER = "c1"
REPOSITORY = "r1"
SECRET = "canary-secret"
"""A secret of each destination: it may be nowhere but in a file of the agent's own."""
LONGEST_SECONDS = 5 * 86_400.0
"""Of virtual time, in which whatever was asked for must have come to its end."""
_LONGEST_PAUSE = 30.0
SETTINGS = AgentSettings(cassandra=CassandraSettings(space=SpaceSettings(backup_free=0.0, keep_free=0.0)))


def target(destination: str = "d1") -> Target:
    """A destination as a command names it."""
    return Target(destination, REPOSITORY, CLUSTER)


class SimulatedAgent:
    """`start`, then `stop` or (from outside or by its faults) death and `bury`. `part`: of a retry's pause, drawn."""

    def __init__(
        self,
        name: str,
        node: Node,
        stores: Mapping[str, MemoryStorage],
        state: Path,
        faults: Faults,
        trace: Callable[[str], None],
        *,
        encrypted: bool = False,
        part: Callable[[], float] = lambda: 0.5,
        page: int = 1000,
    ) -> None:
        self.process = Process(name, faults, trace)
        self._name, self._node, self._stores, self._state = name, node, stores, state
        self._part, self._page = part, page
        self._encryption: Encryption | UnsetType = ENCRYPTION if encrypted else UNSET
        self._closing = contextlib.ExitStack()

    async def start(self) -> None:
        """Begin the life. Raises Crash."""
        await self.process.run(self._start())

    async def post(self, command_id: str, kind: Kind, arguments: msgspec.Struct) -> CommandView:
        """See `Runner.post`; phases of a restore belong to the job of its tag. Raises Crash."""
        job = f"restore-{arguments.tag}" if isinstance(arguments, RestoreArguments) else None
        post = PostCommand(command_id, kind, msgspec.Raw(msgspec.json.encode(arguments)), job=job)
        return (await self.process.run(self.runner.post(post))).view

    async def rest(self) -> None:
        """Until no command is unfinished. Raises Crash."""
        pause = 0.1
        async with asyncio.timeout(LONGEST_SECONDS):
            while self.runner.unfinished:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.process.died.wait(), pause)
                    raise Crash
                pause = min(pause * 1.5, _LONGEST_PAUSE)

    async def view(self, command_id: str) -> CommandView:
        """See `Runner.view`."""
        return await self.process.run(self.runner.view(command_id))

    async def events(self) -> list[Event]:
        """The whole event log."""
        return await self.process.run(self._events.after(0))

    async def stop(self) -> None:
        """End the life in peace."""
        await self.process.run(self._stop())
        await self.bury()

    async def bury(self) -> None:
        """After its end: nothing is left of it but what it has written."""
        if not self.process.dead:
            self.process.kill()
        await self.process.reap()
        self._closing.close()

    async def _start(self) -> None:
        self._state.mkdir(parents=True, exist_ok=True)
        node = SimulatedNode(self._node, SETTINGS.cassandra, self.process, self._state)
        limits = Limits()
        destinations = Destinations(DestinationFiles(self._state / "destinations"), self._open, limits)
        verify = verifying(Keyrings(destinations, read_key_file))
        repositories = OpenDestinations(destinations, verify, Patience(), HoldNotes(self._state / "holds"))
        self._digests = DigestCache(self._state / "digests.sqlite")
        self._closing.callback(self._digests.close)
        self._journal = Journal(self._state / "journal.sqlite", unix_now)
        self._closing.callback(self._close_journal)
        self._events = EventLog(self._journal, unix_now, interval=_LONGEST_PAUSE)
        in_use, jobs_in_use = InUse(), InUse()
        made = node.as_node()
        parts = Collaborators(
            node=made,
            archiver=archiver_of(SETTINGS.cassandra, made, self._state, repositories, unix_now),
            repositories=repositories,
            on_server=OnServer(self._state / "on-server"),
            records=RecordCache(),
            digests=self._digests,
            in_use=in_use,
            rate=CopyRate(),
            jobs_in_use=jobs_in_use,
            busy=InUse(),
            scrubs=ScrubNotes(self._state),
            state=self._state,
            agent_id=self._name,
            instance=f"{self._name} {unix_now()}",
            version="0.1.0",
            settings=SETTINGS,
            clock=unix_now,
            redact=str,
            workers=InLoop,
        )
        self.runner = Runner(self._journal, self._events, jobs_of(parts), instance=parts.instance, clock=unix_now)
        in_use.using, jobs_in_use.using = self.runner.using_tag, self.runner.using_job
        destinations.wanted = lambda destination_id: bool(self.runner.using_destination(destination_id))
        await self._journal.open()
        # Processes die here, machines don't: what is committed need not be on a disk.
        assert self._journal._write_connection is not None
        self._journal._write_connection.execute("PRAGMA synchronous = OFF")
        await self._events.open()
        await destinations.load()
        for name in self._stores:
            settings = S3Settings(path=name, access_key="key", access_secret=SECRET, encryption=self._encryption)
            await destinations.put(name, PutDestination(1, settings))
        await self.runner.start()
        self._owed = asyncio.create_task(owed_snapshots(parts).run(), name="owed snapshots")

    async def _stop(self) -> None:
        self._owed.cancel()
        await asyncio.wait([self._owed])
        await self.runner.stop()
        await self._events.close()
        await self._journal.close()

    async def _open(self, record: StoredDestination) -> Storage:
        remote = RemoteStorage(self._stores[record.id], self.process, self._page)
        return Retrying(remote, clock=asyncio.get_running_loop().time, part=self._part)

    def _close_journal(self) -> None:
        for connection in (self._journal._write_connection, self._journal._read_connection):
            if connection is not None:
                connection.close()


async def initialised(store: MemoryStorage, *, encrypted: bool = False) -> None:
    """Make the repository and the cluster in an empty store."""
    keys = FirstSlot() if encrypted else None
    await attach(
        store, keys=keys, initialise=True, repository_id=REPOSITORY, cluster_id=CLUSTER, cluster_name="cluster"
    )
