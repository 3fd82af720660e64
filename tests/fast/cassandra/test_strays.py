"""Snapshots that are named as backups and of which nobody knows."""

from pathlib import Path

from structlog.testing import capture_logs

from agent.cassandra.protocol import OwnSnapshot
from agent.cassandra.strays import Strays

ID = "0123456789abcdef0123456789abcdef"
OURS, LOST = "opscenter_adhoc_2017-03-17-15-06-09-UTC", "opscenter_adhoc_2017-03-18-15-06-09-UTC"


async def test_snapshots_that_were_an_agents_before_its_state_was_lost_are_named(tmp_path: Path) -> None:
    """Promise: what pins space and stands in no listing is told; other people's and Cassandra's snapshots are not."""
    table = tmp_path / f"shop/orders-{ID}/snapshots"
    for tag in (OURS, LOST, "truncated-1-orders", "mine", "opscenter_mine"):
        (table / tag).mkdir(parents=True)
    known = [OwnSnapshot(OURS, "command", 1.0, True)]

    async def data() -> list[str]:
        return [str(tmp_path)]

    async def ours() -> list[OwnSnapshot]:
        return known

    strays = Strays(data, ours)
    assert await strays.look() == [LOST]
    known.clear()
    with capture_logs() as logs:
        assert await strays.look() == await strays.look() == [OURS, LOST]
    assert [log["tags"] for log in logs] == [[OURS, LOST]]


async def test_a_snapshot_that_is_cleared_during_the_look_is_no_stray(tmp_path: Path) -> None:
    """It was known when the look began."""
    (tmp_path / f"shop/orders-{ID}/snapshots" / OURS).mkdir(parents=True)
    answers = [[OwnSnapshot(OURS, "command", 1.0, True)], []]

    async def data() -> list[str]:
        return [str(tmp_path)]

    async def ours() -> list[OwnSnapshot]:
        return answers.pop(0)

    assert await Strays(data, ours).look() == []
