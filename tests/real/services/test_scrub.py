"""Scrub of a real agent: killed at each stage it ends in success; what it finds is named, and healed."""

import contextlib

import aiohttp
import pytest

from tests.cluster.moments import SCRUB
from tests.real.services.conftest import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_scrub_outlives_its_agents_deaths(site: Site) -> None:
    """Promise: after a SIGKILL at each stage the same command ends in success, and every object was read."""
    target = await site.destination("scrubbed")
    await site.backup(target, "scrubbed-first")
    await site.agent.stop()
    await site.agent.start_mortal(SCRUB[0])
    with contextlib.suppress(aiohttp.ClientError):  # an early death takes the answer with it
        await site.agent.command("scrub", {"target": target, "whole": True}, id="killed-scrub")
    for moment in (*SCRUB[1:], ""):
        assert await site.agent.died() == -9
        if moment:
            site.agent.launch_mortal(moment)
    await site.agent.start()
    view = await site.agent.ended("killed-scrub")
    assert view["state"] == "success", view["error"]
    assert view["result"]["slices"] == 256
    site.oracles["scrubbed"].check()


async def test_damage_is_named_and_the_next_backup_heals_it(site: Site) -> None:
    """Promise: a flipped byte on the disk of a destination is named by table and file; after the next backup the
    repository is whole."""
    target = await site.destination("flipped")
    await site.backup(target, "flipped-first")
    largest = max((site.agent.local_root / "flipped").rglob("data/*/*"), key=lambda path: path.stat().st_size)
    body = bytearray(largest.read_bytes())
    body[len(body) // 2] ^= 1
    largest.write_bytes(body)
    await site.agent.command("scrub", {"target": target, "whole": True}, id="finds")
    view = await site.agent.ended("finds")
    assert (view["state"], view["error"]["code"]) == ("partial", "repository_damaged")
    assert {one["tag"] for one in view["result"]["places"]} == {"flipped-first"}
    assert all(one["keyspace"] and one["table"] and one["file"] for one in view["result"]["places"])
    await site.backup(target, "flipped-second")
    site.oracles["flipped"].check()
    await site.agent.command("scrub", {"target": target, "whole": True}, id="finds-nothing")
    view = await site.agent.ended("finds-nothing")
    assert view["state"] == "success", view["error"]
