"""Whether a node may have a part in a backup, by what a listing tells of it."""

import pytest

from agent.wire.backups import NodeRecord, Record
from coordinator.orchestrate.listing import Joined, may_hold


def joined(*states: tuple[str, str], manifests: tuple[str, ...] = (), record: bool = True) -> Joined:
    """A backup whose newest record has these nodes with these states, and these manifests."""
    lines = [NodeRecord(host, "127.0.0.1", state, {}) for host, state in states]
    found = Record("t1", "adhoc", 1.0, "partial", {}, lines) if record else None
    return Joined("t1", False, found, None, [*manifests], [], [])


@pytest.mark.parametrize(
    ("backup", "may"),
    [
        (joined(record=False), True),  # nobody can say
        (joined(record=False, manifests=("h2",)), True),
        (joined(("h1", "success")), True),
        (joined(("h1", "failed")), True),  # an earlier copy may have put it
        (joined(("h1", "missing")), True),
        (joined(("h2", "success"), manifests=("h1",)), True),
        (joined(("h2", "success"), manifests=("h2",)), False),
    ],
)
def test_a_node_has_no_part_only_where_a_record_leaves_it_out(backup: Joined, may: bool) -> None:
    """Promise: what a node that left may have lost makes each such backup doubtful, and no other one."""
    assert may_hold(backup, "h1") is may
