"""The ledger of what was done how often: it must notice what it is there for."""

from pathlib import Path

import pytest

from agent.wire.commands import Event, State
from tests.real.state.ledger import Told, kind_once, read

ONCE = (
    ("queued", ""),
    ("running", ""),
    ("running", "stopping"),
    ("waiting", "stopping"),
    ("running", "stopping"),
    ("running", "starting"),
    ("success", "starting"),
)


def events(*told: tuple[str, str], instance: str = "one") -> list[Event]:
    """What an agent's log would tell of one command."""
    return [
        Event(number, instance, 0.0, "c", "restart", None, None, State(state), stage)
        for number, (state, stage) in enumerate(told)
    ]


def test_what_was_carried_out_once_passes() -> None:
    """Promise: waiting in a stage, and going on in it, isn't another execution."""
    assert kind_once("a", events(*ONCE)) == "restart"


@pytest.mark.parametrize(
    "told",
    [
        events(*ONCE[:-1], ("running", "stopping"), ONCE[-1]),
        events(*ONCE, ONCE[-1]),
        events(*ONCE[:-1]),
        events(*ONCE[:-1], ("failed", "starting")),
        [*events(*ONCE[:-1]), *events(ONCE[-1], instance="another")],
    ],
    ids=["a stage twice", "ended twice", "not ended", "failed", "another life of the agent"],
)
def test_what_was_not_carried_out_once_is_noticed(told: list[Event]) -> None:
    """Promise: none of these passes for one execution."""
    with pytest.raises(AssertionError, match="restart"):
        kind_once("a", told)


def test_cassandra_is_read_as_it_tells(tmp_path: Path) -> None:
    """Promise: starts, imports and truncates are counted, of one keyspace, and what came since a look."""
    log, data = tmp_path / "log", tmp_path / "data"
    log.write_text("INFO Startup complete\n[x] Loading new SSTables for shop/orders: …\n")
    (data / "shop" / "orders-1" / "snapshots" / "truncated-1-orders").mkdir(parents=True)
    before = read(log, [data], "shop")
    assert before == Told(1, {"orders": 1}, {"orders": 1})
    with log.open("a") as stream:
        stream.write(
            "Loading new SSTables for other/orders: …\nLoading new SSTables for shop/visits: …\nStartup complete"
        )
    (data / "shop" / "orders-1" / "snapshots" / "truncated-2-orders").mkdir()
    assert read(log, [data], "shop").since(before) == Told(1, {"visits": 1}, {"orders": 1})
