"""Promise: no key leaves its root, and what one provider takes all take."""

import pytest

from agent.storage.keys import BadKey, check_key, check_prefix

GOOD = ["a", "a/b", "helenus/v1/repository.json", "a b", "%2E%2E/x", "a..b", ".hidden", "~", "-", "a/" * 100 + "z"]
BAD = [
    "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.", "a\0b", "a\nb", "é", "\u202e", "a" * 1025,
    "x" * 256, ".helenus-tmp/x", ".helenus-tmp", "a\x7f",
]  # fmt: skip


@pytest.mark.parametrize("key", GOOD)
def test_a_usable_key_is_taken_as_it_is(key: str) -> None:
    """Promise: a good key is not changed."""
    assert check_key(key) == key
    assert check_prefix(key) == key


@pytest.mark.parametrize("key", BAD)
def test_a_key_that_could_mean_something_else_is_refused(key: str) -> None:
    """Promise: a key that some provider reads in another way is refused by all."""
    with pytest.raises(BadKey) as refusal:
        check_key(key)
    assert refusal.value.code == "bad_key"


@pytest.mark.parametrize("prefix", ["/", "a//", "../", "a/../", "é", "\0"])
def test_a_prefix_that_no_key_can_have_is_refused(prefix: str) -> None:
    """Promise: nobody lists what can't be there."""
    with pytest.raises(BadKey):
        check_prefix(prefix)


@pytest.mark.parametrize("prefix", ["", "a/", "a/b", "a/..b"])
def test_any_beginning_of_a_key_is_a_prefix(prefix: str) -> None:
    """Promise: a listing may begin anywhere in a key."""
    assert check_prefix(prefix) == prefix
