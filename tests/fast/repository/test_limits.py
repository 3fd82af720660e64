"""The agent's limits of bytes per second: one of the node, one of each destination."""

from agent.repository.limits import Limits


def test_there_is_no_limit_until_one_is_set() -> None:
    """Promise: neither the node nor a destination is slowed down unless somebody said so."""
    limits = Limits()
    assert (limits.node.rate, limits.of("d1").rate) == (0, 0)
    assert Limits(7).node.rate == 7
    assert Limits(7).of("d1").rate == 0


def test_a_destination_has_one_limit_of_its_own() -> None:
    """Promise: whoever asks for a destination's limit gets the same one; a destination that is put again, after it was
    deleted, has none, and whoever still uses the old one is still held to it."""
    limits = Limits()
    limits.of("d1").set_rate(5)
    old = limits.of("d1")
    assert [limits.of(name).rate for name in ("d1", "d2", "d1")] == [5, 0, 5]
    limits.forget("d1")
    assert (old.rate, limits.of("d1").rate) == (5, 0)
    limits.forget("never heard of")
