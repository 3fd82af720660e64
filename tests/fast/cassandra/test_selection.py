"""Which tables a backup takes."""

import pytest

from agent.cassandra.errors import KeyspaceNotFound, KeyspaceRefused, TableNotFound
from agent.cassandra.selection import select_tables
from agent.wire.names import InvalidName
from agent.wire.node import KeyspaceView

PRESENT = {
    "Shop": KeyspaceView({}, True, {"Orders": "1", "items": "2"}, {"by_day": "Orders"}),
    "empty": KeyspaceView({}, True, {}, {}),
    "system": KeyspaceView({}, True, {"local": "3"}, {}),
    "system_traces": KeyspaceView({}, True, {"events": "4"}, {}),
    "helenus": KeyspaceView({}, True, {"state": "5"}, {}),
}


def test_all_is_every_keyspace_but_traces_and_those_left_out() -> None:
    """An empty keyspace is part of it; a view is not a table."""
    assert select_tables(None, PRESENT, {"helenus"}) == {
        "Shop": ["Orders", "items"],
        "empty": [],
        "system": ["local"],
    }


def test_named_tables_and_keyspaces_are_taken_as_named() -> None:
    """No tables named means all of the keyspace; twice the same is once."""
    assert select_tables({"Shop": ["items", "items"], "system_traces": []}, PRESENT, {"Shop"}) == {
        "Shop": ["items"],
        "system_traces": ["events"],
    }


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"shop": []}, KeyspaceNotFound),
        ({"Shop": ["orders"]}, TableNotFound),
        ({"Shop": ["by_day"]}, TableNotFound),
        ({"system_views": []}, KeyspaceRefused),
        ({"../x": []}, InvalidName),
        ({"Shop": ["a'b"]}, InvalidName),
        ({"Shop": ["x" * 300]}, InvalidName),
        ({"Sh\0op": []}, InvalidName),
    ],
)
def test_what_can_not_be_taken_is_an_error(asked: dict[str, list[str]], error: type[Exception]) -> None:
    """Never a quiet nothing."""
    with pytest.raises(error):
        select_tables(asked, PRESENT, set())
