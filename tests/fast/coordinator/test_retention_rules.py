"""Which backups go: for any list of backups and any rules."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.model.cluster import Backup
from coordinator.model.retention import Rule
from coordinator.orchestrate.retention.rules import judge

DAY = 86_400.0
NOW = 1_000 * DAY
STATES = ["success", "success", "success", "partial", "failed", "running", "deleting", "unfinished"]


def taken(day: float, state: str = "success", stored: float | None = None, by: str = "adhoc") -> Backup:
    """A backup of that day; `stored`: the day by the store's clock."""
    return Backup(f"{by}-{day}", by, day * DAY, state, {}, stored=None if stored is None else stored * DAY)


def going(backups: list[Backup], now: float = NOW, **rule: Any) -> list[float]:
    """The days of those that go by one rule for all ids."""
    gone = {verdict.tag for verdict in judge(backups, {"": Rule(**rule)}, now) if verdict.goes}
    return sorted(backup.time / DAY for backup in backups if backup.tag in gone)


@st.composite
def listings(draw: st.DrawFn) -> list[Backup]:
    """Backups of two ids, in any state, with any times, some without the store's."""
    days = st.integers(0, 40).map(lambda day: day * DAY)
    return [
        Backup(
            f"tag{number}",
            draw(st.sampled_from(["adhoc", "nightly"])),
            draw(days),
            draw(st.sampled_from(STATES)),
            {},
            stored=draw(st.one_of(st.none(), days)),
        )
        for number in range(draw(st.integers(0, 12)))
    ]


rules = st.builds(Rule, age=st.integers(0, 20), unit=st.just("days"), count=st.integers(0, 6), floor=st.integers(1, 4))
nows = st.integers(-10, 10_000).map(lambda day: day * DAY)


def gone(backups: list[Backup], by_id: dict[str, Rule], now: float) -> set[str]:
    """The tags of those that go."""
    return {verdict.tag for verdict in judge(backups, by_id, now) if verdict.goes}


@settings(max_examples=100, deadline=None)
@given(listings(), rules, rules, nows)
def test_the_floor_holds_whatever_the_clocks_say(backups: list[Backup], rule: Rule, nightly: Rule, now: float) -> None:
    """Promise: of each backup id so many good backups stay as the floor says, or all there are, the newest."""
    by_id = {"": rule, "nightly": nightly}
    tags = gone(backups, by_id, now)
    for backup_id, floor in (("adhoc", rule.floor), ("nightly", nightly.floor)):
        good = [each for each in backups if each.backup_id == backup_id and each.state == "success"]
        newest = sorted(good, key=lambda each: (each.time, each.tag))[-floor:]
        assert not tags & {each.tag for each in newest}


@settings(max_examples=100, deadline=None)
@given(listings(), rules, nows)
def test_only_what_a_rule_names_goes(backups: list[Backup], rule: Rule, now: float) -> None:
    """Promise: what goes has ended, and is older than the age by our own times and the store's, or has so many newer
    good ones beside it; without a good backup of its id nothing goes."""
    tags = gone(backups, {"": rule}, now)
    for each in backups:
        if each.tag not in tags:
            continue
        assert each.state in ("success", "partial", "failed")
        good = [one for one in backups if one.backup_id == each.backup_id and one.state == "success"]
        assert good
        stored = [one.stored for one in good if one.stored is not None]
        old = max(one.time for one in good) - each.time > rule.age_seconds
        if each.stored is not None:
            old = old and (max(stored, default=each.stored) - each.stored) > rule.age_seconds
        many = sum(one.time >= each.time and one.tag != each.tag for one in good) >= rule.count
        assert (rule.age and old) or (rule.count and many)


@settings(max_examples=100, deadline=None)
@given(listings(), rules, rules, nows, st.sets(st.integers(0, 11)))
def test_keeping_more_never_deletes_more(
    backups: list[Backup], one: Rule, other: Rule, now: float, pinned: set[int]
) -> None:
    """Promise: a rule that keeps longer, more, or a higher floor, an earlier clock and a pin only ever save backups."""
    longer = Rule(
        age=max(one.age, other.age) if one.age and other.age else 0,
        count=max(one.count, other.count) if one.count and other.count else 0,
        floor=max(one.floor, other.floor),
    )
    pins = {f"tag{number}": "needed" for number in pinned}
    for rule in (one, other):
        before = gone(backups, {"": rule}, now)
        assert gone(backups, {"": longer}, now) <= before
        assert gone(backups, {"": rule}, now - DAY) <= before
        saved = {verdict.tag for verdict in judge(backups, {"": rule}, now, pins) if verdict.goes}
        assert saved == before - set(pins)


@settings(max_examples=100, deadline=None)
@given(listings(), rules, nows)
def test_after_a_run_there_is_nothing_more_to_do(backups: list[Backup], rule: Rule, now: float) -> None:
    """Promise: what one run leaves, a second one with the same clock leaves too, in whatever order it deletes."""
    left = backups
    while tags := gone(left, {"": rule}, now):
        left = [each for each in left if each.tag != min(tags)]
    first = gone(backups, {"": rule}, now)
    assert [each for each in backups if each.tag not in first] == left


def test_age_and_count_each_let_go() -> None:
    """Promise: a backup goes when it is too old, or one too many."""
    backups = [taken(day) for day in range(10)]
    assert going(backups, age=6) == [0, 1, 2]
    assert going(backups, count=4) == [0, 1, 2, 3, 4, 5]
    assert going(backups, age=6, count=8) == [0, 1, 2]
    assert going(backups, age=2, unit="weeks") == []
    assert going(backups, age=1, unit="hours", floor=3) == [0, 1, 2, 3, 4, 5, 6]
    assert going(backups) == []


def test_what_is_not_good_never_takes_a_good_ones_place() -> None:
    """Promise: partial and failed backups count neither for the floor nor for the count, and go like others."""
    backups = [taken(0), taken(1), taken(2, "partial"), taken(3, "failed")]
    assert going(backups, age=1) == []
    assert going(backups, count=1) == [0]
    assert going([taken(0, "partial"), *backups[1:]], count=1) == [0]
    assert going([taken(0, "partial"), taken(90, "failed")], age=1, count=1) == []


@pytest.mark.parametrize("state", ["running", "deleting", "unfinished"])
def test_what_has_not_ended_stays(state: str) -> None:
    """Promise: what somebody may still write or delete is left alone."""
    assert going([taken(0, state), taken(90)], age=1, count=1) == []


def test_a_clock_that_jumped_deletes_nothing_by_age() -> None:
    """Promise: neither our clock nor the store's, ten years ahead, lets a backup go that the other one keeps; also not
    when a backup was taken by that clock."""
    backups = [taken(day, stored=day) for day in range(10)]
    assert going(backups, now=NOW + 3_650 * DAY, age=20) == []
    ours = [*backups, taken(3_660, stored=10)]
    assert going(ours, now=NOW + 3_650 * DAY, age=20) == []
    theirs = [*backups, taken(10, stored=3_660)]
    assert going(theirs, age=20) == []


def test_where_no_backup_is_taken_any_more_nothing_grows_old() -> None:
    """Promise: ages are reckoned from the newest good backup: backups that stopped don't die out."""
    assert going([taken(0), taken(1)], now=500 * DAY, age=30, count=0) == []
    assert going([taken(0), taken(31)], now=500 * DAY, age=30, count=0) == [0]
    assert going([taken(0), taken(31)], now=20 * DAY, age=30, count=0) == []


def test_a_copy_that_was_put_lately_is_new_there() -> None:
    """Promise: an old backup that a person has copied to a destination isn't swept from it by the next run."""
    assert going([taken(0, stored=40), taken(39, stored=39), taken(40, stored=40)], age=30) == []


def test_each_backup_id_is_judged_by_itself() -> None:
    """Promise: the rule of an id goes before that of the place, and one id's backups save none of another's."""
    backups = [taken(day, by=by) for by in ("adhoc", "nightly") for day in (0, 1, 2)]
    told = judge(backups, {"": Rule(count=1), "nightly": Rule(count=2)}, NOW)
    assert [verdict.tag for verdict in told if verdict.goes] == ["adhoc-0", "nightly-0", "adhoc-1"]
    assert [verdict.tag for verdict in judge(backups, {"nightly": Rule(count=2)}, NOW) if verdict.goes] == ["nightly-0"]


def test_every_verdict_says_why() -> None:
    """Promise: a person reads the reason of each backup, also of those that stay."""
    backups = [taken(0), taken(1, "running"), taken(2), taken(3)]
    told = {verdict.tag: verdict.why for verdict in judge(backups, {"": Rule(count=1)}, NOW, {"adhoc-0": "r needs it"})}
    assert told == {
        "adhoc-0": "r needs it",
        "adhoc-1": "it is running",
        "adhoc-2": "there is a newer good one",
        "adhoc-3": "it is the newest good one",
    }
    assert msgspec.structs.asdict(judge([taken(0)], {}, NOW)[0])["why"] == "no rule lets it go"


def test_what_a_scrub_found_damaged_is_no_good_backup() -> None:
    """Promise: the last whole backup stays however many newer ones are damaged, and a damaged one goes by age and count
    like a partial one, never because another damaged one is newer."""
    backups = [taken(0), taken(1), taken(2), taken(3)]

    def left(damaged: set[str], **rule: Any) -> list[str]:
        told = judge(backups, {"": Rule(**rule)}, NOW, doubtful=damaged)
        return [verdict.tag for verdict in told if not verdict.goes]

    assert left({"adhoc-2", "adhoc-3"}, count=1) == ["adhoc-1", "adhoc-2", "adhoc-3"]
    assert left({"adhoc-1"}, count=2) == ["adhoc-2", "adhoc-3"]
    assert left({backup.tag for backup in backups}, age=1, count=1) == [backup.tag for backup in backups]


def test_a_backup_that_a_scrub_found_damaged_is_told_so() -> None:
    """Promise: whoever tries a rule sees why the newest backup is not the one that is kept for its goodness."""
    backups = [taken(998), taken(999)]
    told = judge(backups, {"": Rule(count=1)}, NOW, doubtful={backups[1].tag})
    assert [(one.goes, one.why) for one in told] == [
        (False, "it is the newest good one"),
        (False, "not counted as good (damaged, or not through yet); it is neither too old nor one too many"),
    ]
