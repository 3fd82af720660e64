"""Lines that strangers cause are few, and say how many weren't told."""

from kit.seldom import Seldom


def test_a_line_is_told_once_in_a_while_with_the_number_of_those_left_out() -> None:
    """Promise: of many equal lines one a minute is told, and the next one says how many there were."""
    now = [0.0]
    seldom = Seldom(60.0, clock=lambda: now[0])
    assert [seldom.due("a") for _ in range(4)] == [0, None, None, None]
    assert seldom.due("b") == 0
    now[0] = 59.9
    assert seldom.due("a") is None
    now[0] = 60.0
    assert [seldom.due("a"), seldom.due("a"), seldom.due("b")] == [4, None, 0]


def test_a_flood_of_keys_fills_neither_memory_nor_log() -> None:
    """Promise: whoever invents keys gets one line for all that are too many, and what is old is forgotten."""
    now = [0.0]
    seldom = Seldom(60.0, clock=lambda: now[0], most_keys=10)
    assert sum(seldom.due(f"k{number}") is not None for number in range(1_000)) == 11
    now[0] = 60.0
    assert seldom.due("another") == 0
    assert len(seldom._told) == 1
