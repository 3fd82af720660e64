"""The notes of a restore: durable, and whole after any cut."""

import resource
from pathlib import Path

import pytest

from agent.cassandra.staging import StagingRoot
from agent.jobs.restore.errors import JobFinished, JobMissing, NotFetched
from agent.jobs.restore.notes import BatchLine, Fetched, RestoreNotes
from agent.wire.names import InvalidName
from agent.wire.results import ViewCql


def _line(number: int, *, done: bool) -> BatchLine:
    return BatchLine(number, "ks", "t", [(0, f"nb-{number}-big")], done)


async def test_a_line_that_a_crash_cut_is_left_out_and_written_over(tmp_path: Path) -> None:
    """The batch that it announced is not done: it is imported again."""
    notes = RestoreNotes(tmp_path, "job")
    await notes.put_batch(_line(1, done=False))
    await notes.put_batch(_line(1, done=True))
    journal = tmp_path / "jobs" / "job" / "imports.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"number": 2, "keysp')
    assert [line.done for line in await notes.batches()] == [False, True]
    await notes.put_batch(_line(2, done=False))
    assert [(line.number, line.done) for line in await notes.batches()] == [(1, False), (1, True), (2, False)]


async def test_a_line_that_has_no_room_is_an_error_and_stands_in_nobodys_way(tmp_path: Path) -> None:
    """A full disk takes a part of the line: the batch is not noted as done, and the next line is whole."""
    notes = RestoreNotes(tmp_path, "job")
    await notes.put_batch(_line(1, done=False))
    journal = tmp_path / "jobs" / "job" / "imports.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.stat().st_size + 10, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            await notes.put_batch(_line(1, done=True))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [line.done for line in await notes.batches()] == [False]
    await notes.put_batch(_line(1, done=True))
    assert [line.done for line in await notes.batches()] == [False, True]


async def test_a_line_that_the_file_system_lost_is_left_out(tmp_path: Path) -> None:
    """After a power cut a file may be longer than what was written: zeros, with whole lines behind them later."""
    notes = RestoreNotes(tmp_path, "job")
    await notes.put_batch(_line(1, done=True))
    journal = tmp_path / "jobs" / "job" / "imports.jsonl"
    journal.write_bytes(journal.read_bytes() + bytes(40) + b"\n")
    await notes.put_batch(_line(2, done=True))
    assert [line.number for line in await notes.batches()] == [1, 2]


async def test_batches_can_be_forgotten_but_not_that_the_import_has_begun(tmp_path: Path) -> None:
    """What is done of a table is imported again; what began and has no end stays known, and so do other tables."""
    notes = RestoreNotes(tmp_path, "job")
    for line in (_line(1, done=False), _line(1, done=True), _line(2, done=False)):
        await notes.put_batch(line)
    await notes.put_batch(BatchLine(3, "ks", "u", [(0, "nb-1-big")], True))
    await notes.forget_imported({("ks", "t")})
    assert [(line.number, line.done) for line in await notes.batches()] == [(2, False), (3, True)]
    await notes.forget_imported({("ks", "u")})
    assert notes.import_begun()


async def test_an_import_has_begun_as_soon_as_it_is_noted(tmp_path: Path) -> None:
    """Before the first batch, and for an agent that starts anew."""
    notes = RestoreNotes(tmp_path, "job")
    assert not notes.import_begun()
    await notes.begin_import()
    assert RestoreNotes(tmp_path, "job").import_begun()
    assert await notes.batches() == []


async def test_views_of_a_cut_run_are_not_forgotten(tmp_path: Path) -> None:
    """The second run of the drop no longer sees what the first dropped."""
    notes = RestoreNotes(tmp_path, "job")
    await notes.put_views([ViewCql("ks", "one", "t", "CREATE … one"), ViewCql("ks", "two", "t", "CREATE … two")])
    await notes.put_views([ViewCql("ks", "two", "t", "CREATE … other")])
    assert {view.name: view.statement for view in await notes.views()} == {
        "one": "CREATE … one",
        "two": "CREATE … two",
    }


async def test_what_was_not_fetched_can_not_be_imported(tmp_path: Path) -> None:
    """Nor after CLEAN; and a job that was imported and cleaned is used up."""
    notes = RestoreNotes(tmp_path, "job")
    with pytest.raises(NotFetched):
        await notes.must_be_fetched()
    await notes.put_staging([StagingRoot("/d", "/", ("d", "job"))])
    await notes.put_fetched(Fetched("tag", "host", {"ks": {"t": [1, 2, 3]}}))
    assert (await notes.must_be_fetched()).tables == {"ks": {"t": [1, 2, 3]}}
    await notes.put_cleaned()
    with pytest.raises(NotFetched):
        await notes.must_be_fetched()
    await notes.refuse_when_finished()
    await notes.begin_import()
    with pytest.raises(JobFinished):
        await notes.refuse_when_finished()


def test_a_phase_needs_a_job_with_a_proper_name(tmp_path: Path) -> None:
    """It becomes a directory."""
    with pytest.raises(JobMissing):
        RestoreNotes(tmp_path, None)
    with pytest.raises(InvalidName):
        RestoreNotes(tmp_path, "../other")
