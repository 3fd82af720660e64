"""What tests rely on when they say that every exchange with a coordinator is as its openapi.yaml describes it."""

import msgspec
import pytest

from tests.cluster.coordinator_exchanges import as_described
from tests.cluster.exchanges import Exchange
from tests.cluster.validated_client import NotAsDescribed

TAG = "opscenter_adhoc_2017-03-17-15-06-09-UTC"
RUN, LIST, ONE = "/{cluster}/backups/run", "/{cluster}/backups", "/request/{request}/status"
RECORD = {"id": "adhoc", "keyspaces": {}, "time": 1, "status": "success"}
ERROR = {"brief": "error", "message": "no", "type": "Conflict", "code": "backup_in_use", "todo": "wait", "fields": {}}


def exchange(method: str, pattern: str, status: int, answer: object, body: object = None, query: str = "") -> Exchange:
    path = pattern.format(cluster="c", request="r") + query
    sent = b"" if body is None else msgspec.json.encode(body)
    form = "application/x-www-form-urlencoded"
    return Exchange(method, path, True, form, sent, status, "application/json", msgspec.json.encode(answer), pattern)


@pytest.mark.parametrize(
    "said",
    [
        exchange("POST", RUN, 200, "id", {"keyspaces": ["shop"]}),
        exchange("POST", f"{RUN}/", 200, "id", {"keyspaces": {"shop": {"column_families": "a"}}, "throttle": "1.5"}),
        exchange("POST", RUN, 400, {**ERROR, "code": "unknown_keyspace"}, {"nobody knows": 1}),
        exchange("GET", LIST, 200, {TAG: RECORD}, query="?amount=2&list_all=&of-no-interest=1"),
        exchange("HEAD", LIST, 200, {}),
        exchange("DELETE", LIST, 200, "id", query=f"?tag={TAG}&remove-destination=Delete%20it"),
        exchange("PUT", "", 405, {**ERROR, "code": "method_not_allowed"}),
        exchange("DELETE", LIST, 409, ERROR),
    ],
)
def test_what_is_described_passes(said: Exchange) -> None:
    """Promise: whatever the Content-Type, the spelling and the slash; of what was refused the answer counts."""
    as_described(said)


@pytest.mark.parametrize(
    "said",
    [
        exchange("POST", RUN, 200, "id", {"keyspaces": 5}),
        exchange("POST", RUN, 200, "id", {"nobody_knows": 1}),
        exchange("POST", RUN, 201, "id"),
        exchange("POST", RUN, 200, {"id": "id"}),
        exchange("GET", LIST, 200, {TAG: {**RECORD, "colour": "red"}}),
        exchange("GET", LIST, 200, {TAG: {"id": "adhoc"}}),
        exchange("GET", LIST, 200, {}, query="?amount=many"),
        exchange("GET", LIST, 200, {}, query="?destination="),
        exchange("DELETE", LIST, 409, {**ERROR, "code": "of_nobody"}),
        exchange("DELETE", LIST, 409, {**ERROR, "colour": "red"}),
        exchange("DELETE", LIST, 200, "id", query="?tag=%2E%2E"),
        exchange("GET", ONE, 500, {"oh": "no"}),
        exchange("PUT", "", 405, {"oh": "no"}),
        exchange("PUT", "", 200, {}),
    ],
)
def test_what_is_not_described_is_an_error(said: Exchange) -> None:
    """Promise: an order taken, a status, a field or a code that the description doesn't know fails the test."""
    with pytest.raises(NotAsDescribed):
        as_described(said)
