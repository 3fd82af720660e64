"""Rounds of two coordinators over three real nodes: an order, deaths while it is carried out, what must be so after.

In: a pair, data and a destination. Out: nothing, or what was lost, or done twice.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.comparison import compare_every_column
from tests.cluster.rows import DataSet
from tests.cluster.services import CoordinatorProcess
from tests.real.state.ledger import Marks, done_once, have_ended, marks_of, told_by
from tests.real.state.pair import CLUSTER, Moment, Pair

ROWS = 200
TABLES = ("orders", "visits")
BACKUP = {"snapshot": 3, "upload": 3}
RESTORE = {"preflight": 3, "fetch": 3, "truncate": 1, "schema": 1, "import": 3, "check": 3, "clean": 3}
SWITCH = {"archive": 3, "restart": 3}
KINDS = {"backup": BACKUP, "restore": RESTORE, "on": SWITCH, "off": SWITCH}
"""Which commands all nodes together are given for an order."""


@dataclass(frozen=True)
class Death:
    """`who`: "kill" (the leader, which is started again when the other one leads), "freeze" (the leader; it wakes
    `asleep` seconds after the other one leads) or "node" (a replica of the state, that of the first agent which has
    ended a command of the moment's kind, else the last one; it is started again at once, as a service manager does)."""

    who: str
    moment: Moment
    asleep: float = 0.0

    def __str__(self) -> str:
        return f"{self.who} at {self.moment}" + (f" ({self.asleep:.1f})" if self.asleep else "")


@dataclass
class Story:
    """See the module. `place`: where backups are; `logs`: where the commit log goes. `tag`: the backup that restores
    are of."""

    pair: Pair
    data: DataSet
    place: str
    logs: str
    tag: str = ""
    tags: list[str] = field(default_factory=list)

    @property
    def keyspace(self) -> str:
        """The one that the tables are in."""
        return f"{self.data.prefix}_all"

    async def carry_out(self, kind: str, deaths: Sequence[Death], *, by_standby: bool = True) -> int:
        """Order it of a coordinator, have everybody die, and see to it that it ends well all the same, with everything
        done once; how many deaths came before its end."""
        pair = self.pair
        if kind == "restore":
            await self._disaster()
        before = await told_by(pair.cluster.nodes, self.keyspace)
        marks = await marks_of(pair.agents)
        leader = await pair.leader()
        request = await self._order(kind, pair.other(leader) if by_standby else leader)
        times: list[float] = []
        killed = [0, 0, 0]
        for death in deaths:
            if not await pair.reached(request, death.moment, marks):
                break
            times.append(time.time())
            if death.who == "node":
                killed[await self._node_dies(death.moment.kind, marks)] += 1
            else:
                await self._leader_dies(death, request)
        status = await pair.ended(request)
        assert status["state"] == "success", (pair.logs(), status)
        await self._once(kind, marks)
        told = [
            after.since(one)
            for one, after in zip(before, await told_by(pair.cluster.nodes, self.keyspace), strict=True)
        ]
        starts = [one.starts - extra for one, extra in zip(told, killed, strict=True)]
        assert starts == [1 if kind in ("on", "off") else 0] * 3, told
        truncated = {"orders": 1} if kind == "restore" else {}
        assert [one.truncates for one in told] == [truncated] * 3, told
        imported = dict.fromkeys(TABLES, 1) if kind == "restore" else {}
        assert [one.imports for one in told] == [imported] * 3, told
        await self._all_is_well(kind, status, died=sum(killed) > 0)
        return sum(int(at) < status["finished"] for at in times)

    async def _order(self, kind: str, at: CoordinatorProcess) -> str:
        pair = self.pair
        if kind == "backup":
            body: dict[str, Any] = {"keyspaces": [self.keyspace], "destinations": {self.place: {}}}
            return await pair.order("/backups/run", body, at=at)
        if kind == "restore":
            body = {"destination": self.place, "keyspaces": {self.keyspace: {"truncate": True}}}
            return await pair.order(f"/backups/restore/{self.tag}", body, at=at)
        if kind == "on":
            return await pair.order("/backups/pit", {"destinations": {self.logs: {}}, "sleep": 0}, at=at)
        return await pair.order("/backups/pit", None, method="DELETE", at=at)

    async def _leader_dies(self, death: Death, request: str) -> None:
        """What had ended when a frozen one wakes, it leaves as it is."""
        pair = self.pair
        leader = await pair.leader()
        if death.who == "kill":
            await pair.kill(leader)
            await leader.start(120)
            await pair.knows(leader, "standby", "ok")
            return
        await pair.freeze(leader)
        await asyncio.sleep(death.asleep)
        found = await pair.status(request)
        await pair.thaw(leader)
        assert found["state"] == "running" or await pair.status(request) == found

    async def _node_dies(self, kind: str, marks: Marks) -> int:
        """Its place among the nodes."""
        nodes = self.pair.cluster.nodes
        ended = await have_ended(self.pair.agents, kind, marks)
        number = ended.index(True) if True in ended else len(nodes) - 1
        await nodes[number].kill()
        await nodes[number].start(300)
        return number

    async def _once(self, kind: str, marks: Marks) -> None:
        done = await done_once(self.pair.agents, marks)
        wanted = KINDS[kind]
        assert sum(done, Counter()) == wanted, done
        each = {name: 1 for name, times in wanted.items() if times == len(done)}
        assert all(one[name] == 1 for one in done for name in each), done

    async def _disaster(self) -> None:
        """Other rows are written over and beside those of one table, the other one is dropped."""
        session = await self.pair.cluster.session()
        other = DataSet(
            seed=self.data.seed + 1,
            rows=ROWS,
            version=self.pair.cluster.version,
            replication=3,
            prefix=self.data.prefix,
        )
        other.tables = [spec for spec in other.tables if spec.name == "orders"]
        await other.write(session)
        await asyncio.to_thread(session.execute, f"DROP TABLE {self.keyspace}.visits", timeout=120)
        self.pair.cluster.close_sessions()

    def _note(self, status: dict[str, Any]) -> None:
        """A backup that has succeeded."""
        self.tag = str(status["tag"])
        self.pair.service.expect(self.tag, status, [self.place])
        self.tags.append(self.tag)

    async def _all_is_well(self, kind: str, status: dict[str, Any], *, died: bool) -> None:
        """`died`: a node was dead meanwhile. A snapshot that it couldn't clear then is owed until the next backup."""
        pair, service = self.pair, self.pair.service
        await pair.cluster.wait_until_whole()
        if kind == "backup":
            self._note(status)
            listed = await pair.get(f"/{CLUSTER}/backups?destination={self.place}")
            assert set(listed) == set(self.tags)
        if kind in ("on", "off"):
            # An agent whose Cassandra has just come up may not have heard from it yet, and says so: «unknown».
            told = await pair.get(f"/{CLUSTER}/backups/pit", lambda told: _states(told) <= {"on", "off"})
            assert (told["enabled"], _states(told)) == (kind == "on", {kind})
        if died and service.snapshots():
            again = await pair.ended(await self._order("backup", await pair.leader()))
            assert again["state"] == "success", again
            self._note(again)
        await service.inspected(self.place)
        assert service.snapshots() == set()
        assert service.staged() == []
        await compare_every_column(self.data, pair.cluster.nodes)


def _states(told: dict[str, Any]) -> set[str]:
    """Whether its nodes archive."""
    return {str(node["state"]) for node in told["nodes"].values()}


@asynccontextmanager
async def told(pair: Pair) -> AsyncIterator[Story]:
    """Rows in two tables, and a destination."""
    cluster = pair.cluster
    data = DataSet(seed=23, rows=ROWS, version=cluster.version, replication=3, prefix=f"two{secrets.token_hex(3)}")
    data.tables = [spec for spec in data.tables if spec.name in TABLES]
    session = await cluster.session()
    await data.create(session)
    await data.write(session)
    cluster.close_sessions()
    yield Story(pair, data, await pair.service.local("there"), await pair.service.local("logs"))
