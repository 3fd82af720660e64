"""Coordinators in processes of their own that share one state: a SQLite file, which several processes may write, with
the lease in a table of its own. For tests; on one machine it keeps what Cassandra keeps on several.

`python -m tests.cluster.sharing_coordinator --config …`, with the directory of the shared file in HELENUS_SHARED_STATE
and, if it is to die, the moment of `crashing_coordinator` in its variable. As long as there is a file AWAY in that
directory the state answers nobody. HELENUS_TAKES_OVER_AFTER: `Timing.take_over`, if it is to be another one.
"""

import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import msgspec

from coordinator.main import main
from coordinator.model.leading import Lease
from coordinator.orchestrate.timing import Timing
from coordinator.store.cassandra.errors import StoreUnreachable
from coordinator.store.database import Database
from coordinator.store.migrations import MIGRATIONS
from coordinator.store.protocol import PARTS
from coordinator.store.sqlite import FILE
from tests.cluster.crashing_coordinator import FatalStore

TABLE = "CREATE TABLE IF NOT EXISTS lead (id INTEGER PRIMARY KEY, data BLOB)"
SHARED = "HELENUS_SHARED_STATE"
AWAY = "away"
TAKES_OVER_AFTER = "HELENUS_TAKES_OVER_AFTER"


class Fading:
    """A part of the state that can't be asked while the file is there."""

    def __init__(self, part: Any, away: Path) -> None:
        self._part = part
        self._away = away

    def __getattr__(self, name: str) -> Any:
        async def asked(*arguments: Any, **named: Any) -> Any:
            if self._away.exists():
                raise StoreUnreachable("the nodes that hold the state are down")
            return await getattr(self._part, name)(*arguments, **named)

        return asked


class SqliteLead:
    """See `coordinator.store.protocol.LeadRecord`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self) -> Lease | None:
        """See `protocol.LeadRecord.get`."""
        return await self._database.read(lambda connection: _kept(connection))

    async def swap(self, former: Lease | None, lease: Lease) -> bool:
        """See `protocol.LeadRecord.swap`."""

        def swapped(connection: sqlite3.Connection) -> bool:
            if _kept(connection) != former:
                return False
            connection.execute("INSERT OR REPLACE INTO lead VALUES (1, ?)", (msgspec.json.encode(lease),))
            return True

        return await self._database.write(swapped)


class SharedStore(FatalStore):
    """The store in the shared file, whatever the coordinator's own directory is."""

    def __init__(self, database: Database, away: Path) -> None:
        super().__init__(database)
        self.lead = SqliteLead(database)
        for part in (*PARTS, "lead"):
            setattr(self, part, Fading(getattr(self, part), away))

    @classmethod
    async def open(cls, state_directory: Path, *, now: float) -> "SharedStore":
        """See `SqliteStore.open`."""
        shared = Path(os.environ[SHARED])
        shared.mkdir(mode=0o700, exist_ok=True)
        database = await Database.open(shared / FILE, MIGRATIONS)
        await database.write(lambda connection: connection.execute(TABLE))
        return cls(database, shared / AWAY)


def _kept(connection: sqlite3.Connection) -> Lease | None:
    found = connection.execute("SELECT data FROM lead").fetchone()
    return None if found is None else msgspec.json.decode(found[0], type=Lease)


if __name__ == "__main__":
    take_over = float(os.environ.get(TAKES_OVER_AFTER, Timing().take_over))
    sys.exit(main(sys.argv[1:], SharedStore, Timing(take_over=take_over)))
