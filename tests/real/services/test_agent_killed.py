"""kill -9 of the agent inside commands of its own protocol that no coordinator's request uses (backup in one command,
sync without a coordinator): the next start ends the same command in success, the repository is whole after each."""

import contextlib

import aiohttp
import pytest

from tests.real.services.conftest import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOMENTS = ["backup:snapshot", "backup:taken", "backup:storing", "backup:published", "backup:clearing", "sync:storing"]


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_command_ends_in_success_after_the_agent_died_at(site: Site, moment: str) -> None:
    """I1–I5, I7, I8 hold after a real SIGKILL at that moment and the restart."""
    kind = moment.partition(":")[0]
    name = moment.replace(":", "-")
    target = await site.destination(name)
    first = await site.backup(target, f"{name}-first")
    arguments: dict[str, object] = site.backup_arguments(target, f"{name}-second")
    if kind == "sync":
        await site.agent.do("snapshot", {"tag": f"{name}-second", "keyspaces": {site.keyspace: []}, "keep": True})
        arguments = {"tag": f"{name}-second", "targets": [target]}

    await site.agent.stop()
    await site.agent.start_mortal(moment)
    with contextlib.suppress(aiohttp.ClientError):  # an early death takes the answer with it
        await site.agent.command(kind, arguments, id=f"{name}-command")
    assert await site.agent.died() == -9
    await site.agent.start()
    view = await site.agent.ended(f"{name}-command")
    assert view["state"] == "success", view["error"]

    backups = site.oracles[name].check()
    assert {tag for tag, _ in backups} == {f"{name}-first", f"{name}-second"}
    result = view["result"]["targets"][name]
    assert result["files"] == first["files"]  # bytes differ: only an expiring snapshot's manifest.json says when
    if kind == "sync":
        assert site.snapshots() == {f"{name}-second"}
        await site.agent.do("delete", {"tag": f"{name}-second"})
    assert site.snapshots() == set()
    again = await site.backup(target, f"{name}-third")
    assert again["put_bytes"] < first["put_bytes"] / 10  # all but the snapshot's own manifest.json is there
    site.oracles[name].check()


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
