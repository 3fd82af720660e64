"""Statements to a real Cassandra that wait while their coordinator's term ends."""

import asyncio

from coordinator.model.leading import Lease
from coordinator.store.cassandra.cql_tables import CqlTables
from coordinator.store.cassandra.driver import Driver
from coordinator.store.cassandra.store import CassandraStore
from coordinator.store.cassandra.tables import Entry, Kept, Key, Row
from coordinator.store.sealing import Seal
from tests.cluster.scratch import ScratchCluster
from tests.real.state.conftest import KEY, CassandraSite

DEADLINE = 60


async def test_the_term_is_asked_after_all_that_a_write_may_wait_for(site: CassandraSite) -> None:
    """Promise: a write that waits for its turn while the term ends isn't sent, whatever it is; reads go on."""
    await site.open()
    driver = Driver(site.settings, None, None)
    await driver.connect()
    lasts = True

    async def hold() -> None:
        while not lasts:
            await asyncio.Event().wait()

    plain = CqlTables(driver, site.settings.keyspace, 20.0)
    held, key, entry = plain.held(hold), Key("value", "late"), Entry("running", "", 1, "late")
    try:
        async with asyncio.timeout(DEADLINE):
            row = Row("only", "", b"1")
            assert await held.swap(key, 0, "w", [row], [], None)
            taken = 0
            while not driver.anybody.turns.locked():
                await driver.anybody.turns.acquire()
                taken += 1
            writes = [
                asyncio.create_task(held.swap(key, 1, "w", [Row("only", "", b"2")], [], None)),
                asyncio.create_task(held.note([Kept(entry, "late")], 1)),
                asyncio.create_task(held.put_piece(key, "p", 0, b"x")),
            ]
            await asyncio.sleep(0.5)
            lasts = False
            for _ in range(taken):
                driver.anybody.turns.release()
            await asyncio.sleep(0.5)
            assert not any(write.done() for write in writes)
            assert (await held.read(key, ("only",))).rows == (row,)
            assert await plain.look(entry) is None
            assert await plain.pieces(key, "p") == []
            for write in writes:
                write.cancel()
            await asyncio.gather(*writes, return_exceptions=True)
            assert await plain.swap(key, 1, "w", [], [], None)
    finally:
        await driver.close()


async def test_the_lead_does_not_queue_behind_what_a_leader_does(site: CassandraSite) -> None:
    """Promise: with every turn of other statements taken, the lead is still taken and renewed in time."""
    await site.open()
    driver = Driver(site.settings, None, None)
    await driver.connect()
    try:
        async with asyncio.timeout(DEADLINE):
            tables, of_lead = (
                CqlTables(driver, site.settings.keyspace, 20.0, by) for by in (driver.anybody, driver.lead)
            )
            store = await CassandraStore.open(tables, Seal(KEY), patience=20.0, of_lead=of_lead)
            while not driver.anybody.turns.locked():
                await driver.anybody.turns.acquire()
            waiting = asyncio.create_task(store.values.get("a"))
            assert store.lead is not None
            first = Lease("me", 1, 0, 30.0, "https://a:1")
            assert await store.lead.swap(None, first)
            assert await store.lead.get() == first
            assert not waiting.done()
            driver.anybody.turns.release()
            assert await waiting is None
    finally:
        await driver.close()


async def test_the_state_knows_which_nodes_hold_it(site: CassandraSite, state_node: ScratchCluster) -> None:
    """Promise: whichever address it was reached at, a cluster that holds the state is known by its nodes' host ids."""
    store = await site.open()
    session = await state_node.session()
    assert store.kept_on() == {str(session.execute("SELECT host_id FROM system.local").one()[0])}
