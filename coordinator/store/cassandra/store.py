"""The store in a keyspace of Cassandra's. In: tables, a key. Out: `protocol.Store`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from coordinator.store.cassandra.commands import CassandraCommands, CassandraValues
from coordinator.store.cassandra.finding import Finding
from coordinator.store.cassandra.index import SEAL
from coordinator.store.cassandra.lead import CassandraLead
from coordinator.store.cassandra.outbox import CassandraOutbox
from coordinator.store.cassandra.partitions import Change, Partitions
from coordinator.store.cassandra.places import CassandraDestinations, CassandraRetention, Places
from coordinator.store.cassandra.pruning import Pruning
from coordinator.store.cassandra.requests import CassandraRequests
from coordinator.store.cassandra.schedules import CassandraSchedules
from coordinator.store.cassandra.tables import Key, Row, Snapshot, Tables
from coordinator.store.cassandra.ticks import Ticks
from coordinator.store.cassandra.users import CassandraSessions, CassandraUsers
from coordinator.store.protocol import Hold, LeadRecord
from coordinator.store.sealing import Seal

FINISH_SECONDS = 5.0
"""For what is being written at the end of a time of leading; then it is cut off."""
_CHECK, _CHECKED = "check", b"the key of this state"


class CassandraStore:
    """`protocol.Store`. `open` it, `close` it."""

    def __init__(self, partitions: Partitions, seal: Seal, of_lead: Partitions | None = None) -> None:
        ticks, finding = Ticks(), Finding(partitions)
        places = Places(partitions, finding)
        self._partitions = partitions
        self._seal = seal
        self._of_lead = of_lead or partitions
        self._pruning = Pruning(partitions, finding, places)
        self.requests = CassandraRequests(partitions, finding, places, ticks)
        self.commands = CassandraCommands(partitions, ticks)
        self.destinations = CassandraDestinations(partitions, places, seal, ticks)
        self.retention = CassandraRetention(partitions, places)
        self.schedules = CassandraSchedules(partitions, places, ticks)
        self.users = CassandraUsers(partitions, seal)
        self.sessions = CassandraSessions(partitions, seal)
        self.values = CassandraValues(partitions)
        self.outbox = CassandraOutbox(partitions)
        self.lead: LeadRecord | None = CassandraLead(self._of_lead)

    @classmethod
    async def open(
        cls, tables: Tables, seal: Seal, *, patience: float, of_lead: Tables | None = None
    ) -> "CassandraStore":
        """The state in those tables; `patience`: seconds that an operation may take; `of_lead`: the same tables for who
        asks for the lead. Nothing is pruned: that is for whoever leads, by one clock and under a term, and not for
        each that looks in. Raises `StoreFailed`, `StateKeyWrong`."""
        partitions = Partitions(tables, patience)
        await check_key(partitions, seal)
        return cls(partitions, seal, None if of_lead is None else Partitions(of_lead, patience))

    def kept_on(self) -> frozenset[str]:
        """See `protocol.Store.kept_on`."""
        return self._partitions.tables.host_ids()

    @asynccontextmanager
    async def during(self, hold: Hold) -> AsyncIterator["CassandraStore"]:
        """See `protocol.Store.during`. The lead's own record is another matter: nothing holds it back."""
        partitions = self._partitions.held(hold)
        try:
            yield CassandraStore(partitions, self._seal, self._of_lead)
        finally:
            await partitions.finish(FINISH_SECONDS)

    async def prune(self, now: float) -> None:
        """Forget the details of requests that ended long before `now` (unix seconds), and, later, the requests and
        their entries in the activity log; and sessions that are over."""
        await self._pruning.prune(now)
        await self.sessions.prune(now)

    async def close(self) -> None:
        """Finish what is being written and let go of the connections."""
        await self._partitions.close()


async def check_key(partitions: Partitions, seal: Seal) -> None:
    """Refuse a key that the state wasn't begun with: what it seals nobody else could open. The first coordinator's key
    is the one. Raises `StateKeyWrong`."""
    key = Key(SEAL, _CHECK)
    mine = Row(_CHECK, "", seal.sealed(_CHECKED, [_CHECK]))

    def decide(found: Snapshot) -> Change | None:
        return None if found.rows else Change([mine])

    await partitions.change(key, (_CHECK,), decide)
    found = await partitions.read(key, (_CHECK,))
    seal.opened(found.rows[0].data, [_CHECK])
