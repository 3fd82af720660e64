"""What can be wrong with a state in Cassandra: errors with stable codes, and the two ends of a question that the store
itself deals with."""

from coordinator.model.errors import CoordinatorError
from coordinator.store.database import StoreFailed, StoreTooNew


class StoreUnreachable(StoreFailed):
    """Cassandra, which holds the coordinator's state, gave no answer that counts in time: down, cut off, overloaded, or
    without a quorum. Whether the last write counts shows when it answers again: it is there whole or not at all."""

    code = "store_unreachable"
    status = 503
    todo = (
        "Look at the Cassandra that holds the coordinator's state: a quorum of its keyspace's replicas must be up and "
        "reachable from here. Requests that run go on by themselves then."
    )


class StateTooNew(StoreTooNew):
    """The keyspace was brought to a later version by a later release."""

    todo = "Start the release that wrote the state, or give this one a keyspace of its own."


class StateSetDifferently(CoordinatorError):
    """Another coordinator keeps its state in the keyspace with another `quorum` or local data centre: neither would see
    what the other decides."""

    code = "state_set_differently"
    todo = 'Give every coordinator of the keyspace the same [state] quorum, and with "local_dc" the same local_dc.'


class Unanswered(Exception):
    """No answer that counts came: asking again is right. A write may have been done or not."""


class Refused(Exception):
    """Cassandra won't do it, however often it is asked."""
