"""kill -9 of the agent under requests of a real coordinator, each time exactly when its journal shows the stage; and of
nodetool below it. The same request ends in the right state, once, and all that it promised is so."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.cluster.crash_site import TERMINAL_SECONDS, CrashSite
from tests.cluster.scratch import ScratchCluster
from tests.cluster.victims import signal_nodetool

pytestmark = pytest.mark.asyncio(loop_scope="module")

BACKUP = {
    "snapshot": ["snapshot:accepted", "snapshot:snapshot", "snapshot:listing", "snapshot:success:before"],
    "upload": [
        "snapshot:success",
        "upload:running",
        "upload:opening",
        "upload:storing",
        "upload:publishing",
        "upload:published",
        "upload:clearing",
        "upload:success:before",
    ],
}
RESTORE = {
    "preflight": ["preflight:accepted", "preflight:reading the backup", "preflight:success:before"],
    "fetch": ["fetch:running", "fetch:fetching", "fetch:success:before"],
    "drop_views": ["drop_views:dropping {ks}.stock_by_state", "drop_views:success:before"],
    "truncate": [
        "truncate:truncating {ks}.orders:before",
        "truncate:truncating {ks}.stock",
        "truncate:success:before",
    ],
    "schema": ["schema:reading the backup", "schema:making table {ks}.visits", "schema:success:before"],
    "import": ["import:importing", "import:importing {ks}.stock, batch 2", "import:success:before"],
    "create_views": [
        "create_views:making view {ks}.stock_by_state",
        "create_views:waiting for the views to be built",
        "create_views:success:before",
    ],
    "check and clean": ["check:checking", "check:success:before", "clean:cleaning", "clean:success:before"],
}
DELETE = {
    "delete": ["delete:running", "delete:marking", "delete:success:before"],
    "sweep": [
        "sweep:accepted",
        "sweep:looking",
        "sweep:marking",
        "sweep:waiting",
        "sweep:deleting",
        "sweep:success:before",
    ],
}
ONCE = ("truncate", "schema", "drop_views", "import")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(one_node_50: ScratchCluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CrashSite]:
    async with CrashSite(tmp_path_factory.mktemp("kill-agent"), one_node_50) as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tag(site: CrashSite) -> str:
    """A backup of the rows as they were written."""
    return await site.backup()


async def live_through(site: CrashSite, request: str, moments: list[str]) -> dict[str, Any]:
    """The armed agent dies at each moment; after the last restart all moves, and ends, in time."""
    await site.die(moments)
    last = await site.sequence()
    await site.moving(request, last)
    return await site.succeeded(request, TERMINAL_SECONDS)


def named(site: CrashSite, moments: list[str]) -> list[str]:
    return [moment.replace("{ks}", site.keyspace) for moment in moments]


@pytest.mark.parametrize("phase", BACKUP)
async def test_a_backup_outlives_its_agents_deaths_in(site: CrashSite, tag: str, phase: str) -> None:
    """Each stage once: the same request succeeds, the oracle reads every byte, no snapshot is left, and the next backup
    reuses all but what names the snapshot itself."""
    first, *others = named(site, BACKUP[phase])
    await site.arm_agent(first)
    request = await site.start_backup()
    status = await live_through(site, request, others)
    site.oracle.expect(str(status["tag"]), [part["host_id"] for part in status["details"]["subrequests"].values()])
    await site.all_is_well(rows=False)
    await site.backup()
    upload = (await site.commands(kind="upload"))[-1]
    (target,) = upload["result"]["targets"].values()
    assert target["put_bytes"] < target["bytes"] / 10, target
    site.oracle.check()


@pytest.mark.parametrize("phase", RESTORE)
async def test_a_restore_outlives_its_agents_deaths_in(site: CrashSite, tag: str, phase: str) -> None:
    """Each stage of each phase once: the same request succeeds, every row is as it was written, staging is gone, and
    only attempts that were interrupted are done again."""
    await site.disaster()
    first, *others = named(site, RESTORE[phase])
    await site.arm_agent(first)
    request = await site.start_restore(tag)
    await live_through(site, request, others)
    await site.all_is_well()
    commands = await site.commands(job=request)
    for kind in ONCE:
        states = [one["state"] for one in commands if one["kind"] == kind]
        assert states[-1] == "success", (kind, states)
        assert set(states[:-1]) <= {"interrupted"}, (kind, states)
    assert all(one["state"] == "success" for one in commands if one["kind"] not in (*ONCE, "create_views"))


@pytest.mark.parametrize("phase", DELETE)
async def test_a_delete_outlives_its_agents_deaths_in(site: CrashSite, tag: str, phase: str) -> None:
    """The mark and the sweep: the backup is gone, the others are whole."""
    doomed = await site.backup()
    first, *others = named(site, DELETE[phase])
    await site.arm_agent(first)
    request = await site.start_delete(doomed)
    await live_through(site, request, others)
    await site.all_is_well(rows=False)
    listed = await site.ask("GET", f"/backups?destination={site.place}")
    assert doomed not in listed
    assert tag in listed


async def test_an_on_server_backup_outlives_its_agents_deaths(site: CrashSite) -> None:
    """Killed while it is taken and while it is deleted: it is listed, then it is gone with its snapshot."""
    await site.arm_agent("snapshot:listing")
    request = str(await site.ask("POST", "/backups/run", {"keyspaces": [site.keyspace]}))
    status = await live_through(site, request, ["snapshot:success:before"])
    kept = str(status["tag"])
    assert site.snapshots() == {kept}
    assert kept in await site.ask("GET", "/backups")
    await site.arm_agent("delete:clearing")
    request = str(await site.ask("DELETE", f"/backups?tag={kept}"))
    await live_through(site, request, ["delete:success:before"])
    assert kept not in await site.ask("GET", "/backups")
    await site.all_is_well(rows=False)


async def test_what_was_put_before_the_death_is_not_put_again(site: CrashSite) -> None:
    """Killed in the midst of storing: finished objects stay as they are, and no byte of them is written twice."""
    bulk = f"{site.data.prefix}_single"
    names = [f"bulk{number}" for number in range(8)]

    def write() -> None:
        for name in names:
            site.session.execute(f"CREATE TABLE {bulk}.{name} (id int PRIMARY KEY, bytes blob)")
            insert = site.session.prepare(f"INSERT INTO {bulk}.{name} (id, bytes) VALUES (?, ?)")
            for number in range(30):
                site.session.execute(insert, (number, random_bytes(f"{name}/{number}", 50_000)))

    await asyncio.to_thread(write)
    before = site.objects()
    body = {"keyspaces": [bulk], "destinations": {site.place: {}}, "throttle": 3}
    request = str(await site.ask("POST", "/backups/run", body))
    async with asyncio.timeout(120):
        while len([path for path in site.objects() if path not in before]) < 3:  # noqa: ASYNC110  # files set no event
            await asyncio.sleep(0.01)
    await site.agent.kill()
    dead = {path: known for path, known in site.objects().items() if path not in before}
    assert sum(size for _, _, size in dead.values()) < 11_000_000, "everything was stored before the death"
    await site.agent.start()
    last = await site.sequence()
    await site.moving(request, last)
    await site.succeeded(request, TERMINAL_SECONDS)
    after = {path: known for path, known in site.objects().items() if path not in before}
    assert {path: after.get(path) for path in dead} == dead
    upload = (await site.commands(kind="upload"))[-1]
    (target,) = upload["result"]["targets"].values()
    put = target["put_bytes"] + sum(size for _, _, size in dead.values())
    assert put == sum(size for _, _, size in after.values())
    await site.all_is_well(rows=False)


async def test_nodetool_killed_in_a_snapshot_fails_the_backup_and_leaves_none(site: CrashSite) -> None:
    """The request ends in error with the reason, no snapshot stays, the next backup is whole."""
    request = await site.start_backup()
    await signal_nodetool(site.node, "snapshot", signal.SIGKILL)
    status = await site.follow(request)
    assert status["state"] == "error"
    assert "nodetool_killed" in str(status["details"])
    assert site.snapshots() == set()
    await site.backup()
    await site.all_is_well(rows=False)


async def test_nodetool_killed_in_a_clear_leaves_a_debt_that_the_next_backup_pays(site: CrashSite) -> None:
    """The backup is a success, for its manifest is there; its snapshot is owed, and goes with the next one's."""
    request = await site.start_backup()
    await signal_nodetool(site.node, "clearsnapshot", signal.SIGKILL)
    status = await site.succeeded(request)
    assert site.snapshots() <= {str(status["tag"])}
    await site.backup()
    await site.all_is_well(rows=False)


async def test_nodetool_killed_in_an_import_is_started_again(site: CrashSite, tag: str) -> None:
    """A batch whose nodetool died is made again from held/; counters are not counted twice."""
    await site.disaster()
    request = await site.start_restore(tag)
    await signal_nodetool(site.node, "import", signal.SIGKILL)
    await site.succeeded(request)
    await site.all_is_well()


@pytest.mark.parametrize("verb", ["snapshot", "clearsnapshot"])
async def test_an_agent_killed_while_nodetool_works_on_its_snapshot_goes_on(site: CrashSite, verb: str) -> None:
    """The dead agent's nodetool ends what it was told; the next life finds that, and no snapshot is left."""
    request = await site.start_backup()
    await signal_nodetool(site.node, verb, signal.SIGCONT)
    await site.agent.child.kill(group=False)
    await site.agent.start()
    last = await site.sequence()
    await site.moving(request, last)
    await site.succeeded(request, TERMINAL_SECONDS)
    await site.all_is_well(rows=False)


async def test_an_agent_killed_while_nodetool_imports_goes_on(site: CrashSite, tag: str) -> None:
    """The nodetool of the dead agent may still import what it was given: every row and counter is right all the same,
    and nothing is left in staging."""
    await site.disaster()
    request = await site.start_restore(tag)
    await signal_nodetool(site.node, "import", signal.SIGCONT)
    await site.agent.child.kill(group=False)
    await site.agent.start()
    last = await site.sequence()
    await site.moving(request, last)
    await site.succeeded(request, TERMINAL_SECONDS)
    await site.all_is_well()


async def test_an_agent_and_its_nodetool_killed_in_an_import_go_on(site: CrashSite, tag: str) -> None:
    """As a service manager does it: the batch that was linked and never imported stands in nobody's way."""
    await site.disaster()
    request = await site.start_restore(tag)
    await signal_nodetool(site.node, "import", signal.SIGSTOP)
    await site.agent.child.kill(group=False)
    await signal_nodetool(site.node, "import", signal.SIGKILL)
    await site.agent.start()
    last = await site.sequence()
    await site.moving(request, last)
    await site.succeeded(request, TERMINAL_SECONDS)
    await site.all_is_well()


async def test_a_hanging_nodetool_is_ended_at_its_deadline(site: CrashSite, tag: str) -> None:
    """In a snapshot the backup ends in error with the reason and no snapshot; in an import the batch is made again."""
    request = await site.start_backup()
    hanging = await signal_nodetool(site.node, "snapshot", signal.SIGSTOP)
    status = await site.follow(request)
    assert status["state"] == "error"
    assert "nodetool_timeout" in str(status["details"])
    assert site.snapshots() == set()
    await site.disaster()
    request = await site.start_restore(tag)
    assert await signal_nodetool(site.node, "import", signal.SIGSTOP) != hanging
    await site.succeeded(request)
    await site.all_is_well()


def random_bytes(seed: str, size: int) -> bytes:
    return random.Random(seed).randbytes(size)
