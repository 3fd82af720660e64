"""Commands over HTTP, every exchange checked against the description."""

import asyncio
from pathlib import Path

from agent.model.job import JobContext, Outcome
from agent.wire.commands import Kind
from agent.wire.results import FreedResult
from tests.fast.commands.tiny_agent import Gate, backup, delete, everything, quick, restore, snapshot
from tests.fast.http.served import served


async def test_a_command_is_accepted_runs_and_is_the_same_when_posted_again(tmp_path: Path) -> None:
    """202 while it has not ended, 200 afterwards, 409 for other arguments under its id."""

    async def job(context: JobContext) -> Outcome:
        context.tally.expect("there", "shop", "orders", 2, 20)
        await context.stages.enter("work")
        context.tally.done("there", "shop", "orders", 2, 20)
        return Outcome(FreedResult(tags=["x"]))

    async with served(tmp_path, everything(job)) as agent:
        post = {"id": "a", "kind": "delete", "arguments": delete(), "job": "j", "phase": "p", "fence": 2}
        answer = await agent.client.post("/v1/commands", post)
        assert answer.status == 202
        view = await agent.until("a")
        assert (view["state"], view["stage"], view["result"]["tags"]) == ("success", "work", ["x"])
        assert view["progress"]["there"]["shop"]["orders"]["done_files"] == 2
        again = await agent.client.post("/v1/commands", post)
        assert (again.status, again.json) == (200, view)
        differs = await agent.client.post("/v1/commands", {**post, "arguments": delete("t2")})
        assert (differs.status, differs.code) == (409, "command_differs")
        low = await agent.client.post("/v1/commands", {**post, "id": "b", "fence": 1})
        assert (low.status, low.code) == (409, "fence_too_low")
        metrics = await agent.client.get("/metrics")
        assert b'helenus_agent_commands_total{kind="delete",state="success"} 1.0' in metrics.body


async def test_fifty_posts_at_once_over_fifty_connections_are_one_run(tmp_path: Path) -> None:
    """F30 of the fault matrix: a command that is sent twice is done once."""
    gate = Gate()
    gate.open.set()
    async with served(tmp_path, everything(gate)) as agent:
        views = await asyncio.gather(*(agent.post("a", Kind.SNAPSHOT, snapshot()) for _ in range(50)))
        await agent.until("a")
    assert {view["id"] for view in views} == {"a"}
    assert gate.begun == ["a"]


async def test_commands_are_listed_by_job_and_state(tmp_path: Path) -> None:
    """The newest first, at most as many as asked for."""
    gate = Gate()
    async with served(tmp_path, everything(gate)) as agent:
        await agent.post("a", Kind.FETCH, restore(), job="j1")
        await agent.post("b", Kind.CHECK, restore(), job="j1")
        await agent.post("c", Kind.CHECK, restore("t2"), job="j2")
        await agent.until("a", "running")

        async def listed(query: str) -> list[str]:
            return [view["id"] for view in (await agent.client.get(f"/v1/commands{query}")).json]

        assert await listed("") == ["c", "b", "a"]
        assert await listed("?job=j1") == ["b", "a"]
        assert await listed("?state=queued&state=success") == ["c", "b"]
        assert await listed("?limit=1") == ["c"]
        for query, field in (("?state=odd", "state"), ("?limit=x", "limit"), ("?limit=5000", "limit")):
            refused = await agent.client.get(f"/v1/commands{query}", wrong=True)
            assert (refused.status, refused.code, refused.json["fields"]["field"]) == (400, "invalid_input", field)
        gate.open.set()


async def test_cancel_over_http(tmp_path: Path) -> None:
    """DELETE undoes a repeatable command, refuses a fenced one that runs, and forgives what has ended."""
    gate = Gate()
    async with served(tmp_path, everything(gate)) as agent:
        await agent.post("a", Kind.BACKUP, backup())
        await agent.until("a", "running")
        cancelled = await agent.client.delete("/v1/commands/a")
        assert (cancelled.status, cancelled.json["state"]) == (200, "cancelled")
        assert gate.undone == [True]
        gate.inside.clear()
        await agent.post("f", Kind.TRUNCATE, restore(), job="j1")
        await gate.inside.wait()
        refused = await agent.client.delete("/v1/commands/f?force=false")
        assert (refused.status, refused.code) == (409, "past_the_point_of_return")
        gate.open.set()
        assert (await agent.client.delete("/v1/commands/f?force=true")).json["state"] == "success"
        assert (await agent.client.delete("/v1/commands/f")).status == 200
        odd = await agent.client.delete("/v1/commands/f?force=yes", wrong=True)
        assert odd.code == "invalid_input"
        missing = await agent.client.delete("/v1/commands/nobody")
        assert (missing.status, missing.code) == (404, "unknown_command")


async def test_another_coordinator_may_be_named_only_from_the_configuration(tmp_path: Path) -> None:
    """`report_to` is a name, never an address."""
    async with served(tmp_path, everything(quick)) as agent:
        await agent.post("a", Kind.DELETE, delete())
        patched = await agent.client.patch("/v1/commands/a", {"report_to": "main"})
        assert patched.json["report_to"] == "main"
        assert (await agent.client.get("/v1/commands/a")).json["report_to"] == "main"
        stranger = await agent.client.patch("/v1/commands/a", {"report_to": "stranger"})
        assert (stranger.status, stranger.code) == (400, "unknown_coordinator")
        address = await agent.client.patch("/v1/commands/a", {"report_to": "http://10.0.0.1/"}, wrong=True)
        assert address.code == "invalid_name"


async def test_a_restarted_agent_answers_for_what_was_accepted_before(tmp_path: Path) -> None:
    """Commands outlive the process, over HTTP as well."""
    gate = Gate()
    async with served(tmp_path, everything(gate)) as agent:
        await agent.post("a", Kind.SYNC, {"tag": "t", "targets": backup()["targets"]})
        await agent.until("a", "running")
        last = (await agent.client.get("/v1/node")).json["events"]
    gate.open.set()
    async with served(tmp_path, everything(gate), instance="instance2") as agent:
        view = await agent.until("a")
        assert (view["state"], view["instance"]) == ("success", "instance2")
        events = (await agent.client.get(f"/v1/events?after={last}")).json
        assert [event["state"] for event in events] == ["queued", "running", "success"]
    assert gate.begun == ["a", "a"]
