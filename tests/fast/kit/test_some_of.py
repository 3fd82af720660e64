"""Names in a sentence."""

import pytest

from kit.some_of import some_of


@pytest.mark.parametrize(
    ("names", "told"),
    [([], ""), (["a"], "a"), (["a", "b", "c"], "a; b; c"), (["a", "b", "c", "d", "e"], "a; b; c and 2 more")],
)
def test_of_many_names_the_first_are_told_and_how_many_others_there_are(names: list[str], told: str) -> None:
    """Promise: a message stays readable however many names there are, and says that there are more."""
    assert some_of(names, 3, "; ") == told
