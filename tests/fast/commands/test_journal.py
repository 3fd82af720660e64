"""The journal's file, its writer and its memory."""

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest

from agent.commands.errors import JournalFailed, JournalTooNew, JournalUnreadable
from agent.commands.journal import KEPT_SECONDS, Journal
from agent.commands.journal_file import migrations
from agent.commands.records import CommandRecord
from agent.daemon.agent import Health
from agent.wire.commands import Kind, State
from agent.wire.node import HealthView
from tests.fast.commands.tiny_agent import Clock, Gate, delete, everything, quick, restore, running


async def test_a_journal_of_a_later_release_is_refused_by_version(tmp_path: Path) -> None:
    """No release guesses at a schema that it doesn't know."""
    path = tmp_path / "j"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    journal = Journal(path)
    with pytest.raises(JournalTooNew) as refused:
        await journal.open()
    await journal.close()
    assert refused.value.fields["version"] == 99
    assert refused.value.fields["supported"] == migrations()[-1][0]


@pytest.mark.parametrize("damage", ["no database", "torn page", "a directory"])
async def test_a_damaged_journal_is_a_clear_error(tmp_path: Path, damage: str) -> None:
    """A journal that can't be trusted is not used, and not replaced behind a person's back."""
    path = tmp_path / "j"
    match damage:
        case "no database":
            path.write_bytes(b"this is no database, it is a text. " * 200)
        case "a directory":
            path.mkdir()
        case "torn page":
            async with running(path, everything(quick)) as agent:
                for number in range(100):
                    await agent.post(f"c{number}", Kind.DELETE, delete(f"t{number}"))
                await agent.until("c99")
            content = bytearray(path.read_bytes())
            content[4096 * 2 : 4096 * 8] = b"\xff" * (4096 * 6)
            path.write_bytes(content)
    journal = Journal(path)
    with pytest.raises(JournalUnreadable) as refused:
        await journal.open()
    await journal.close()
    assert refused.value.fields["journal"] == str(path)


async def test_the_journal_is_only_for_the_agents_user_and_synced_fully(tmp_path: Path) -> None:
    """Mode 0600, WAL, synchronous=FULL: an accepted command survives a power cut."""
    path = tmp_path / "state" / "j"
    async with running(path, everything(quick)) as agent:
        connection = agent.journal._write_connection
        assert connection is not None
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

        def pragmas(connection: sqlite3.Connection) -> tuple[str, int]:
            mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
            return mode, connection.execute("PRAGMA synchronous").fetchone()[0]

        assert await agent.journal._write(pragmas) == ("wal", 2)


async def test_changes_that_wait_together_are_committed_together(tmp_path: Path) -> None:
    """Under load many changes cost one fsync; each is still whole or not at all."""
    journal = Journal(tmp_path / "j")
    await journal.open()
    before = journal.commits
    await asyncio.gather(*(journal.set_position(f"r{number}", number) for number in range(300)))
    assert journal.commits - before <= 3
    missing = CommandRecord("no", Kind.DELETE, b"{}", None, None, None, 0, None, None, State.RUNNING, 1.0, "i")
    results = await asyncio.gather(
        journal.set_position("r0", 77),
        journal.set_state(missing, None),
        journal.set_position("r1", 78),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), LookupError, type(None)]
    assert (await journal.position("r0"), await journal.position("r1"), await journal.position("r2")) == (77, 78, 2)
    await journal.close()


async def test_a_terminal_command_is_never_changed(tmp_path: Path) -> None:
    """Exactly one outcome: the journal itself refuses a second."""
    async with running(tmp_path / "j", everything(quick)) as agent:
        await agent.post("a", Kind.DELETE, delete())
        await agent.until("a")
        record = await agent.journal.command("a")
        assert record is not None
        with pytest.raises(LookupError):
            await agent.journal.set_state(record, None)


async def test_what_ended_thirty_days_ago_is_forgotten_with_its_events_and_fences(tmp_path: Path) -> None:
    """The journal doesn't grow for ever; what is unfinished stays, and sequences never go back."""
    clock, gate = Clock(), Gate()
    path = tmp_path / "j"
    async with running(path, everything(gate), clock=clock) as agent:
        gate.open.set()
        await agent.post("old", Kind.FETCH, restore(), job="j1", fence=4)
        await agent.until("old")
        gate.open.clear()
        await agent.post("running", Kind.FETCH, restore(), job="j2")
        newest = agent.events.newest
        clock.now += KEPT_SECONDS + 1
        assert await agent.journal.prune() == 1
        assert [view.id for view in await agent.runner.views()] == ["running"]
    async with running(path, everything(quick), clock=clock, instance="second") as agent:
        assert {event.command for event in await agent.events.after(0)} == {"running"}
        await agent.post("again", Kind.FETCH, restore(), job="j1", fence=1)
        await agent.until("again")
        assert agent.events.newest > newest


async def test_a_full_disk_is_a_named_error_and_passes_when_there_is_room(tmp_path: Path) -> None:
    """Nothing half-written: what failed is refused, what was there stays, and the next write is taken. /health tells,
    and finds out by itself that it has passed."""
    journal = Journal(tmp_path / "j")
    await journal.open()
    await journal.set_position("before", 1)
    await journal._write(lambda connection: connection.execute("CREATE TABLE ballast (b BLOB)").fetchone())

    def pages(connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA page_count").fetchone()[0])

    def fill(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO ballast VALUES (zeroblob(1000000))")

    limit = await journal._write(pages) + 2
    await journal._write(lambda connection: connection.execute(f"PRAGMA max_page_count = {limit}").fetchone())
    with pytest.raises(JournalFailed):
        await journal._write(fill)
    assert journal.failing
    health = Health(journal)
    assert health() == HealthView("unwell", "journal_failed")
    await journal._write(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").fetchone())
    mending = asyncio.create_task(journal.mend(0.001))
    async with asyncio.timeout(60):
        while health() != HealthView("ok"):  # noqa: ASYNC110 another thread's work
            await asyncio.sleep(0.001)
    mending.cancel()
    await journal._write(fill)
    assert [journal.failing, await journal.position("before")] == [False, 1]
    await journal.close()
