"""What real tests rely on when they say that every exchange with an agent is as openapi.yaml describes it."""

import asyncio
import stat
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.cluster.described import check
from tests.cluster.exchanges import Recorder
from tests.cluster.validated_client import NotAsDescribed

HEALTHY = {"status": "ok", "code": None}


async def said(path: Path, answer: web.Response, target: str, method: str = "GET", body: object = None) -> None:
    """One exchange with an application that answers that to everything."""

    async def handler(request: web.Request) -> web.Response:
        return answer

    app = web.Application()
    Recorder(path).record(app)
    app.router.add_route("*", "/{anything:.*}", handler)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as session,
        session.request(method, server.make_url(target), json=body) as response,
    ):
        await response.read()


async def test_an_exchange_that_is_described_is_counted_and_forgotten(tmp_path: Path) -> None:
    """Promise: nothing is checked twice, and what the agent said to whom stays private."""
    path = tmp_path / "exchanges"
    assert check(path) == 0
    for _ in range(3):
        await said(path, web.json_response(HEALTHY), "/health")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await asyncio.to_thread(check, path) == 3
    assert check(path) == 0


@pytest.mark.parametrize(
    ("answer", "target", "method", "body"),
    [
        ({"status": "splendid"}, "/health", "GET", None),
        ({"id": 5}, "/v1/commands/some", "GET", None),
        ({"node_bytes_per_second": 0, "destinations": {}}, "/v1/throttle", "PATCH", {"nobody_knows": 1}),
        ([], "/v1/nowhere", "GET", None),
    ],
)
async def test_what_is_not_described_is_an_error(
    tmp_path: Path, answer: object, target: str, method: str, body: object
) -> None:
    """Promise: a wrong answer, and a request that the description doesn't know but the agent took, fail the test."""
    path = tmp_path / "exchanges"
    await said(path, web.json_response(answer), target, method, body)
    with pytest.raises(NotAsDescribed):
        check(path)


async def test_of_what_was_refused_only_the_answer_must_be_right(tmp_path: Path) -> None:
    """Promise: tests may send what is wrong on purpose."""
    path = tmp_path / "exchanges"
    error = {"code": "invalid_input", "message": "no", "todo": "do", "retry": "never", "fields": {}}
    await said(path, web.json_response(error, status=400), "/v1/throttle", "PATCH", {"nobody_knows": 1})
    assert check(path) == 1
    await said(path, web.json_response({"oh": "no"}, status=400), "/v1/throttle", "PATCH", {"nobody_knows": 1})
    with pytest.raises(NotAsDescribed):
        check(path)


async def test_a_line_that_a_death_cut_spoils_no_other(tmp_path: Path) -> None:
    """Promise: a killed agent's record is read all the same."""
    path = tmp_path / "exchanges"
    path.write_bytes(b'\n{"method": "GET", "pa')
    await said(path, web.json_response(HEALTHY), "/health")
    assert check(path) == 1
