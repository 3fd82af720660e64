"""Requests that break the rules of HTTP or of JSON are a clear error in OpsCenter's form, and begin nothing."""

import pytest

from coordinator.store.sqlite import SqliteStore
from kit.http_server import HttpServer
from kit.http_settings import Access, HttpSettings
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory
from tests.fast.coordinator.conftest import Client, application
from tests.fast.coordinator.test_bad_input import RUN, in_form
from tests.fast.kit.unread import UNREAD, send


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"keyspaces": ["shop"], "keyspaces": []}', "keyspaces"),
        (b'{"keyspaces": {"shop": ["users"], "shop": ["orders"]}}', "shop"),
        (b'{"keyspaces": ["shop"], "keyspac\\u0065s": []}', "keyspaces"),
        (b'{"destinations": {"OPSC_ON_SERVER": {"throttle": 1, "throttle": 100}}}', "throttle"),
    ],
)
async def test_a_key_given_twice_is_refused_by_name(
    client: Client, cluster: ClusterInMemory, body: bytes, key: str
) -> None:
    """Which of two values counts is a reader's secret, so neither does: nothing is begun."""
    status, told = await client.ask("POST", RUN, data=body)
    assert (status, told["type"], told["code"], told["fields"]) == (
        400,
        "InvalidArguments",
        "repeated_key",
        {"field": key},
    )
    assert in_form(told)
    assert cluster.orders == []


async def test_what_is_no_http_is_answered_in_opscenters_form(store: SqliteStore, cluster: ClusterInMemory) -> None:
    """Also a path of 70,000 characters and a broken request line; what was sent is not repeated."""
    server = HttpServer(application(store, cluster), HttpSettings(host="127.0.77.2"), Access(None, None, False))
    await server.start()
    for what, request, status, code in UNREAD:
        got, kind, told = await send("127.0.77.2", server.port, request)
        assert (got, kind) == (status, "application/json"), what
        assert in_form(told), what
        assert (told["code"], "canary" in str(told)) == (code, False), what
    await server.stop()


async def test_a_body_that_is_not_what_its_headers_say_is_the_clients_fault(
    store: SqliteStore, cluster: ClusterInMemory
) -> None:
    """Wrong chunks and wrong compression are a 400, not a fault of the coordinator, and nothing is begun."""
    server = HttpServer(application(store, cluster), HttpSettings(host="127.0.77.2"), Access(None, None, False))
    await server.start()
    head = f"POST {RUN} HTTP/1.1\r\nHost: 127.0.77.2\r\n".encode()
    for rest, code in (
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nzz\r\n", "bad_request"),
        (b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde", "body_broken"),
    ):
        status, _, told = await send("127.0.77.2", server.port, head + rest)
        assert (status, in_form(told), told["code"]) == (400, True, code)
    await server.stop()
    assert cluster.orders == []
