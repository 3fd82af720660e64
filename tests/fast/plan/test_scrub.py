"""Which slices a scrub reads, its sample, and since when a byte is unread: pure."""

import hashlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from agent.plan.scrub import SLICES, Sample, due_slices, oldest_unread

DAY = 86_400.0


@settings(deadline=None, max_examples=30)
@given(
    gaps=some.lists(some.floats(min_value=60.0, max_value=90 * DAY), min_size=1, max_size=60),
    period=some.floats(min_value=DAY, max_value=60 * DAY),
)
def test_nothing_stays_unread_for_longer_than_the_period_and_one_gap(gaps: list[float], period: float) -> None:
    """Promise: however irregular the runs are, once the period has gone by every slice was read within it and the
    longest time between two runs."""
    read: list[float | None] = [None] * SLICES
    now, last = 1_000_000.0, None
    for gap in (*gaps, *[max(gaps)] * (int(period / max(gaps)) + 2)):
        for number in due_slices(read, last, now, period):
            read[number] = now
        last = now
        now += gap
    known = [at for at in read if at is not None]
    assert len(known) == SLICES
    assert last is not None
    assert last - min(known) <= period + max(gaps)


def test_a_run_takes_a_share_and_at_least_one_slice() -> None:
    """Promise: the share of the slices that of the period went by, rounded up; a day's before the first run; one slice
    of a run right after another; longest unread first, by their numbers when nothing else does."""
    never: list[float | None] = [None] * SLICES
    assert due_slices(never, 0.0, 16 * DAY, 256 * DAY) == list(range(16))
    assert due_slices(never, 0.0, 15.1 * DAY, 256 * DAY) == list(range(16))
    assert due_slices(never, None, 9 * DAY, 64 * DAY) == [0, 1, 2, 3]
    assert due_slices(never, 9 * DAY, 9 * DAY, 64 * DAY) == [0]
    assert due_slices(never, 9 * DAY, 8 * DAY, 64 * DAY) == [0]
    assert due_slices(never, 0.0, 99 * DAY, 64 * DAY) == list(range(256))
    read = [None if one == 200 else float(one % 7 + 1) for one in range(SLICES)]
    assert due_slices(read, 0.0, 3 * DAY, 256 * DAY) == [200, 0, 7]


def test_the_age_counts_what_was_written_since() -> None:
    """Promise: a byte is unread since its slice was read or, when it is newer or was never read, since it was written;
    empty slices have none."""
    assert oldest_unread([100.0, None], [50.0, None]) == 100.0
    assert oldest_unread([100.0], [150.0]) == 150.0
    assert oldest_unread([None, 100.0], [70.0, 10.0]) == 70.0
    assert oldest_unread([None], [None]) is None


def test_the_sample_is_bounded_repeatable_and_prefers_the_newest() -> None:
    """Promise: the same seed draws the same; of a year of daily objects more than half of what is drawn is younger
    than a month, and the old ones are not left out for ever."""
    now = 400 * DAY

    def ages(seed: int) -> list[int]:
        sample = Sample(20, seed.to_bytes(8, "big"), now)
        for age in range(365):
            object_id = hashlib.sha256(age.to_bytes(4, "big")).digest()
            sample.add(f"{age:03}", object_id, 1, now - age * DAY)
        return [int(one.key) for one in sample.drawn()]

    drawn = [ages(seed) for seed in range(200)]
    assert drawn[0] == ages(0)
    assert all(len(one) == len(set(one)) == 20 for one in drawn)
    flat = [age for one in drawn for age in one]
    assert sum(age < 30 for age in flat) > len(flat) / 2
    assert len(set(flat)) > 60
    assert ages(1) != ages(2)


def test_the_same_seed_draws_the_same_for_ever() -> None:
    """Promise: a scrub that is resumed by a later release reads what it would have read: these objects, by these draws,
    in the order of their keys; a short seed is filled up behind, of a long one eight bytes count."""

    def drawn(seed: bytes, most: int = 4) -> list[tuple[str, float, int]]:
        sample = Sample(most, seed, 100 * DAY)
        for number in reversed(range(12)):
            name = hashlib.sha256(bytes([number])).digest()
            sample.add(f"k{number:02}", name, number, (100 - number) * DAY)
        return [(one.key, round(one.draw, 6), one.size) for one in sample.drawn()]

    eight = bytes([1, 2, 3, 4, 5, 6, 7, 8])
    assert drawn(eight) == [("k01", 2.209547, 1), ("k03", 0.468328, 3), ("k04", 0.551367, 4), ("k11", 1.525605, 11)]
    assert drawn(b"\1") == [("k00", 2.490348, 0), ("k01", 3.471864, 1), ("k02", 1.593653, 2), ("k03", 4.037041, 3)]
    assert drawn(b"\1" + bytes(7)) == drawn(b"\1")
    assert drawn(eight + b"more") == drawn(eight)
    assert drawn(eight, 0) == []
    assert [key for key, _, _ in drawn(eight, 1)] == ["k01"]


def test_no_draw_is_infinite_and_what_is_of_the_future_is_new() -> None:
    """Promise: a name that the seed makes 0 of is drawn as any other; a store's clock that is ahead counts as now."""
    sample = Sample(9, b"\1" * 8, DAY)
    for number, modified in enumerate((DAY, DAY + 0.5, 9 * DAY)):
        sample.add(f"k{number}", b"\1" * 32, 1, modified)
    draws = {one.draw for one in sample.drawn()}
    assert len(draws) == 1
    assert math.isclose(draws.pop(), -math.log(53 * math.log(2)), rel_tol=1e-12)


def test_each_slice_has_both_times() -> None:
    """Promise: lists that don't belong together are an error and no age."""
    with pytest.raises(ValueError, match="shorter"):
        oldest_unread([1.0, 2.0], [1.0])
