"""kill -9 of the agent under requests of a real coordinator, each time exactly when its journal shows the stage; and of
nodetool below it. The same request ends in the right state, once, and all that it promised is so."""

import asyncio
import random
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cassandra.concurrent import execute_concurrent_with_args

from tests.cluster.crash_site import TABLES, TERMINAL_SECONDS, CrashSite
from tests.cluster.moments import (
    BACKUP,
    CUT_CLEAN,
    CUT_IMPORT,
    DELETE,
    ON_SERVER_BACKUP,
    ON_SERVER_DELETE,
    OTHER_IMPORTS,
    REMADE,
    REPLACED,
    RESTORE,
    named,
)
from tests.cluster.relay import CountingRelay
from tests.cluster.stores import Versity
from tests.cluster.victims import data_files_told, signal_after, signal_nodetool, state_of
from tests.oracle.checker import Oracle
from tests.oracle.reader import BucketReader

pytestmark = pytest.mark.asyncio(loop_scope="module")

ONCE = ("truncate", "schema", "drop_views", "import")
BULK_ROW = 64 * 1024
BULK_BYTES = 96 * 1024 * 1024
IN_FLIGHT = 32 * 1024 * 1024
"""What may be put twice after a death: the pieces that were on their way."""


async def live_through(site: CrashSite, request: str, moments: list[str]) -> dict[str, Any]:
    """The armed agent dies at each moment; after the last restart all moves, and ends, in time."""
    await site.die(moments)
    last = await site.sequence()
    await site.moving(request, last)
    return await site.succeeded(request, TERMINAL_SECONDS)


@pytest.mark.parametrize("phase", BACKUP)
async def test_a_backup_outlives_its_agents_deaths_in(site: CrashSite, tag: str, phase: str) -> None:
    """Each stage once: the same request succeeds, the oracle reads every byte, no snapshot is left, and the next backup
    reuses all but what names the snapshot itself."""
    first, *others = named(BACKUP[phase], site.keyspace)
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
    first, *others = named(RESTORE[phase], site.keyspace)
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


async def test_a_replaced_schema_outlives_its_agents_deaths(site: CrashSite) -> None:
    """Between the DROP and the CREATE of a table and of a type, then of a keyspace that is gone with its index: the
    same restore makes what the death left out, and the rows are back."""
    keyspace = f"{site.data.prefix}_forced"
    made = (
        f"CREATE KEYSPACE {keyspace} WITH replication = {{'class': 'NetworkTopologyStrategy', 'dc1': 1}}",
        f"CREATE TYPE {keyspace}.pair (one int)",
        f"CREATE TABLE {keyspace}.paired (id int PRIMARY KEY, both frozen<pair>, text text)",
        f"CREATE INDEX paired_text ON {keyspace}.paired (text)",
        f"INSERT INTO {keyspace}.paired (id, both, text) VALUES (1, {{one: 7}}, 'one')",
    )
    await run(site, *made)
    status = await site.succeeded(await site.start_backup(keyspaces=[keyspace]))
    losses = {
        REPLACED: (f"ALTER TYPE {keyspace}.pair ADD two int", f"DROP INDEX {keyspace}.paired_text"),
        REMADE: (f"DROP KEYSPACE {keyspace}",),
    }
    for moments, loss in losses.items():
        await run(site, *loss)
        first, *others = named(moments, keyspace)
        await site.arm_agent(first)
        wanted = {keyspace: {"truncate": True}}
        request = await site.start_restore(str(status["tag"]), keyspaces=wanted, force_schema=True)
        await live_through(site, request, others)
        commands = await site.commands(job=request, kind="schema")
        assert [one["state"] for one in commands] == ["interrupted"] * len(moments) + ["success"]
        (row,) = await run(site, f"SELECT id, both, text FROM {keyspace}.paired WHERE text = 'one'")
        assert (row.id, tuple(row.both), row.text) == (1, (7,), "one")
        await site.all_is_well(rows=False)
    await run(site, f"DROP KEYSPACE {keyspace}")


@pytest.mark.parametrize("phase", DELETE)
async def test_a_delete_outlives_its_agents_deaths_in(site: CrashSite, tag: str, phase: str) -> None:
    """The mark and the sweep: the backup is gone, the others are whole."""
    doomed = await site.backup()
    first, *others = named(DELETE[phase], site.keyspace)
    await site.arm_agent(first)
    request = await site.start_delete(doomed)
    await live_through(site, request, others)
    await site.all_is_well(rows=False)
    listed = await site.ask("GET", f"/backups?destination={site.place}")
    assert doomed not in listed
    assert tag in listed


async def test_an_on_server_backup_outlives_its_agents_deaths(site: CrashSite) -> None:
    """Killed while it is taken and while it is deleted: it is listed, then it is gone with its snapshot."""
    first, *others = ON_SERVER_BACKUP
    await site.arm_agent(first)
    request = str(await site.ask("POST", "/backups/run", {"keyspaces": [site.keyspace]}))
    status = await live_through(site, request, others)
    kept = str(status["tag"])
    assert site.snapshots() == {kept}
    assert kept in await site.ask("GET", "/backups")
    first, *others = ON_SERVER_DELETE
    await site.arm_agent(first)
    request = str(await site.ask("DELETE", f"/backups?tag={kept}"))
    await live_through(site, request, others)
    assert kept not in await site.ask("GET", "/backups")
    await site.all_is_well(rows=False)


async def test_what_was_put_before_the_death_is_not_sent_again(site: CrashSite, versity: Versity) -> None:
    """Killed in the midst of storing, under a throttle: the store is sent every byte once, but for the pieces that were
    in flight (32 MiB at most), and the objects that were there stay as they are."""
    bulk, bucket = f"{site.data.prefix}_single.bulk", f"bulk-{site.data.prefix}"
    await asyncio.to_thread(write_bulk, site, bulk)
    await versity.make_bucket(bucket)

    def objects() -> dict[Path, tuple[int, int, int]]:
        found = {path: path.stat() for path in (versity.data / bucket).rglob("data/*/*")}
        return {path: (stat.st_ino, stat.st_mtime_ns, stat.st_size) for path, stat in found.items()}

    async with CountingRelay(versity.address, versity.port) as relay:
        made = await site.ask("POST", "/backups/destinations", versity.settings(bucket, endpoint=relay.endpoint))
        await site.succeeded(made["request_id"])
        place = made["destination_id"]["id"]
        body = {"keyspaces": [bulk.partition(".")[0]], "destinations": {place: {}}, "throttle": 16}
        before = relay.received
        request = str(await site.ask("POST", "/backups/run", body))
        async with asyncio.timeout(120):
            while relay.received - before < BULK_BYTES * 2 // 3:  # noqa: ASYNC110  # bytes set no event
                await asyncio.sleep(0.01)
        await site.agent.kill()
        dead, sent = objects(), relay.received - before
        assert sent < BULK_BYTES, "everything was sent before the death"
        assert sum(size for _, _, size in dead.values()) > IN_FLIGHT, "too little was there to be sent twice"
        await site.agent.start()
        await site.moving(request, await site.sequence())
        status = await site.succeeded(request, TERMINAL_SECONDS)
        sent = relay.received - before
        after = objects()
        assert {path: after.get(path) for path in dead} == dead
        unique = sum(size for _, _, size in after.values())
        assert unique > BULK_BYTES
        assert unique <= sent <= unique + IN_FLIGHT
        with closing(versity.client()) as client:
            oracle = Oracle(BucketReader(client, bucket))
            oracle.expect(str(status["tag"]), [part["host_id"] for part in status["details"]["subrequests"].values()])
            oracle.check(idle=True)
        forgotten = f"/backups?tag={status['tag']}&destination={place}&remove_destination=true"
        await site.succeeded(str(await site.ask("DELETE", forgotten)))
    await site.all_is_well(rows=False)


async def fails_and_leaves_none(site: CrashSite, request: str) -> None:
    """A backup whose nodetool was killed ends so, and the next one is whole."""
    status = await site.follow(request)
    assert status["state"] == "error"
    assert "nodetool_killed" in str(status["details"])
    assert site.snapshots() == set()
    await site.backup()
    await site.all_is_well(rows=False)


async def test_nodetool_killed_in_a_snapshot_fails_the_backup_and_leaves_none(site: CrashSite) -> None:
    """The request ends in error with the reason, no snapshot stays, the next backup is whole."""
    request = await site.start_backup()
    await signal_nodetool(site.node, "snapshot", signal.SIGKILL)
    await fails_and_leaves_none(site, request)


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


async def test_nodetool_killed_when_cassandra_takes_the_snapshot_leaves_none(site: CrashSite, tag: str) -> None:
    """Cassandra was told, has begun, and goes on whoever is dead: the request ends in error with the reason, and no
    directory of that snapshot comes or stays, also of the tables whose turn came later."""
    await run(site, *(f"INSERT INTO {site.keyspace}.stock (id, state) VALUES ({number}, 'new')" for number in range(9)))
    await run(site, f"INSERT INTO {site.keyspace}.orders (customer, id) VALUES ('since', 1)")  # there is to be flushed
    request = await site.start_backup()
    nodetool = await signal_nodetool(site.node, "snapshot", signal.SIGCONT)
    await signal_after(nodetool, lambda: site.snapshots() != set(), signal.SIGKILL)
    await fails_and_leaves_none(site, request)


async def test_nodetool_killed_when_cassandra_clears_leaves_no_debt_behind(site: CrashSite) -> None:
    """The backup is a success; whatever Cassandra had not come to is gone with the next one's."""
    request = await site.start_backup()
    nodetool = await signal_nodetool(site.node, "clearsnapshot", signal.SIGCONT)
    there = site.snapshot_directories()
    await signal_after(nodetool, lambda: site.snapshot_directories() < there, signal.SIGKILL)
    status = await site.succeeded(request)
    assert site.snapshots() <= {str(status["tag"])}
    await site.backup()
    await site.all_is_well(rows=False)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_nodetool_lost_when_cassandra_imports_counts_nothing_twice(
    site: CrashSite, tag: str, number: signal.Signals
) -> None:
    """A Data.db of the counters has left staging, so that Cassandra has it already when the batch is made again from
    held/: the counters are what they were, and nothing is left in staging. A nodetool that stands still is ended at its
    deadline first."""
    await site.disaster()
    request = await site.start_restore(tag)
    nodetool = await signal_nodetool(site.node, "import", signal.SIGCONT, "visits")
    told = data_files_told(nodetool)
    assert told > 0
    await signal_after(nodetool, lambda: data_files_told(nodetool) < told, number)
    await site.succeeded(request)
    assert state_of(nodetool) == ""
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
    and nothing is left in staging, also when the agent dies again while it waits for that."""
    await site.disaster()
    request = await site.start_restore(tag)
    await signal_nodetool(site.node, "import", signal.SIGCONT)
    await site.agent.child.kill(group=False)
    await site.agent.start_mortal(*CUT_IMPORT)
    await live_through(site, request, [])
    await site.all_is_well()


async def test_a_cleaning_takes_nothing_from_cassandra_while_it_imports(site: CrashSite, tag: str) -> None:
    """Promise: CLEAN, sent for a restore that was given up in its import, has the old batch ended first, and outlives
    its agent's death there; the next restore brings back every row."""
    request = await given_up_in_import(site, tag)
    await site.agent.start_mortal(*CUT_CLEAN)
    host_id = (await site.agent.ask("GET", "/v1/node"))["node"]["host_id"]
    arguments = {"tag": tag, "source_host_id": host_id, "tables": {site.keyspace: BASE_TABLES}}
    clean = await site.agent.command("clean", arguments, job=request, fence=1)
    await site.die([])
    assert (await site.agent.ended(clean))["state"] == "success"
    await site.succeeded(await restore_tables(site, tag))
    await site.all_is_well()


BASE_TABLES = [table for table in TABLES if table != "stock_by_state"]


async def given_up_in_import(site: CrashSite, tag: str) -> str:
    """Lose all, and let a restore be cancelled by force after its agent was killed while nodetool imports; its id. The
    agent stays dead; what was left to a person is done."""
    await site.disaster()
    request = await site.start_restore(tag)
    await signal_nodetool(site.node, "import", signal.SIGCONT)
    await site.agent.child.kill(group=False)
    await site.coordinator.ask("POST", f"/request/{request}/cancel", {"force": True})
    ended = await site.follow(request)
    assert ended["state"] == "cancelled"
    await run(site, *ended["details"]["owed_views"])
    return request


async def restore_tables(site: CrashSite, tag: str) -> str:
    """Begin another restore, of all tables by name; its id."""
    return await site.start_restore(tag, keyspaces={site.keyspace: {"truncate": True, "column-families": BASE_TABLES}})


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


async def test_an_import_that_nobody_saw_the_end_of_is_ended_by_the_next_restore(site: CrashSite, tag: str) -> None:
    """Promise: a restore that was given up in its import brings nothing into what the next one restores: that one's
    fetch has Cassandra end the old batch (by importing nothing), and outlives its agent's death there."""
    given_up = await given_up_in_import(site, tag)
    (moment,) = OTHER_IMPORTS
    await site.agent.start_mortal(moment.replace("{job}", given_up))
    await live_through(site, await restore_tables(site, tag), [])
    await site.all_is_well()


async def test_a_hanging_nodetool_is_ended_at_its_deadline(site: CrashSite) -> None:
    """In a snapshot the backup ends in error with the reason and no snapshot."""
    request = await site.start_backup()
    hanging = await signal_nodetool(site.node, "snapshot", signal.SIGSTOP)
    status = await site.follow(request)
    assert status["state"] == "error"
    assert "nodetool_timeout" in str(status["details"])
    assert state_of(hanging) == ""
    assert site.snapshots() == set()
    await site.all_is_well(rows=False)


async def run(site: CrashSite, *statements: str) -> list[Any]:
    """The rows of the last of the statements."""
    rows: list[Any] = []
    for statement in statements:
        rows = list(await asyncio.to_thread(site.session.execute, statement, timeout=120))
    return rows


def write_bulk(site: CrashSite, table: str) -> None:
    """BULK_BYTES of content that no compression makes less."""
    site.session.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, bytes blob)")
    insert = site.session.prepare(f"INSERT INTO {table} (id, bytes) VALUES (?, ?)")
    rows = ((number, random.Random(number).randbytes(BULK_ROW)) for number in range(BULK_BYTES // BULK_ROW))
    execute_concurrent_with_args(site.session, insert, rows, concurrency=16)
