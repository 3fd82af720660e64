"""When two replication settings of a keyspace mean the same. Pure; agents and coordinators judge alike."""

from collections.abc import Iterable, Mapping


def same_replication(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether both say the same: of the class the short name counts, for Cassandra prints the long one and people write
    the short one."""
    return _normal(one) == _normal(other)


def replication_differences(
    backup: Mapping[str, Mapping[str, str]], live: Mapping[str, Mapping[str, str]], keyspaces: Iterable[str]
) -> dict[str, list[dict[str, str]]]:
    """Keyspace → [in the backup, live] where both exist and replicate differently."""
    return {
        keyspace: [dict(backup[keyspace]), dict(live[keyspace])]
        for keyspace in keyspaces
        if keyspace in backup and keyspace in live and not same_replication(backup[keyspace], live[keyspace])
    }


def _normal(replication: Mapping[str, str]) -> dict[str, str]:
    return {key: value.rpartition(".")[2] if key == "class" else value for key, value in replication.items()}
