"""How often agents report, by their number. In: how many agents there are. Out: the interval that they are asked for,
and how often a command is looked at should an event be missed. Pure.

What a coordinator reads is bounded, whatever the number: an agent tells at most twice a second how far it is, which is
well for a hundred, and with a thousand of them would be all that the coordinator does.
"""

import math

EVENTS_A_SECOND = 200
"""Progress events of all agents together."""
FINEST = 0.5
"""Seconds between two progress events of an agent that nobody asked for an interval."""
LONGEST = 60
"""Seconds; agents take no longer interval."""
LOOKS_A_SECOND = 20
"""Looks at commands of all agents together."""
REPORTS_A_SECOND = 30
"""Reports of nodes that are asked for because somebody looks: with a thousand nodes each describes a thousand."""


def interval_of(agents: int) -> int:
    """Whole seconds between two progress events of each agent; 0 = as they like."""
    seconds = agents / EVENTS_A_SECOND
    return 0 if seconds <= FINEST else min(LONGEST, math.ceil(seconds))


def poll_of(agents: int, seconds: float) -> float:
    """Seconds between two looks at a command, wished to be so many."""
    return max(seconds, agents / LOOKS_A_SECOND)


def age_of(agents: int) -> float:
    """Seconds that a node's report may be old where people look."""
    return agents / REPORTS_A_SECOND
