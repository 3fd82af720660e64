"""Attack row A01 at the agent: no, wrong, foreign and misplaced tokens let nothing in and change nothing."""

from pathlib import Path

import pytest
import structlog

from tests.fast.commands.tiny_agent import everything, quick
from tests.fast.http.served import TOKEN, served

POST = {"id": "a", "kind": "delete", "arguments": {"tag": "t"}}
PUT = {"revision": 1, "settings": {"provider": "local", "path": "/b"}}


@pytest.mark.parametrize(
    ("shown", "query"),
    [
        ("", ""),
        ("Bearer wrong", ""),
        ("Bearer token-of-the-coordinator", ""),
        (f"Basic {TOKEN}", ""),
        (TOKEN, ""),
        ("", f"?token={TOKEN}"),
        ("", f"?access_token={TOKEN}"),
        (f"Bearer {TOKEN}", f"?token={TOKEN}"),
        (f"Bearer {TOKEN}", "?Token=x"),
    ],
)
async def test_a_wrong_token_is_a_401_and_changes_nothing(tmp_path: Path, shown: str, query: str) -> None:
    """Promise: only the agent's own token in its header lets an order in; one in a query is not read, and has the
    request refused even beside a right header; no answer repeats it."""
    async with served(tmp_path, everything(quick)) as agent:
        for method, path, body in (
            ("POST", "/v1/commands", POST),
            ("PUT", "/v1/destinations/d1", PUT),
            ("PATCH", "/v1/throttle", {"node_bytes_per_second": 5}),
            ("DELETE", "/v1/commands/a", None),
            ("GET", "/v1/node", None),
        ):
            answer = await agent.client.send(
                method, path + query, json=body, headers={"Authorization": shown}, undescribed=True
            )
            assert (answer.status, answer.code) == (401, "unauthorized")
            assert TOKEN not in str(answer.json)
        assert (await agent.client.get("/v1/commands")).json == []
        assert (await agent.client.get("/v1/destinations")).json == []
        assert (await agent.client.get("/v1/throttle")).json["node_bytes_per_second"] == 0


async def test_refusals_write_a_line_a_minute(tmp_path: Path) -> None:
    """Promise: who tries tokens all day is told of and fills no disk; the line holds no token."""
    async with served(tmp_path, everything(quick)) as agent:
        with structlog.testing.capture_logs() as lines:
            for number in range(30):
                headers = {"Authorization": f"Bearer canary-{number}"}
                assert (await agent.client.get("/v1/node", headers=headers, undescribed=True)).status == 401
        told = [line for line in lines if line["log_level"] == "warning"]
        assert [(line["code"], line["untold"]) for line in told] == [("unauthorized", 0)]
        assert "canary" not in str(lines)
