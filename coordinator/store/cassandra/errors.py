"""What can be wrong with a state in Cassandra: errors with stable codes, and the two ends of a question that the store
itself deals with."""

from enum import Enum

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


class StoreRefused(StoreFailed):
    """Cassandra answers, and refuses what the coordinator asks of its state; the message has Cassandra's own words.
    `fields`: keyspace, role (empty: none), reason."""

    code = "store_refused"
    todo = (
        "Look at what the message says that Cassandra refuses, and at its nodes' logs and guardrails; put it right "
        "there, or in the coordinator's [state]."
    )


class StateForbidden(StoreRefused):
    """The role of the coordinator lacks a right on the keyspace of its state. `fields`: as above."""

    todo = (
        "As a superuser of that Cassandra: make the keyspace where it isn't there, then GRANT ALL ON KEYSPACE "
        "<keyspace> TO <role>, with the two that the message names; a keyspace that was made anew needs it again. A "
        "coordinator that didn't start has to be started."
    )


class StateLoginRefused(StoreRefused):
    """Cassandra refuses the role, or its password, or asks for one and was given none. `fields`: as above."""

    todo = (
        "Correct [state] username and password_file, or give the role that password and LOGIN = true in Cassandra; "
        "then start the coordinator again."
    )


class StateTablesGone(StoreRefused):
    """The keyspace of the state, or a table of it, isn't there: somebody dropped it. `fields`: as above."""

    todo = (
        "Find out who dropped it, and restart every coordinator: only a start makes tables, empty ones. "
        "docs/coordinator-state.md says what is rebuilt from the agents and the destinations, and what to make again."
    )


class StateUntrusted(StoreRefused):
    """TLS to the Cassandra that holds the state fails: its certificate isn't one that `ca_file` vouches for, or the
    other way round. `fields`: as above."""

    todo = (
        "Give [state] ca_file the CA of the nodes' certificates, and certificate_file and certificate_key_file where "
        "they ask for one; then start the coordinator again."
    )


class Unanswered(Exception):
    """No answer that counts came: asking again is right. A write may have been done or not."""


class Refusal(Enum):
    """What Cassandra refuses: each is put right in its own way."""

    RIGHT = "a right"
    LOGIN = "the role or its password"
    TABLE = "a table or keyspace that isn't there"
    TLS = "the certificate"
    OTHER = "anything else"


class Refused(Exception):
    """Cassandra won't do it, however often it is asked. `keyspace`, `role`: the state's, as its settings name them."""

    def __init__(self, reason: str, what: Refusal = Refusal.OTHER, keyspace: str = "", role: str = "") -> None:
        super().__init__(reason)
        self.what = what
        self.keyspace = keyspace
        self.role = role


_ERRORS = {
    Refusal.RIGHT: StateForbidden,
    Refusal.LOGIN: StateLoginRefused,
    Refusal.TABLE: StateTablesGone,
    Refusal.TLS: StateUntrusted,
    Refusal.OTHER: StoreRefused,
}


def failed(refused: Refused) -> StoreRefused:
    """The error of what Cassandra refused for good."""
    role = f"the role {refused.role}" if refused.role else "a coordinator without a role"
    return _ERRORS[refused.what](
        f"Cassandra refuses the coordinator's state in the keyspace {refused.keyspace} to {role}: {refused}",
        keyspace=refused.keyspace,
        role=refused.role,
        reason=str(refused),
    )
