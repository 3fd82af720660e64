"""What grows with the cluster is taken by the agent for the largest clusters, and nothing else gets larger by it."""

import io
from pathlib import Path

import msgspec

from agent.http.backups import MAX_PLAN_BYTES
from coordinator.fleet.client import AgentClient, open_session
from kit.secret import Secret
from tests.cluster.large_cluster import TAG, LargeCluster
from tests.fast.commands.tiny_agent import everything, quick
from tests.fast.http.served import TOKEN, Served, served

AGENTS_OWN = 4_000_000
"""`max_body_bytes` as conf/agent.toml has it."""


async def test_plan_and_record_of_a_thousand_nodes_with_256_tokens_are_taken(tmp_path: Path) -> None:
    """Larger than any other body may be, less than half of what these routes take, and the same plan afterwards. By the
    coordinator's own client: the description's validator takes minutes over 256,000 tokens."""
    cluster = LargeCluster(1_000, 256)
    plan, record = cluster.plan(), cluster.record()
    assert AGENTS_OWN < len(msgspec.json.encode(plan)) < MAX_PLAN_BYTES / 2
    assert len(msgspec.json.encode(record)) < MAX_PLAN_BYTES / 2
    async with (
        served(tmp_path, everything(quick), max_body_bytes=AGENTS_OWN) as agent,
        open_session(Secret(TOKEN)) as session,
    ):
        client = AgentClient(session, agent.client.url)
        await client.put_plan(TAG, None, plan)
        await client.put_record(TAG, None, record)
        view = await client.backup(TAG, None)
    assert (view.plan, view.record) == (plan, record)


async def refusal(agent: Served, method: str, path: str, body: bytes) -> tuple[int, str]:
    """Status and code of what is refused."""
    headers = {"Content-Type": "application/json"}
    data = io.BytesIO(body)
    async with agent.client.session.request(method, agent.client.url + path, data=data, headers=headers) as answer:
        return answer.status, (await answer.json())["code"]


async def test_the_larger_limit_is_a_limit_and_of_these_routes_only(tmp_path: Path) -> None:
    """A plan over it is 413, and so is any other body over the agent's own limit."""
    async with served(tmp_path, everything(quick), max_body_bytes=100_000) as agent:
        over = b'{"tag": "' + b"x" * MAX_PLAN_BYTES + b'"}'
        for path in (f"/v1/backups/{TAG}/plan", f"/v1/backups/{TAG}/record"):
            assert await refusal(agent, "PUT", path, over) == (413, "body_too_large")
        other = b'{"id": "' + b"x" * 100_000 + b'"}'
        for method, path in (("POST", "/v1/commands"), ("PUT", "/v1/destinations/plan"), ("PATCH", "/v1/throttle")):
            assert await refusal(agent, method, path, other) == (413, "body_too_large")
