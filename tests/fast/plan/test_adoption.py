"""Whether another node's agent may sweep a node's prefix."""

import pytest

from agent.plan.adoption import refusal


@pytest.mark.parametrize(
    ("ring", "why"),
    [
        ({"10.0.0.1": "h1", "10.0.0.2": "h2"}, None),
        ({"10.0.0.1": "h1", "10.0.0.3": "gone", "10.0.0.2": "gone"}, "the node gone is in the ring: 10.0.0.2"),
        ({"10.0.0.1": "", "10.0.0.2": "gone"}, "the node gone is in the ring: 10.0.0.2"),
        (
            {"10.0.0.3": "", "10.0.0.2": "h2", "10.0.0.1": ""},
            "whether the node gone is in the ring isn't known: 10.0.0.1, 10.0.0.3 has no host id",
        ),
        ({}, "whether the node gone is in the ring isn't known: no member has no host id"),
    ],
)
def test_a_node_is_adopted_only_when_it_certainly_left(ring: dict[str, str], why: str | None) -> None:
    """Promise: who is in the ring in whatever state is refused with its address; so is everybody while a member's id,
    or the whole ring, isn't known."""
    assert refusal(ring, "gone") == why
