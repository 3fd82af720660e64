"""What a backup's reuse owes to object lock."""

import math

from agent.plan.holding import Held, Owed
from agent.plan.objects import ObjectIndex


def names(*numbers: int) -> ObjectIndex:
    index = ObjectIndex()
    for number in numbers:
        index.add(bytes([number]) * 32, 10)
    return index


def owed(known: list[Held], due: float, *numbers: int) -> list[int]:
    found = Owed(known, due)
    assert found.any_of(names(*numbers)) == any(found.has(bytes([number]) * 32, 0) for number in numbers)
    return [number for number in numbers if found.has(bytes([number]) * 32, 0)]


def test_what_nothing_is_known_of_is_owed() -> None:
    """Promise: without a note every reused object is held anew."""
    assert owed([], 100.0, 1, 2) == [1, 2]
    assert owed([Held()], 100.0, 1, 2) == [1, 2]
    assert owed([], 100.0) == []


def test_what_is_held_for_long_enough_is_left_alone_and_nothing_else() -> None:
    """Promise: to the second, and for each object by itself: that others are held for longer doesn't help one."""
    assert owed([Held(names(1, 2), 100.0)], 100.0, 1, 2, 3) == [3]
    assert owed([Held(names(1, 2), 99.0)], 100.0, 1, 2, 3) == [1, 2, 3]
    assert owed([Held(names(1), 99.0), Held(names(2), 101.0)], 100.0, 1, 2) == [1]


def test_the_codec_is_part_of_the_object() -> None:
    """Promise: the same content in another codec is another object, of which nothing is known."""
    assert Owed([Held(names(1), 100.0)], 100.0).has(bytes([1]) * 32, 1)
    held = Held()
    held.add(bytes([1]) * 32, 7, 1, 100.0)
    assert Owed([held], 100.0).has(bytes([1]) * 32, 0)
    assert not Owed([held], 100.0).has(bytes([1]) * 32, 1)
    assert list(held.names.missing_from(ObjectIndex())) == [(bytes([1]) * 16, 1, 7)]


def test_all_are_held_as_long_as_the_first() -> None:
    """Promise: what is said of many is true of each: the earliest end counts, of those that are relied on."""
    held = Held()
    held.add(bytes(32), 1, 0, 120.0)
    held.add(bytes([1]) * 32, 1, 0, 110.0)
    assert held.until == 110.0
    assert Owed([held, Held(names(2), 130.0), Held(names(3), 5.0)], 100.0).until == 110.0
    assert Owed([], 100.0).until == math.inf
