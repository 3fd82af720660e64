"""Counts of many tables, packed."""

import gc
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from agent.wire.commands import Counts
from coordinator.fleet.counts import kept
from coordinator.model.requests import NodePart, RequestState
from coordinator.model.table_counts import NO_TABLES, Layouts, TableCounts
from coordinator.store.kept_parts import packed, unpacked

Told = dict[str, dict[str, Counts]]

numbers = st.integers(0, 2**40)
counts = st.builds(
    Counts, numbers, numbers, numbers, numbers, st.lists(st.sampled_from(["broken", "gone %s"]), max_size=2)
)
names = st.sampled_from(["a", "b", "Mixed", "odd%d", 'quo"ted', "ünïcode"])
told = st.dictionaries(names, st.dictionaries(names, counts, min_size=1, max_size=4), max_size=3)


def plain(packed_counts: TableCounts) -> Told:
    return {keyspace: dict(tables) for keyspace, tables in packed_counts.items()}


def shown(told: Told) -> Any:
    return {
        keyspace: {
            table: {
                "done_files": each.done_files,
                "total_files": each.total_files,
                "done_size": each.done_bytes,
                "total_size": each.total_bytes,
                "errors": each.errors,
            }
            for table, each in tables.items()
        }
        for keyspace, tables in told.items()
    }


@given(told, told)
def test_packed_counts_are_what_was_told(first: Told, news: Told) -> None:
    """Promise: packed and told anew they read, encode and sum up as plain ones do, errors and odd names included."""
    layouts = Layouts()
    known = layouts.pack(first)
    joined = {keyspace: {**first.get(keyspace, {}), **news.get(keyspace, {})} for keyspace in {*first, *news}}
    after = known.told(news)
    assert plain(known) == first  # nothing of what was looked at before has changed
    assert plain(after) == joined == plain(layouts.pack(news).over(known))
    assert msgspec.json.decode(after.encode()) == shown(joined) == after.shown()
    every = [each for tables in joined.values() for each in tables.values()]
    assert after.files == (sum(each.done_files for each in every), sum(each.total_files for each in every))
    assert after == layouts.pack(joined) == Layouts().pack(joined) == joined


@given(told, told)
def test_sums_are_by_table(one: Told, other: Told) -> None:
    """Promise: counts of two destinations add up, tables that only one has included."""
    both = plain(Layouts().pack(one).plus(Layouts().pack(other)))
    assert {(k, t) for k in both for t in both[k]} == {(k, t) for each in (one, other) for k in each for t in each[k]}
    for keyspace, tables in both.items():
        for table, each in tables.items():
            parts = [told[keyspace][table] for told in (one, other) if table in told.get(keyspace, {})]
            assert each.done_files == sum(part.done_files for part in parts)
            assert each.total_bytes == sum(part.total_bytes for part in parts)
            assert sorted(each.errors) == sorted(error for part in parts for error in part.errors)


@given(told)
def test_nothing_is_done_of_what_begins(before: Told) -> None:
    """Promise: files and bytes in all stay, those that are done are none."""
    begun = Layouts().pack(before).none_done()
    assert plain(begun) == {
        keyspace: {table: msgspec.structs.replace(each, done_files=0, done_bytes=0) for table, each in tables.items()}
        for keyspace, tables in before.items()
    }
    assert begun.plus(NO_TABLES) == begun == NO_TABLES.plus(begun)


@given(st.dictionaries(st.sampled_from(["there", "elsewhere"]), told, max_size=2))
def test_a_part_that_was_kept_reads_as_before(progress: dict[str, Told]) -> None:
    """Promise: the store gives back the part that was put, whether its counts were packed or not."""
    layouts = Layouts()
    part = NodePart("127.0.70.1", "host", "id", RequestState.SUCCESS, 1.0, 2.0, progress=progress)
    assert unpacked(packed(part, layouts), Layouts()) == part
    compact = msgspec.structs.replace(part, progress={name: layouts.pack(each) for name, each in progress.items()})
    assert unpacked(packed(compact, layouts), layouts) == part


def test_equal_tables_have_one_layout_and_unused_ones_go() -> None:
    """Promise: the names of a thousand nodes' tables are kept once, and those of dropped tables not for ever."""
    layouts = Layouts()
    one = layouts.pack({"k": {"b": Counts(1, 2, 3, 4), "a": Counts()}})
    other = layouts.pack({"k": {"a": Counts(), "b": Counts()}})
    assert one.layout is other.layout
    names = one.layout.names
    del one, other
    gc.collect()
    assert names not in layouts._known


def test_numbers_that_no_honest_agent_tells_are_bounded() -> None:
    """Promise: one agent's nonsense keeps nobody from seeing the other nodes."""
    wild = Layouts().pack({"k": {"t": Counts(2**70, -(2**70), 1, 2, ["x"])}})
    assert wild["k"]["t"] == Counts(2**63 - 1, -(2**63) + 1, 1, 2, ["x"])


def test_what_says_nothing_new_is_the_same_object() -> None:
    """Promise: a view that repeats what is known doesn't count as a movement of its command."""
    layouts = Layouts()
    known = kept({}, {"d": {"k": {"t": Counts(1, 2, 3, 4)}}}, layouts, done=False)
    assert kept(known, {"d": {"k": {"t": Counts(1, 2, 3, 4)}}}, layouts, done=True) is known
    assert kept(known, {}, layouts, done=True) is known
    assert kept(known, {"d": {"k": {"t": Counts(2, 2, 3, 4)}}}, layouts, done=False) is not known


def test_an_end_takes_back_nothing() -> None:
    """Promise: an agent that was started again and tells less of a finished table leaves what was counted; of other
    totals its word counts."""
    layouts = Layouts()
    known = kept({}, {"d": {"k": {"t": Counts(5, 5, 50, 50), "u": Counts(1, 1, 1, 1)}}}, layouts, done=False)
    news = {"d": {"k": {"t": Counts(1, 5, 10, 50), "u": Counts(0, 2, 0, 2)}}}
    assert plain(kept(known, news, layouts, done=False)["d"]) == news["d"]
    assert plain(kept(known, news, layouts, done=True)["d"]) == {
        "k": {"t": Counts(5, 5, 50, 50), "u": Counts(0, 2, 0, 2)}
    }
