"""The keyspace and its tables. In: settings, a driver. Out: both there, in the newest version, or an error.

Several coordinators may start at once. Cassandra itself can't make one table twice at a time (each node would give it
another id, and they would never agree), so `meta` is made with an id of its own, and who writes its name there by a
conditional write makes the others; that name goes by itself after a while, should its bearer die. All statements may be
run twice.
"""

import asyncio
import uuid

import structlog

from coordinator.model.settings import StateSettings
from coordinator.store.cassandra.driver import Driver
from coordinator.store.cassandra.errors import StateSetDifferently, StateTooNew, Unanswered
from kit.config import ConfigError

log = structlog.get_logger(__name__)

MIGRATIONS: list[list[str]] = [
    [
        """CREATE TABLE IF NOT EXISTS records (
            kind text, id text, version bigint STATIC, writer text STATIC,
            part text, name text, position bigint, mark text, data blob,
            PRIMARY KEY ((kind, id), part, name))""",
        # What comes back here, because a replica missed a removal, is put right by whoever reads it: no need to keep
        # removals for ten days.
        """CREATE TABLE IF NOT EXISTS pointers (
            log text, scope text, position bigint, name text, owner text, data blob,
            PRIMARY KEY ((log, scope), position, name)) WITH gc_grace_seconds = 86400""",
        """CREATE TABLE IF NOT EXISTS pieces (
            kind text, owner text, which text, number int, data blob,
            PRIMARY KEY ((kind, owner), which, number))""",
    ],
]
"""Numbered steps. One that was released is never changed; new ones follow. Each may be run twice."""
TABLES = {"records", "pointers", "pieces"}

_META_IDS = uuid.UUID("8f3b2f0e-6f3c-4e0b-9d0e-5b7d1c6a4e21")
"""From it and the keyspace's name comes the id of its `meta`."""
_TURN_SECONDS = 60
"""How long a coordinator that is making tables keeps others waiting, should it die."""
_PAUSE = 0.5


class Schema:
    """`prepare` it once, before anything is asked."""

    def __init__(self, driver: Driver, settings: StateSettings) -> None:
        self._driver = driver
        self._settings = settings
        self._keyspace = settings.keyspace
        # The keyspace's name is checked by its setting; values are bound.
        meta = f"{settings.keyspace}.meta"
        self._make_meta = (
            f"CREATE TABLE IF NOT EXISTS {meta}"
            " (name text PRIMARY KEY, version int, maker text, told text)"
            f" WITH id = {uuid.uuid5(_META_IDS, settings.keyspace)}"
        )
        self._read_version = f"SELECT version FROM {meta} WHERE name = 'schema'"  # noqa: S608
        self._begin = f"UPDATE {meta} USING TTL {_TURN_SECONDS} SET maker = ? WHERE name = 'schema' IF maker = null"  # noqa: S608
        self._end = f"UPDATE {meta} SET version = ?, maker = null WHERE name = 'schema' IF maker = ? AND version = ?"  # noqa: S608
        self._tell = f"UPDATE {meta} SET told = ? WHERE name = 'quorum' IF told = null"  # noqa: S608
        self._read_told = f"SELECT told FROM {meta} WHERE name = 'quorum'"  # noqa: S608

    async def prepare(self) -> None:
        """Raises `Unanswered` (try again), `Refused`, `ConfigError`, `StateTooNew`, `StateSetDifferently`."""
        await self._keyspace_there()
        await self._driver.execute(self._make_meta)
        await self._migrate()
        await self._agree()

    async def _keyspace_there(self) -> None:
        wanted = self._settings.replication
        kept = await self._replication()
        if kept is None:
            if not wanted:
                raise ConfigError(
                    f"the keyspace {self._keyspace} isn't there: name in «state.replication» how many replicas each "
                    "data centre is to have, or make the keyspace",
                    setting="state.replication",
                )
            named = ", ".join(f"'{name}': {count}" for name, count in sorted(wanted.items()))
            await self._driver.execute(
                f"CREATE KEYSPACE IF NOT EXISTS {self._keyspace}"
                f" WITH replication = {{'class': 'NetworkTopologyStrategy', {named}}}"
            )
            kept = await self._replication()
            if kept is None:
                raise Unanswered("the keyspace is being made")
        for warning in replication_warnings(kept, wanted, self._driver.nodes_of()):
            log.warning(warning, keyspace=self._keyspace, replication=kept, wanted=wanted)

    async def _replication(self) -> dict[str, str] | None:
        rows = await self._driver.ask(
            "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?", [self._keyspace]
        )
        return dict(rows[0][0]) if rows else None

    async def _migrate(self) -> None:
        me = uuid.uuid4().hex
        while True:
            version = await self._version()
            if version > len(MIGRATIONS):
                raise StateTooNew(
                    f"the coordinator's state in the keyspace {self._keyspace} has version {version}, this release "
                    f"knows up to {len(MIGRATIONS)}",
                    keyspace=self._keyspace,
                    version=version,
                )
            if version == len(MIGRATIONS) and await self._tables() >= TABLES:
                return
            if await self._take_turn(me):
                # After a drop of single tables by hand all steps are run again.
                for statements in MIGRATIONS:
                    for statement in statements:
                        await self._driver.execute(statement.replace("EXISTS ", f"EXISTS {self._keyspace}.", 1))
                await self._driver.ask(self._end, [len(MIGRATIONS), me, version or None])
            else:
                await asyncio.sleep(_PAUSE)

    async def _version(self) -> int:
        rows = await self._driver.ask(self._read_version, serial=True)
        return int(rows[0][0] or 0) if rows else 0

    async def _tables(self) -> set[str]:
        rows = await self._driver.ask(
            "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?", [self._keyspace]
        )
        return {row[0] for row in rows}

    async def _take_turn(self, me: str) -> bool:
        return bool((await self._driver.ask(self._begin, [me]))[0][0])

    async def _agree(self) -> None:
        """What every coordinator must be told alike, or different nodes would decide their conditional writes."""
        mine = (
            f"{self._settings.quorum} {self._settings.local_dc}" if self._settings.quorum == "local_dc" else "all_dcs"
        )
        await self._driver.ask(self._tell, [mine])
        rows = await self._driver.ask(self._read_told, serial=True)
        if rows[0][0] != mine:
            raise StateSetDifferently(
                f"the state in the keyspace {self._keyspace} was begun with the quorum «{rows[0][0]}», not «{mine}»",
                keyspace=self._keyspace,
            )


def replication_warnings(kept: dict[str, str], wanted: dict[str, int], nodes: dict[str, int]) -> list[str]:
    """What a person should know of a keyspace's replication. `kept` as Cassandra tells it, `nodes` by data centre."""
    found = []
    counts = {name: int(count.partition("/")[0]) for name, count in kept.items() if count.partition("/")[0].isdigit()}
    if wanted and counts != wanted:
        found.append(
            "the keyspace of the coordinator's state is replicated otherwise than the settings say; it is left"
        )
    if any(count == 1 and nodes.get(name, sum(nodes.values())) > 1 for name, count in counts.items()):
        found.append("the keyspace of the coordinator's state has one replica: with that node's loss the state is lost")
    return found
