"""What no `force` makes possible, and what a person is warned of before a restore."""

from pathlib import Path

import msgspec
import pytest

from agent.cassandra.node import CassandraNode
from agent.cassandra.settings import CassandraSettings
from agent.jobs.restore.preflight_rules import refuse_what_cannot_be, warnings_of
from agent.jobs.restore.tools import RestoreTools
from agent.wire.commands import RestoreArguments
from tests.fast.restore.backup_in_memory import HOST, BackupInMemory, identity
from tests.fast.restore.test_replaced_types import schema

DAY = 86400
SCHEMA = schema("int", {"t": "int", "u": "int"})
BACKUP = BackupInMemory(["nb-1-big"], (SCHEMA,))
ASKED = RestoreArguments("tag", HOST, {"ks": ["t"]})


@pytest.mark.parametrize(
    ("live", "code"),
    [
        ({"version": "5.0.2"}, ""),
        ({"version": "5.1.0"}, ""),
        ({"version": "4.1.9"}, "version_older"),
        ({"version": "5.0"}, ""),
        ({"partitioner": "RandomPartitioner"}, "partitioner_differs"),
    ],
    ids=str,
)
def test_sstables_that_the_node_can_not_read_are_refused(live: dict[str, str], code: str) -> None:
    """Promise: SSTables of a newer release, or of another partitioner, never reach an import; another patch of the same
    release, or a newer one, is no hindrance. The refusal names both."""
    node = msgspec.structs.replace(identity(), **live)
    found = refuse_what_cannot_be(ASKED, BACKUP.head, node, (), ())
    assert [str(one["code"]) for one in found] == ([code] if code else [])
    if code:
        [(name, here)] = live.items()
        assert here in str(found[0]["message"])
        assert str(getattr(identity(), name)) in str(found[0]["message"])


@pytest.mark.parametrize(("age", "warned"), [(9 * DAY, []), (11 * DAY, ["ks.t"])])
async def test_a_backup_older_than_gc_grace_is_warned_of(tmp_path: Path, age: float, warned: list[str]) -> None:
    """Promise: who restores a backup whose tombstones Cassandra may have dropped since is told that deleted rows may
    come back, and of which tables; asked tables only."""
    (tmp_path / "data").mkdir()
    node = CassandraNode(CassandraSettings(data_directories=(str(tmp_path / "data"),)), tmp_path / "state")
    tools = RestoreTools(node, BACKUP, tmp_path / "state", clock=lambda: BACKUP.head.taken_at + age)
    live = {"ks": msgspec.structs.replace(SCHEMA, gc_grace_seconds={"t": 10 * DAY, "u": DAY})}
    told = await warnings_of(tools, ASKED, BACKUP.head, {"ks": SCHEMA}, live, ())
    assert [table for table in ("ks.t", "ks.u") if any(table in warning for warning in told)] == warned
    assert all("what was deleted since may come back" in warning for warning in told)
    await node.close()
