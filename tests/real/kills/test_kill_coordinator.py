"""kill -9 of the real coordinator over a real agent and node: its next life ends the same request with the same result,
and the agent did nothing twice. (Among several agents: tests/orchestrate/test_kill.py.)"""

from collections import Counter
from typing import Any

import aiohttp
import pytest

from tests.cluster.crash_site import TERMINAL_SECONDS, CrashSite

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def site(site_by_jolokia: CrashSite) -> CrashSite:
    return site_by_jolokia


BACKUP = [
    "posted snapshot",
    "before accepted snapshot",
    "before ended snapshot",
    "ended snapshot",
    "before accepted upload",
    "ended upload",
    "before finished",
]
SYNC = ["posted sync", "before accepted sync", "before ended sync", "ended sync", "before finished"]
DELETE = [
    "posted delete",
    "before accepted delete",
    "before ended delete",
    "ended delete",
    "posted sweep",
    "before accepted sweep",
    "before ended sweep",
    "ended sweep",
    "before finished",
]
RESTORE = [
    "before step verdict",
    "ended fetch",
    "step views_dropped",
    "step irrevocable",
    "before accepted truncate",
    "before step truncated",
    "step truncated",
    "before step schema_made",
    "step import_begun",
    "before accepted import",
    "before ended import",
    "before step views_made",
    "before finished",
]
PHASES = ["preflight", "fetch", "drop_views", "truncate", "schema", "import", "create_views", "check", "clean"]


async def done_since(site: CrashSite, before: set[str]) -> Counter[str]:
    """How often the agent was told what, beyond the commands named."""
    return Counter(one["kind"] for one in await site.commands() if one["id"] not in before)


async def lives(site: CrashSite, request: str, moments: list[str]) -> dict[str, Any]:
    """The armed coordinator dies, each next life moves in time and dies at the next moment, the last one ends the
    request in time; its status."""
    for moment in [*moments, ""]:
        assert await site.coordinator.died() == -9
        before = site.noted()
        if moment:
            site.coordinator.launch_mortal(moment)
        else:
            await site.coordinator.start()
        await site.coordinator_moving(before)
    return await site.succeeded(request, TERMINAL_SECONDS)


async def test_a_backup_outlives_its_coordinators_deaths(site: CrashSite, tag: str) -> None:
    """Before the fan-out, after the agent accepted, between the barriers, before the end: one snapshot, one upload."""
    before = {one["id"] for one in await site.commands()}
    await site.arm_coordinator(BACKUP[0])
    try:
        request = await site.start_backup()
    except aiohttp.ClientError:
        pytest.fail("the reply comes before anything is sent")
    await lives(site, request, BACKUP[1:])
    assert await done_since(site, before) == {"snapshot": 1, "upload": 1}
    await site.all_is_well(rows=False)


async def test_a_restore_outlives_its_coordinators_deaths(site: CrashSite, tag: str) -> None:
    """At every step that is noted: each phase was done once, the table was emptied once, every row is back."""
    await site.disaster()
    before = {one["id"] for one in await site.commands()}
    await site.arm_coordinator(RESTORE[0])
    request = await site.start_restore(tag)
    await lives(site, request, RESTORE[1:])
    assert await done_since(site, before) == dict.fromkeys(PHASES, 1)
    await site.all_is_well()


async def test_a_sync_outlives_its_coordinators_deaths(site: CrashSite) -> None:
    """Copied once, the kept backup stays, the copy is what its record says."""
    kept = await site.keep()
    before = {one["id"] for one in await site.commands()}
    await site.arm_coordinator(SYNC[0])
    status = await lives(site, await site.start_sync(kept), SYNC[1:])
    assert await done_since(site, before) == {"sync": 1}
    site.oracle.expect(kept, [part["host_id"] for part in status["details"]["subrequests"].values()])
    assert site.snapshots() == {kept}
    await site.succeeded(str(await site.ask("DELETE", f"/backups?tag={kept}")))
    await site.all_is_well(rows=False)


async def test_a_delete_outlives_its_coordinators_deaths(site: CrashSite, tag: str) -> None:
    """Between the mark and the sweep, too: one mark, one sweep, the backup is gone and the other is whole."""
    doomed = await site.backup()
    before = {one["id"] for one in await site.commands()}
    await site.arm_coordinator(DELETE[0])
    await lives(site, await site.start_delete(doomed), DELETE[1:])
    assert await done_since(site, before) == {"delete": 1, "sweep": 1}
    listed = await site.ask("GET", f"/backups?destination={site.place}")
    assert (doomed in listed, tag in listed) == (False, True)
    await site.all_is_well(rows=False)


@pytest.mark.parametrize("kind", ["backup", "restore", "delete"])
async def test_a_request_whose_reply_was_lost_is_carried_out_once(site: CrashSite, tag: str, kind: str) -> None:
    """Killed when the request is durable and not answered yet: the next life shows it and ends it."""
    doomed = await site.backup() if kind == "delete" else ""
    if kind == "restore":
        await site.disaster()
    before = {one["id"] for one in await site.commands()}
    await site.arm_coordinator("created")

    async def posting() -> str:
        match kind:
            case "backup":
                return await site.start_backup()
            case "restore":
                return await site.start_restore(tag)
            case _:
                return await site.start_delete(doomed)

    request = await site.lost_reply(posting, kind)
    await site.succeeded(request, TERMINAL_SECONDS)
    expected = {"backup": {"snapshot": 1, "upload": 1}, "delete": {"delete": 1, "sweep": 1}}
    assert await done_since(site, before) == expected.get(kind, dict.fromkeys(PHASES, 1))
    await site.all_is_well(rows=kind != "backup")


@pytest.mark.parametrize("kind", ["backup", "delete"])
async def test_a_request_that_was_never_made_durable_leaves_nothing(site: CrashSite, tag: str, kind: str) -> None:
    """Killed just before: nothing was told to the agent, and the same request is taken afterwards."""
    before = {one["id"] for one in await site.commands()}
    await site.arm_coordinator("before created")
    delete = f"/backups?tag={tag}&destination={site.place}"
    with pytest.raises(aiohttp.ClientError):
        await (site.start_backup() if kind == "backup" else site.ask("DELETE", delete))
    assert await site.coordinator.died() == -9
    await site.coordinator.start()
    assert await done_since(site, before) == {}
    assert tag in await site.ask("GET", f"/backups?destination={site.place}")
    await site.backup()


async def test_agent_and_coordinator_dead_at_once_both_go_on(site: CrashSite, tag: str) -> None:
    """Both killed in the import, and started again: the same request ends in success, every row is back."""
    await site.disaster()
    await site.arm_agent("import:importing")
    request = await site.start_restore(tag)
    assert await site.agent.died() == -9
    await site.coordinator.kill()
    noted = site.noted()
    await site.agent.start()
    last = await site.sequence()
    await site.coordinator.start()
    await site.coordinator_moving(noted)
    await site.moving(request, last)
    await site.succeeded(request, TERMINAL_SECONDS)
    await site.all_is_well()
