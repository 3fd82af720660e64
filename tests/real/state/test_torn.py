"""Records of several pages in a real Cassandra that are changed while they are read."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from coordinator.store.cassandra.cql_tables import CqlTables
from coordinator.store.cassandra.driver import PAGE_ROWS, Driver, Rows
from coordinator.store.cassandra.tables import Drop, Key, Row
from tests.real.state.conftest import CassandraSite

DEADLINE = 60


class Interrupted(Driver):
    """After the next page of any question `meanwhile` is done, once."""

    meanwhile: Callable[[], Awaitable[Any]] | None = None

    async def pages(self, *arguments: Any, **named: Any) -> AsyncIterator[Rows]:
        async for page in super().pages(*arguments, **named):
            meanwhile, self.meanwhile = self.meanwhile, None
            if meanwhile is not None:
                await meanwhile()
            yield page


async def test_a_record_is_read_as_it_stood_at_one_moment(site: CassandraSite) -> None:
    """Promise: when the rows of the second page are removed after the first was read, the record isn't taken for one
    with the former half alone."""
    await site.open()
    driver = Interrupted(site.settings, None, None)
    await driver.connect()
    try:
        async with asyncio.timeout(DEADLINE):
            tables, key = CqlTables(driver, site.settings.keyspace, 20.0), Key("value", "long")
            rows = [Row("all", f"{number:04}", b"p1") for number in range(PAGE_ROWS + 20)]
            assert await tables.swap(key, 0, "w1", rows, [], None)
            fewer = [Drop("all", row.name) for row in rows[PAGE_ROWS - 10 :]]
            driver.meanwhile = lambda: tables.swap(key, 1, "w2", [], fewer, None)
            found = await tables.read(key, ("all",))
            assert (found.version, found.writer, len(found.rows)) == (2, "w2", PAGE_ROWS - 10)
    finally:
        await driver.close()
