"""What is told of intents that aren't one's own."""

from agent.repository.errors import IntentForeign, NodeAdopted
from agent.repository.intents import Intent, Standing, foreign_error
from agent.repository.keys import ADOPTED


def standing(name: str, agent: str | None, command: str = "k1") -> Standing:
    """An intent of that agent, an unreadable one of nobody."""
    return Standing(name, f"x/{name}", 7.0, None if agent is None else Intent(name, agent, "i1", command))


def test_foreign_intents_are_told_with_who_put_them() -> None:
    """Promise: a person reads which tags, which agents and which commands stand in the way, and programs as fields; one
    that can't be read by its name alone."""
    told = foreign_error(
        "h1", [standing("t2", "a2", "k2"), standing("t1", "a1"), standing("t3", None), standing("t4", "a2")]
    )
    assert type(told) is IntentForeign
    assert told.message == (
        "another agent works in the prefix of the node h1: t2 (agent a2, command k2), t1 (agent a1, command k1), t3, "
        "t4 (agent a2, command k1)"
    )
    assert told.fields == {"host_id": "h1", "tags": ["t2", "t1", "t3", "t4"], "agents": ["a1", "a2"]}


def test_an_adoption_is_told_before_all_others() -> None:
    """Promise: an agent that comes back reads that its node was given up, whatever else stands there."""
    told = foreign_error("h1", [standing("t1", "a1"), standing(ADOPTED, "a2", "k2")])
    assert type(told) is NodeAdopted
    assert told.message == (
        "the prefix of the node h1 was adopted, for it had left the ring: t1 (agent a1, command k1), "
        "~adopted (agent a2, command k2)"
    )
    assert told.fields == {"host_id": "h1", "tags": ["t1", ADOPTED], "agents": ["a1", "a2"]}
