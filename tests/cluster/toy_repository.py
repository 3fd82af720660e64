"""What the toy cluster keeps of backups, in memory: rows, and the repositories that they are copied to."""

import msgspec

from agent.wire.backups import Plan, Record

Rows = dict[str, dict[str, frozenset[str]]]
"""keyspace → table → rows"""


class Held(msgspec.Struct):
    """A repository in a directory or bucket."""

    repository_id: str
    clusters: dict[str, str]
    plans: dict[str, Plan] = {}
    records: dict[str, list[Record]] = {}
    manifests: dict[tuple[str, str], Rows] = {}
    marks: set[str] = set()
