"""The coordinator's state in a keyspace of Cassandra's (docs/decisions/0014)."""
