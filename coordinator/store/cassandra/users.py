"""Users and their sessions in Cassandra (`protocol.Users`, `protocol.Sessions`), sealed: who may write the keyspace but
hasn't the key makes neither a user nor a session, and who may read it sees no digest of a password.

All users are one record, so that a change is judged by all of them in the step that makes it. Nothing is held in
memory: what another coordinator wrote counts at once. Each call of the API asks who it is, so that is a plain read of a
quorum: a logout or a disabled user whose change was told as done holds for all, and a change is judged at SERIAL.
"""

import math
import zlib
from collections.abc import Sequence

import msgspec

from coordinator.model.access import Change as Changed
from coordinator.model.access import Session, User
from coordinator.store.cassandra.index import SESSIONS, USERS
from coordinator.store.cassandra.partitions import Change, Partitions
from coordinator.store.cassandra.tables import Drop, Key, Row, Snapshot
from coordinator.store.sealing import Seal

_USER, _SESSION = "user", "session"
_ALL = Key(USERS, "")
_RECORDS = 16
"""Records that the sessions are divided among, so that few wait for each other."""


class Sealed(msgspec.Struct, frozen=True):
    """A user or session as its row holds it."""

    sealed: bytes


class CassandraUsers:
    """See `protocol.Users`."""

    def __init__(self, partitions: Partitions, seal: Seal) -> None:
        self._partitions = partitions
        self._seal = seal

    async def any(self) -> bool:
        return bool(await self._partitions.glance(_ALL, (_USER,)))

    async def get(self, name: str) -> User | None:
        rows = await self._partitions.glance(_ALL, (_USER,), (name,))
        return self._opened(rows[0]) if rows else None

    async def all(self) -> list[User]:
        found = await self._partitions.read(_ALL, (_USER,))
        return sorted(map(self._opened, found.rows), key=lambda user: user.name)

    async def add(self, user: User) -> bool:
        row, added = self._sealed(user), [False]

        def decide(found: Snapshot) -> Change | None:
            # The very same one is there: this was done, and its answer was lost.
            added[0] = not found.rows or self._opened(found.rows[0]) == user
            return None if found.rows else Change([row])

        await self._partitions.whole(self._partitions.change(_ALL, (_USER,), decide, (user.name,)))
        return added[0]

    async def replace(self, former: User, user: User | None, *, admin_stays: bool) -> Changed:
        row = None if user is None else self._sealed(user)
        how = [Changed.MISSED]

        def decide(found: Snapshot) -> Change | None:
            users = {row.name: self._opened(row) for row in found.rows}
            how[0] = _judged(users.get(former.name), former, user, admin_stays, [*users.values()])
            if how[0] is not Changed.DONE:
                return None
            return Change([row]) if row is not None else Change(drops=[Drop(_USER, former.name)])

        await self._partitions.whole(self._partitions.change(_ALL, (_USER,), decide))
        return how[0]

    def _sealed(self, user: User) -> Row:
        sealed = self._seal.sealed(msgspec.json.encode(user), [USERS, user.name])
        return Row(_USER, user.name, msgspec.json.encode(Sealed(sealed)))

    def _opened(self, row: Row) -> User:
        kept = msgspec.json.decode(row.data, type=Sealed)
        return msgspec.json.decode(self._seal.opened(kept.sealed, [USERS, row.name]), type=User)


def _judged(known: User | None, former: User, user: User | None, admin_stays: bool, users: Sequence[User]) -> Changed:
    if known != former:
        # The wanted one is there: this was done, and its answer was lost.
        return Changed.DONE if known is not None and known == user else Changed.MISSED
    stays = user is not None and user.administers
    others = any(each.administers for each in users if each.name != former.name)
    return Changed.LAST_ADMIN if admin_stays and former.administers and not stays and not others else Changed.DONE


class CassandraSessions:
    """See `protocol.Sessions`. A row's position is when its session is over."""

    def __init__(self, partitions: Partitions, seal: Seal) -> None:
        self._partitions = partitions
        self._seal = seal

    async def get(self, key: str) -> Session | None:
        rows = await self._partitions.glance(_record(key), (_SESSION,), (key,))
        return self._opened(rows[0]) if rows else None

    async def put(self, session: Session) -> None:
        row = self._sealed(session)

        def decide(found: Snapshot) -> Change:
            return Change([row], [Drop(_SESSION, each.name) for each in found.rows if each.position <= session.begun])

        key = _record(session.key)
        await self._partitions.whole(self._partitions.change(key, (_SESSION,), decide, bare=True))

    async def saw(self, key: str, at: float) -> None:
        def decide(found: Snapshot) -> Change | None:
            known = self._opened(found.rows[0]) if found.rows else None
            if known is None or known.seen >= at:
                return None
            return Change([self._sealed(msgspec.structs.replace(known, seen=at))])

        await self._partitions.whole(self._partitions.change(_record(key), (_SESSION,), decide, (key,)))

    async def remove(self, key: str) -> None:
        def decide(found: Snapshot) -> Change | None:
            return Change(drops=[Drop(_SESSION, key)]) if found.rows else None

        await self._partitions.whole(self._partitions.change(_record(key), (_SESSION,), decide, (key,), bare=True))

    async def prune(self, now: float) -> None:
        """Forget those that are over at `now` (unix seconds)."""

        def decide(found: Snapshot) -> Change | None:
            drops = [Drop(_SESSION, row.name) for row in found.rows if row.position <= now]
            return Change(drops=drops) if drops else None

        for number in range(_RECORDS):
            await self._partitions.change(Key(SESSIONS, f"{number:x}"), (_SESSION,), decide, bare=True)

    def _sealed(self, session: Session) -> Row:
        sealed = self._seal.sealed(msgspec.json.encode(session), [SESSIONS, session.key])
        return Row(_SESSION, session.key, msgspec.json.encode(Sealed(sealed)), math.ceil(session.ends))

    def _opened(self, row: Row) -> Session:
        kept = msgspec.json.decode(row.data, type=Sealed)
        return msgspec.json.decode(self._seal.opened(kept.sealed, [SESSIONS, row.name]), type=Session)


def _record(key: str) -> Key:
    return Key(SESSIONS, f"{zlib.crc32(key.encode()) % _RECORDS:x}")
