"""What nodes tell, for people: the same sentence of several nodes once, behind their names. Pure."""

from collections.abc import Iterable, Mapping

MOST_NAMED = 5
"""Nodes that are named; of a thousand the number does."""


def by_nodes(told: Mapping[str, Iterable[str]]) -> list[str]:
    """`told`: address → sentences. Each once, in the order of the addresses that tell it first."""
    nodes: dict[str, list[str]] = {}
    for address, sentences in sorted(told.items()):
        for sentence in dict.fromkeys(sentences):
            nodes.setdefault(sentence, []).append(address)
    return [f"{named(addresses)}: {sentence}" for sentence, addresses in nodes.items()]


def named(addresses: list[str]) -> str:
    """All of them, or the first ones and how many more there are."""
    more = len(addresses) - MOST_NAMED
    return ", ".join(addresses) if more <= 1 else f"{', '.join(addresses[:MOST_NAMED])} and {more} more nodes"
