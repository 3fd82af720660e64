"""The small set of object ids, against a dictionary."""

from hypothesis import given
from hypothesis import strategies as st

from agent.plan.objects import ObjectIndex
from agent.plan.sweep import SweepView, unneeded

IDS = st.integers(0, 40).map(lambda number: bytes([number % 3, number]) * 16)
CODECS = st.sampled_from([0, 1, 255])
STEPS = st.lists(st.tuples(st.booleans(), IDS, CODECS, st.integers(0, (1 << 56) - 1)))


@given(STEPS)
def test_an_index_is_a_dictionary(steps: list[tuple[bool, bytes, int, int]]) -> None:
    """Promise: in any order of additions and removals, sizes are found and nothing else is; one content in two codecs
    is two objects."""
    index = ObjectIndex()
    model: dict[tuple[bytes, int], int] = {}
    for add, name, codec, size in steps:
        if add:
            index.add(name, size, codec)
            model[name, codec] = size
        else:
            index.discard(name, codec)
            model.pop((name, codec), None)
        assert [index.get(name, one) for one in (0, 1, 255)] == [model.get((name, one)) for one in (0, 1, 255)]
        assert (name in index) == ((name, 0) in model)
    assert index.total() == (sum(model.values()), len(model))
    assert len(index) == len(model)
    everything = {(start, codec): size for start, codec, size in index.missing_from(ObjectIndex())}
    assert everything == {(name[:16], codec): size for (name, codec), size in model.items()}
    assert list(index.missing_from(index)) == []


@given(st.sets(IDS), st.sets(IDS))
def test_a_sweep_never_takes_what_is_needed(listed: set[bytes], needed: set[bytes]) -> None:
    """Promise: I4, whatever there is and whatever is needed."""
    there, wanted = ObjectIndex(), ObjectIndex()
    for name in listed:
        there.add(name, 1)
    for name in needed:
        wanted.add(name, 1)
    found = unneeded(there, wanted)
    assert {name for name in listed | needed if name in found} == listed - needed


def test_what_a_sweep_takes_keeps_its_size_and_codec() -> None:
    """Promise: a content that is needed in one codec goes in the other, and what goes is told with its bytes."""
    there, wanted = ObjectIndex(), ObjectIndex()
    for codec, size in ((0, 70), (1, 50)):
        there.add(b"a" * 32, size, codec)
    there.add(b"b" * 32, 9, 1)
    wanted.add(b"a" * 32, 70, 0)
    assert list(unneeded(there, wanted).missing_from(ObjectIndex())) == [(b"a" * 16, 1, 50), (b"b" * 16, 1, 9)]


TAGS = st.sampled_from(["t1", "t2", "t3"])
HOSTS = st.frozensets(st.sampled_from(["h1", "h2"]))


@given(st.frozensets(TAGS), st.dictionaries(TAGS, HOSTS))
def test_a_manifest_is_either_kept_or_doomed(deleted: frozenset[str], hosts: dict[str, frozenset[str]]) -> None:
    """Promise: every manifest of the node is read or goes, never both; last traces go only when no manifest is left."""
    view = SweepView(deleted, hosts)
    own = {tag for tag, found in hosts.items() if "h1" in found}
    assert set(view.kept("h1")) | set(view.doomed("h1")) == own
    assert not set(view.kept("h1")) & set(view.doomed("h1"))
    assert all(tag in deleted and not hosts.get(tag) for tag in view.traces())
