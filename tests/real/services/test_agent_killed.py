"""kill -9 of the agent inside the command that no coordinator's request uses: backup, snapshot and copy in one. The
next start ends the same command in success, the repository is whole."""

import contextlib

import aiohttp
import pytest

from tests.cluster.moments import COMMAND
from tests.real.services.conftest import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_command_outlives_its_agents_deaths(site: Site) -> None:
    """I1–I5, I7, I8 hold after a real SIGKILL at each of its stages and the restarts."""
    target = await site.destination("killed")
    first = await site.backup(target, "killed-first")
    await site.agent.stop()
    await site.agent.start_mortal(COMMAND[0])
    with contextlib.suppress(aiohttp.ClientError):  # an early death takes the answer with it
        await site.agent.command("backup", site.backup_arguments(target, "killed-second"), id="killed-command")
    for moment in (*COMMAND[1:], ""):
        assert await site.agent.died() == -9
        if moment:
            site.agent.launch_mortal(moment)
    await site.agent.start()
    view = await site.agent.ended("killed-command")
    assert view["state"] == "success", view["error"]

    backups = site.oracles["killed"].check()
    assert {tag for tag, _ in backups} == {"killed-first", "killed-second"}
    result = view["result"]["targets"]["killed"]
    assert result["files"] == first["files"]  # bytes differ: only an expiring snapshot's manifest.json says when
    assert site.snapshots() == set()
    again = await site.backup(target, "killed-third")
    assert again["put_bytes"] < first["put_bytes"] / 10  # all but the snapshot's own manifest.json is there
    site.oracles["killed"].check()


async def test_a_command_that_was_never_accepted_is_unknown_after_the_restart(site: Site) -> None:
    """I7: what was answered was accepted; what was not may be sent again."""
    target = await site.destination("unaccepted")
    await site.agent.stop()
    await site.agent.start_mortal("backup:accepted:before")
    with pytest.raises(aiohttp.ClientError):
        await site.agent.command("backup", site.backup_arguments(target, "unaccepted"), id="unaccepted")
    assert await site.agent.died() == -9
    await site.agent.start()
    status, error = await site.agent.call("GET", "/v1/commands/unaccepted")
    assert (status, error["code"]) == (404, "unknown_command")
    await site.agent.do("backup", site.backup_arguments(target, "unaccepted"), id="unaccepted")
    site.oracles["unaccepted"].check()
