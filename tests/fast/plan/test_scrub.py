"""Which slices a scrub reads, its sample, and since when a byte is unread: pure."""

import hashlib

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
