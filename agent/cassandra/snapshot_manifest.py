"""What Cassandra itself says is in a snapshot: in, the tables as found on disk; out, the Data files that are missing.

Every table's snapshot has one manifest.json, `{"files": ["nb-1-big-Data.db", ".<index>/nb-1-big-Data.db", …], …}`. It
names the Data.db of each SSTable, those on other disks and of legacy indexes included, and lies in one of the data
directories, whichever Cassandra would have written to next [X 4.1, 5.0: ColumnFamilyStore.createSnapshot]. So where the
agent sees too few of the directories, either files are missing that it names, or it is missing itself.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from agent.model.snapshot import SnapshotTable

MANIFEST = "manifest.json"


class _Manifest(msgspec.Struct):
    files: list[str]


_manifest = msgspec.json.Decoder(_Manifest)


def not_found(tables: Sequence[SnapshotTable]) -> list[str]:
    """`<keyspace>.<table>/<name>` of every Data file that a manifest.json names and that is not among the table's
    files, and of a manifest.json that is missing itself or makes no sense. Synchronous: reads one small file a table.
    Raises OSError: what the disk refuses to show is not missing."""
    missing = []
    for table in tables:
        try:
            lost = _named(table) - {file.name for file in table.files}
        except (FileNotFoundError, msgspec.DecodeError):
            lost = {MANIFEST}
        missing += [f"{table.keyspace}.{table.table}/{name}" for name in sorted(lost)]
    return missing


def _named(table: SnapshotTable) -> set[str]:
    paths = [file.path for file in table.files if file.name == MANIFEST]
    return {name for path in paths for name in _manifest.decode(Path(path).read_bytes()).files} if paths else {MANIFEST}
