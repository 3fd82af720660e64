"""What the tests of this directory share. In: a service whose cluster holds the data set. Out: damage, comparisons."""

from collections.abc import Callable
from dataclasses import dataclass

from cassandra.cluster import Session

from tests.cluster.backup_service import BackupService
from tests.cluster.comparison import compare_every_column
from tests.cluster.rows import DataSet
from tests.cluster.state import State, state_of, whatever


@dataclass
class Shop:
    """The data set, a session, and a backup `tag` of all keyspaces: on the node and in `local`. `s3` is empty."""

    service: BackupService
    data: DataSet
    session: Session
    local: str
    s3: str
    tag: str

    def execute(self, *statements: str) -> None:
        """Run statements one after the other."""
        for statement in statements:
            self.session.execute(statement, timeout=120)

    def damage(self) -> None:
        """Lose something of every kind: a keyspace, tables, rows, values, an index and a view."""
        self.execute(
            'DROP KEYSPACE IF EXISTS "shop_Mixed"',
            "DROP KEYSPACE IF EXISTS shop_empty",
            "DROP TABLE IF EXISTS shop_all.people",
            "DROP TYPE IF EXISTS shop_all.address",
            "TRUNCATE shop_all.orders",
            "TRUNCATE shop_all.visits",
            "DELETE FROM shop_all.indexed WHERE id = 7",
            "UPDATE shop_all.indexed SET state = 'back' WHERE id = 8",
            "INSERT INTO shop_all.fading (part, id, first) VALUES (0, 3, 'not gone')",
            "INSERT INTO shop_single.things (id, text) VALUES (999999, 'new since')",
            "DELETE FROM shop_all.stock WHERE id = 5",
            "UPDATE shop_all.stock SET state = 'lost' WHERE id = 6",
        )

    async def is_whole(self, *tables: str) -> None:
        """Every column of every row (of these tables) is as written; indexes and views are queried too."""
        compared = await compare_every_column(self.data, self.service.cluster.nodes, list(tables) or None)
        assert compared.rows > 0

    async def tombstones_hold(self) -> None:
        """What was deleted and is written again, earlier than its deletion, does not show."""
        await self.data.write_the_deleted_again(self.session)
        await self.is_whole("fading")

    async def state(self, leave_out: Callable[[str, str], bool] = whatever) -> State:
        """What the node holds, but for what `leave_out` names."""
        node = self.service.node
        return await state_of(node, await self.service.cluster.session_one(node), leave_out)

    async def flushed_state(self, leave_out: Callable[[str, str], bool] = whatever) -> State:
        """The same, with nothing left in memtables and no compaction that could change it."""
        await self.service.node.nodetool("disableautocompaction")
        await self.service.node.nodetool("flush")
        return await self.state(leave_out)

    @property
    def counts(self) -> dict[str, int]:
        """Table → number of rows that were written and not deleted."""
        return {spec.name: len(self.data.expected(spec)) for spec in self.data.tables}
