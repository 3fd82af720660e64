"""A few of a cluster's agents at a time, others at each turn. In: all of them, and the turn. Out: those to ask.

What most agents know is seen by asking a few, however large the cluster is; within some turns all have been asked.
"""

from collections.abc import Sequence
from typing import TypeVar

Asked = TypeVar("Asked")

AT_A_TIME = 5
"""How many are asked."""


def few(agents: Sequence[Asked], turn: int) -> list[Asked]:
    """Those of the turn, the first one being 0: each cluster has turns of its own."""
    first = turn * AT_A_TIME % max(len(agents), 1)
    return [*agents[first:], *agents[:first]][:AT_A_TIME]
