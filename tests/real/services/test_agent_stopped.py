"""SIGTERM to the agent in the midst of an upload, as a service manager sends it."""

import pytest

from tests.real.services.conftest import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_agent_that_is_stopped_in_an_upload_ends_in_order_and_goes_on(site: Site) -> None:
    """I1–I5, I7: it ends with 0 long before a service manager would lose its patience, and the next start finishes the
    command, without putting again what was there."""
    target = await site.destination("stopped")
    limited = {**target, "throttle_bytes_per_second": 5_000}
    await site.agent.command(
        "backup", {"snapshot": {"tag": "stopped", "keyspaces": {site.keyspace: []}}, "targets": [limited]}, id="stopped"
    )
    data = site.agent.local_root / "stopped"

    async def storing() -> bool:
        return any(data.rglob("data/*/*"))

    await site.agent.child.until("storing", storing, 60)
    _, view = await site.agent.call("GET", "/v1/commands/stopped")
    assert view["state"] == "running", view
    there = {path: path.stat().st_ino for path in data.rglob("data/*/*")}
    child = site.agent.child
    await site.agent.stop()
    assert await child.ended(30) == 0
    assert not list(data.rglob("*.manifest"))
    await site.agent.start()
    await site.agent.ask("PATCH", "/v1/throttle", {"node_bytes_per_second": 0})
    view = await site.agent.ended("stopped")
    assert view["state"] == "success", view["error"]
    assert {path: path.stat().st_ino for path in there} == there
    assert {tag for tag, _ in site.oracles["stopped"].check(idle=True)} == {"stopped"}
    assert site.snapshots() == set()
