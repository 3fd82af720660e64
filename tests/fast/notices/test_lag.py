"""Whose commit log lags: told once, with the same id after a crash, until it has caught up."""

from typing import Any

import msgspec

from coordinator.model.archiving import NodeArchiving
from coordinator.notices.happenings import of_lag
from coordinator.notices.lag import NodeLag, judged

LIMIT = 100.0


def node(safe: dict[str, float | None], state: str = "on", **changes: Any) -> NodeArchiving:
    return msgspec.structs.replace(NodeArchiving("127.0.70.1", "h1", state, safe=safe), **changes)


class Looks:
    """Looks one after the other; what is known goes through JSON, as the store has it."""

    def __init__(self) -> None:
        self.known: dict[str, NodeLag] = {}

    def told(self, now: float, *nodes: NodeArchiving) -> list[tuple[str, float]]:
        kept = msgspec.json.decode(msgspec.json.encode(self.known), type=dict[str, NodeLag])
        self.known = judged(kept, nodes, now, LIMIT)
        return [(one.type.partition(".")[2], one.at) for one in of_lag("main", self.known)]


def test_a_node_lags_once_its_log_is_too_old_anywhere_and_until_it_is_not() -> None:
    """Promise: the oldest place counts; it is one happening as long as it lasts, and the next lag is another one."""
    looks = Looks()
    assert looks.told(1_000.0, node({"a": 1_000.0, "b": 900.0})) == []
    assert looks.told(1_001.0, node({"a": 1_001.0, "b": 900.0})) == [("lagging", 1_001.0)]
    [first] = of_lag("main", looks.known)
    assert (first.fields["node"], first.fields["safe_until"]) == ("127.0.70.1", 900.0)
    assert looks.told(1_050.0, node({"a": 1_050.0, "b": 900.0})) == [("lagging", 1_001.0)]
    assert of_lag("main", looks.known) == [first]
    assert looks.told(1_060.0, node({"a": 1_060.0, "b": 1_055.0})) == [("lagging", 1_001.0), ("caught_up", 1_060.0)]
    assert of_lag("main", looks.known)[1].fields["safe_until"] == 1_055.0
    assert looks.told(1_100.0, node({"a": 1_100.0, "b": 1_055.0})) == [("lagging", 1_001.0), ("caught_up", 1_060.0)]
    assert looks.told(1_200.0, node({"a": 1_200.0, "b": 1_055.0})) == [("lagging", 1_200.0)]
    assert of_lag("main", looks.known)[0].id != first.id


def test_a_node_of_which_nothing_is_safe_lags_too() -> None:
    """Promise: counted from the first look that saw it; a destination that was just added has its time."""
    looks = Looks()
    assert looks.told(1_000.0, node({"a": 990.0, "b": None})) == []
    assert looks.told(1_090.0, node({"a": 1_080.0, "b": None})) == []
    assert looks.told(1_101.0, node({"a": 1_100.0, "b": None})) == [("lagging", 1_101.0)]
    [told] = of_lag("main", looks.known)
    assert told.fields["safe_until"] is None
    assert "nothing that it received is safe" in told.message


def test_a_new_destination_does_not_end_a_lag() -> None:
    """Promise: caught up is who is safe everywhere."""
    looks = Looks()
    looks.told(1_000.0, node({"a": 800.0}))
    assert looks.told(1_010.0, node({"a": 1_000.0, "b": None})) == [("lagging", 1_000.0)]
    assert [kind for kind, _ in looks.told(1_020.0, node({"a": 1_000.0, "b": 1_000.0}))] == ["lagging", "caught_up"]


def test_a_node_that_nobody_hears_of_lags_by_what_it_said_last() -> None:
    """Promise: silence is no excuse, nor an all-clear; of a node that never said anything nothing is told."""
    looks = Looks()
    assert looks.told(1_000.0, node({}, "unseen", without="its agent doesn't answer")) == []
    assert looks.told(1_000.0, node({"a": 950.0})) == []
    silent = node({"a": 950.0}, "unseen", without="its agent doesn't answer")
    assert looks.told(1_060.0, silent) == [("lagging", 1_060.0)]
    assert "its agent doesn't answer" in of_lag("main", looks.known)[0].message
    assert looks.told(1_070.0) == [("lagging", 1_060.0)]
    assert looks.told(1_080.0, node({}, "unseen")) == [("lagging", 1_060.0)]


def test_who_does_not_archive_on_purpose_does_not_lag() -> None:
    """Promise: switched off, it is forgotten without an all-clear; one that is off against the order lags on."""
    looks = Looks()
    looks.told(1_000.0, node({"a": 800.0}))
    against = node({"a": 800.0}, "off", without="its Cassandra doesn't archive")
    assert looks.told(1_010.0, against) == [("lagging", 1_000.0)]
    assert looks.told(1_020.0, node({"a": 800.0}, "off")) == []
    assert looks.known == {}


def test_a_clock_that_was_wrong_makes_nobody_lag_for_ever() -> None:
    """Promise: a time of the future, that nothing was safe since, is counted anew."""
    looks = Looks()
    looks.told(9_000.0, node({"a": None}))
    assert looks.told(1_000.0, node({"a": None})) == []
    assert looks.told(1_101.0, node({"a": None})) == [("lagging", 1_101.0)]
