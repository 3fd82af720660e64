"""From settings to a store in Cassandra. In: settings, key, password, TLS. Out: the store, schema and key checked."""

import ssl

from coordinator.model.settings import StateSettings
from coordinator.store.cassandra.cql_tables import CqlTables
from coordinator.store.cassandra.driver import Driver
from coordinator.store.cassandra.errors import Refused, StoreUnreachable, Unanswered, failed
from coordinator.store.cassandra.schema import Schema
from coordinator.store.cassandra.store import CassandraStore
from coordinator.store.sealing import Seal
from kit.secret import Secret


async def connected(
    settings: StateSettings, seal: Seal, password: Secret | None, tls: ssl.SSLContext | None
) -> CassandraStore:
    """One attempt; nothing is left open when it fails. Raises `StoreUnreachable`, `StoreRefused`, `StoreTooNew`,
    `ConfigError`, `StateKeyWrong`, `StateSetDifferently`."""
    driver = Driver(settings, password, tls)
    try:
        await driver.connect()
        await Schema(driver, settings).prepare()
        patience = settings.patience_seconds
        tables, of_lead = (CqlTables(driver, settings.keyspace, patience, by) for by in (driver.anybody, driver.lead))
        return await CassandraStore.open(tables, seal, patience=patience, of_lead=of_lead)
    except BaseException as error:
        await driver.close()
        if isinstance(error, Unanswered):
            raise StoreUnreachable(f"Cassandra, which holds the state, can't be used now: {error}") from None
        if isinstance(error, Refused):
            raise failed(error) from None
        raise
