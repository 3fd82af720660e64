"""How long a snapshot that is to be copied lives."""

from agent.plan.snapshot_ttl import UNMEASURED, copy_rate, time_to_live

WEEK = 7 * 86_400
TERABYTE = 10**12


def test_a_snapshot_lives_a_week_or_twice_as_long_as_its_copy_takes() -> None:
    """Promise (design §5): the longer of the two, so that no copy loses its snapshot under way; 0 is never."""
    assert time_to_live(WEEK, TERABYTE, 1e9) == WEEK
    assert time_to_live(WEEK, 4 * TERABYTE, 4e6) == 2 * 1_000_000
    assert time_to_live(WEEK, 0, 1.0) == WEEK
    assert time_to_live(0, TERABYTE, 1.0) is None
    assert time_to_live(1, 0, 1.0) == 1


def test_a_copy_is_taken_to_be_as_slow_as_the_last_one_or_its_limits() -> None:
    """Promise: the slowest of what was measured, the node's limit and the copy's; a careful guess before the first."""
    assert copy_rate(0.0) == UNMEASURED
    assert copy_rate(0.0, [0.0, 1e12]) == UNMEASURED
    assert copy_rate(50e6, [0.0]) == 50e6
    assert copy_rate(50e6, [0.0, 4e6, 16e6]) == 4e6
    assert copy_rate(0.5) == 0.5
    assert copy_rate(50e6, [0.5]) == 0.5
