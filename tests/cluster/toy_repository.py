"""What the toy cluster keeps of backups, in memory: rows, and the repositories that they are copied to."""

import msgspec

from agent.model.job import JobContext
from agent.wire.backups import Plan, Record
from agent.wire.results import UploadResult

ROW_BYTES = 10
Rows = dict[str, dict[str, frozenset[str]]]
"""keyspace → table → rows"""


class Held(msgspec.Struct):
    """A repository in a directory or bucket."""

    repository_id: str
    clusters: dict[str, str]
    plans: dict[str, Plan] = {}
    records: dict[str, list[Record]] = {}
    manifests: dict[tuple[str, str], Rows] = {}
    lacking: set[tuple[str, str]] = set()
    """tag and host id of the manifests that name tables which were left out"""
    marks: set[str] = set()
    unread: set[str] = set()
    """tags whose listing record can't be read: there is one, and nobody knows what it says"""

    def record(self, tag: str) -> Record | None:
        """The newest one, as far as it can be read."""
        return self.records[tag][-1] if tag in self.records and tag not in self.unread else None


def counted(context: JobContext, destination: str, rows: Rows) -> None:
    """Tell that all of these rows are there."""
    for keyspace, tables in rows.items():
        for table, content in tables.items():
            context.tally.expect(destination, keyspace, table, 1, len(content) * ROW_BYTES)
            context.tally.done(destination, keyspace, table, 1, len(content) * ROW_BYTES)


def sizes_of(rows: Rows) -> dict[str, int]:
    """keyspace → bytes of its rows."""
    return {ks: sum(len(content) * ROW_BYTES for content in tables.values()) for ks, tables in rows.items()}


def failed(result: msgspec.Struct) -> bool:
    """Whether some destination of a copy failed."""
    return isinstance(result, UploadResult) and any(each.outcome == "failed" for each in result.targets.values())
