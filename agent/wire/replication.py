"""When two replication settings of a keyspace mean the same. Pure; agents and coordinators judge alike."""

from collections.abc import Mapping


def same_replication(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether both say the same: of the class the short name counts, for Cassandra prints the long one and people write
    the short one."""
    return _normal(one) == _normal(other)


def _normal(replication: Mapping[str, str]) -> dict[str, str]:
    return {key: value.rpartition(".")[2] if key == "class" else value for key, value in replication.items()}
