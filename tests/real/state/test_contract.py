"""Cassandra's store over a real node keeps every promise of a store."""

from tests.cluster.store_contract import StoreContract


class TestCassandra(StoreContract):
    """`site` is the keyspace of a real node."""
