"""What a table begins with: the snapshot's SSTables, nothing, or it can't be told."""

from agent.plan.beginnings import Beginning, beginning, may_hide, same_id, truncate_times

ID = "0123456789abcdef0123456789abcdef"
DASHED = "01234567-89ab-cdef-0123-456789abcdef"
TAKEN, PIT = 100.0, 200_000_000


def of(last: int | None = None, seen: tuple[int, ...] = (), id_in_snapshot: str | None = ID) -> Beginning:
    return beginning(
        id_in_snapshot, DASHED, last_truncate=last, truncates=seen, taken_at=TAKEN, pit_micros=PIT
    )  # fmt: skip


def test_without_a_truncate_in_between_it_is_the_snapshot() -> None:
    """Promise: TRUNCATEs before the snapshot and after the point change nothing; Cassandra forgets the latter."""
    assert of() == of(last=99_999) == of(last=200_001) == of(seen=(99_000, 201_000)) == "snapshot"


def test_after_the_last_truncate_only_the_log_counts() -> None:
    """Promise: at the point itself it has happened, to the millisecond that Cassandra keeps."""
    assert of(last=100_001) == of(last=200_000) == of(last=150_000, seen=(120_000,)) == "empty"


def test_a_truncate_whose_position_was_overwritten_is_not_guessed() -> None:
    """Promise: rows that it removed must not come back unsaid."""
    assert of(last=250_000, seen=(150_000,)) == of(seen=(150_000,)) == "unknown"


def test_a_table_of_another_id_begins_empty() -> None:
    """Promise: SSTables of the one before are not its own."""
    assert of(id_in_snapshot=None) == of(id_in_snapshot="f" * 32) == "empty"
    assert same_id(ID.upper(), DASHED)


def test_a_table_that_the_backup_left_out_is_absent() -> None:
    """Promise: what was in it before the snapshot is in no segment: it must not begin empty."""
    there = beginning(None, ID, last_truncate=None, truncates=(), taken_at=TAKEN, pit_micros=PIT, was_there=True)
    truncated = beginning(None, ID, last_truncate=150_000, truncates=(), taken_at=TAKEN, pit_micros=PIT, was_there=True)
    assert (there, truncated) == ("absent", "empty")


def test_a_later_truncate_without_its_snapshot_may_hide_an_earlier_one() -> None:
    """Promise: only one after the point does, and not where its own auto-snapshot shows that they were not cleared."""
    pit, last = 2_000_000_000, 2_500_000
    assert may_hide(last, [], pit)
    assert may_hide(last, [last - 3_600_000], pit)
    assert not may_hide(last, [last - 900], pit)
    assert not may_hide(1_999_999, [], pit)
    assert not may_hide(None, [], pit)


def test_times_are_read_from_the_names_of_auto_snapshots() -> None:
    """Promise: only from those that a TRUNCATE of this table made."""
    tags = ["truncated-170-t", "truncated-160-t-2", "truncated-x-t", "dropped-150-t", "truncated-140-u", "mine"]
    assert truncate_times(tags, "t") == [170]
    assert truncate_times(tags, "t-2") == [160]
