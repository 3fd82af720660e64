"""What the coordinator says when the Cassandra that holds its state refuses something."""

import pytest
from cassandra import AuthenticationFailed, InvalidRequest, Unauthorized
from cassandra.cluster import NoHostAvailable
from cassandra.protocol import ConfigurationException, UnauthorizedErrorMessage

from coordinator.model.settings import StateSettings
from coordinator.opscenter.errors import error_answer
from coordinator.store.cassandra.driver import mapped
from coordinator.store.cassandra.errors import (
    Refused,
    StateForbidden,
    StateLoginRefused,
    StateTablesGone,
    StateUntrusted,
    StoreRefused,
    Unanswered,
)
from coordinator.store.cassandra.patience import Patience
from coordinator.store.database import StoreFailed

SETTINGS = StateSettings(kind="cassandra", keyspace="our_state", username="helenus_state")
NO_RIGHT = "User helenus_state has no MODIFY permission on <table our_state.records> or any of its parents"
TLS = OSError(1, "Tried connecting to [('10.0.0.1', 9042)]. Last error: [SSL: CERTIFICATE_VERIFY_FAILED] failed")


def behind(error: Exception) -> NoHostAvailable:
    return NoHostAvailable("Unable to connect to any servers", {"10.0.0.1:9042": error})


@pytest.mark.parametrize(
    ("error", "told", "todo"),
    [
        (Unauthorized(NO_RIGHT), StateForbidden, "GRANT ALL ON KEYSPACE"),
        (UnauthorizedErrorMessage(0x2100, NO_RIGHT, None), StateForbidden, "GRANT ALL ON KEYSPACE"),
        (InvalidRequest("table records does not exist"), StateTablesGone, "restart every coordinator"),
        (InvalidRequest("Keyspace 'our_state' doesn't exist"), StateTablesGone, "restart every coordinator"),
        (InvalidRequest("unconfigured table meta"), StateTablesGone, "restart every coordinator"),
        (behind(AuthenticationFailed("Provided username x and/or password are incorrect")), StateLoginRefused, "role"),
        (behind(AuthenticationFailed("helenus_state is not permitted to log in")), StateLoginRefused, "LOGIN = true"),
        (behind(AuthenticationFailed("Remote end requires authentication")), StateLoginRefused, "[state] username"),
        (behind(TLS), StateUntrusted, "ca_file"),
        (InvalidRequest("Guardrail tables violated: 200 tables"), StoreRefused, "guardrails"),
        (ConfigurationException(0x2300, "Unrecognized strategy option {dc2}", None), StoreRefused, "[state]"),
    ],
)
async def test_each_refusal_says_what_of_which_keyspace_and_role_and_what_to_do(
    error: Exception, told: type[StoreRefused], todo: str
) -> None:
    """Promise: who reads it knows whether to grant a right, correct a login or a certificate, or look for who dropped
    the tables, and of which keyspace and role; nobody is sent to the coordinator's own disk."""

    async def refusing() -> None:
        raise mapped(error, SETTINGS)

    with pytest.raises(StoreFailed) as refused:
        await Patience(10.0).ask(refusing)
    failed = refused.value
    assert type(failed) is told
    assert (failed.code, failed.status) == ("store_refused", 500)
    assert todo in failed.todo
    assert "disk" not in failed.todo
    assert "keyspace our_state" in failed.message
    assert "role helenus_state" in failed.message
    assert str(failed.fields["reason"]) in failed.message
    assert (failed.fields["keyspace"], failed.fields["role"]) == ("our_state", "helenus_state")
    assert b"store_refused" in bytes(error_answer(failed).body)  # type: ignore[arg-type]


def test_one_without_a_role_is_told_as_such() -> None:
    """Promise: where the settings name no role, none is made up."""
    refused = mapped(behind(AuthenticationFailed("Remote end requires authentication")), StateSettings())
    assert isinstance(refused, Refused)
    assert refused.role == ""


def test_what_may_pass_is_no_refusal() -> None:
    """Promise: replicas that are down, or that ran into a time-out, are waited for."""
    from cassandra import OperationTimedOut, Unavailable

    for error in (Unavailable("Cannot achieve consistency level QUORUM"), OperationTimedOut(), behind(OSError("no"))):
        assert isinstance(mapped(error, SETTINGS), Unanswered)
