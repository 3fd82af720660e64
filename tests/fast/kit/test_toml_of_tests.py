"""What the harness writes as a service's configuration is what the service reads."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from tests.cluster import toml

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), NAMES, st.lists(NAMES, max_size=3)
)
TREES = st.recursive(
    st.dictionaries(NAMES, VALUES, max_size=4), lambda inner: st.dictionaries(NAMES, inner | VALUES, max_size=3)
)


@given(TREES)
def test_every_tree_is_read_back_as_it_was(tree: dict[str, object]) -> None:
    """Promise: whatever a test configures reaches the service unchanged."""
    assert tomllib.loads(toml.dumps(tree)) == tree


def test_changes_win_table_by_table() -> None:
    """Promise: a test's changes replace single settings, not whole tables."""
    assert toml.merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}, "e": {}}) == {
        "a": {"b": 1, "c": 4},
        "d": 3,
        "e": {},
    }
