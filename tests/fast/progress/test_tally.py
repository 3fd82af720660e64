"""Counters of a command."""

import threading

from agent.progress.tally import MAX_ERRORS, CommandTally
from agent.wire.commands import Counts


def test_counts_from_many_threads_add_up() -> None:
    """Worker threads count per piece without losing one."""
    tally = CommandTally()

    def work() -> None:
        for number in range(5_000):
            tally.done("d", "k", f"t{number % 7}", 1, 3)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = tally.view()["d"]["k"].values()
    assert sum(count.done_files for count in counts) == 40_000
    assert sum(count.done_bytes for count in counts) == 120_000


def test_a_view_does_not_change_any_more() -> None:
    """What a reader was given stays as it was."""
    tally = CommandTally()
    tally.expect("d", "k", "t", 4, 40)
    tally.error("d", "k", "t", "first")
    before = tally.view()
    tally.done("d", "k", "t", 1, 10)
    tally.error("d", "k", "t", "second")
    assert before == {"d": {"k": {"t": Counts(0, 4, 0, 40, ["first"])}}}
    assert tally.view() == {"d": {"k": {"t": Counts(1, 4, 10, 40, ["first", "second"])}}}


def test_only_what_was_marked_after_a_sequence_is_given() -> None:
    """Each reader gets the tables that changed since its own sequence."""
    tally = CommandTally()
    changed = [tally.changed]
    tally.done("d", "k", "one", 1, 1)
    changed.append(tally.changed)
    tally.mark(5)
    tally.done("d", "k", "two", 1, 1)
    tally.mark(9)
    changed.append(tally.changed)
    assert changed == [False, True, False]
    assert tally.since(4)["d"]["k"].keys() == {"one", "two"}
    assert tally.since(5)["d"]["k"].keys() == {"two"}
    assert tally.since(9) == {}
    tally.postpone(0, 12)
    assert tally.since(9)["d"]["k"].keys() == {"one", "two"}


def test_a_table_with_endless_errors_keeps_a_hundred_and_their_number() -> None:
    """A broken table can't fill the memory or an answer."""
    tally = CommandTally()
    for number in range(MAX_ERRORS + 50):
        tally.error("d", "k", "t", f"{number} " + "x" * 10_000)
    errors = tally.view()["d"]["k"]["t"].errors
    assert len(errors) == MAX_ERRORS + 1
    assert errors[-1] == "… and 50 more"
    assert max(len(error) for error in errors) <= 2_000
