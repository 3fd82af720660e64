"""What a restore that stopped half-way left goes with the newer one that replaced it, and only then."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from agent.cassandra.node import CassandraNode
from agent.cassandra.settings import CassandraSettings
from agent.cassandra.staging import StagingRoot, remove_root
from agent.jobs.restore.clean import CleanJob
from agent.jobs.restore.errors import NotFetched, StagingLeft
from agent.jobs.restore.fetch import FetchJob
from agent.jobs.restore.import_held import ImportJob
from agent.jobs.restore.notes import BatchLine, RestoreNotes
from agent.jobs.restore.tools import RestoreTools
from agent.wire.commands import RestoreArguments
from agent.wire.results import FetchResult, PhaseResult
from tests.fast.cassandra.directory_control import DirectoryControl
from tests.fast.restore.backup_in_memory import HOST, BackupInMemory
from tests.fast.restore.context import Context

SSTABLES = ["nb-1-big", "nb-2-big", "nb-3-big"]


class Killed(BaseException):
    """The agent is gone."""


class Site:
    """A node with two data directories, and restores of ks.t on it."""

    def __init__(self, tmp_path: Path) -> None:
        self.data = [tmp_path / "one" / "data", tmp_path / "two" / "data"]
        for directory in self.data:
            (directory / "system").mkdir(parents=True)
        self.state = tmp_path / "state"
        self.backup = BackupInMemory(SSTABLES)
        self.unfinished: dict[str, list[str]] = {}
        self.control = DirectoryControl(self.data[0])
        self.settle(self.data)

    def settle(self, data: list[Path]) -> None:
        """Start the agent with these data directories."""
        self.node = CassandraNode(CassandraSettings(data_directories=tuple(map(str, data))), self.state)
        self.node.control = self.control
        self.tools = RestoreTools(self.node, self.backup, self.state, imports_at_a_time=2)
        self.tools.in_use.using = lambda job: self.unfinished.get(job, [])

    def notes(self, job: str) -> RestoreNotes:
        return RestoreNotes(self.state, job)

    async def fetch(self, job: str, tag: str = "tag") -> FetchResult:
        result = (await FetchJob(self.tools).run(Context(RestoreArguments(tag, HOST, {"ks": ["t"]}), job))).result
        assert isinstance(result, FetchResult)
        return result

    async def bring_in(self, job: str) -> None:
        await ImportJob(self.tools).run(Context(RestoreArguments("tag", HOST, {"ks": ["t"]}), job))

    async def clean(self, job: str) -> PhaseResult:
        result = (await CleanJob(self.tools).run(Context(RestoreArguments("tag", HOST, {"ks": ["t"]}), job))).result
        assert isinstance(result, PhaseResult)
        return result

    def staged(self, job: str) -> list[str]:
        found = [root / ".helenus" / "data" / job for root in (self.data[0].parent, self.data[1].parent)]
        return [path.name for place in found for path in place.rglob("*-Data.db")]

    async def two(self, **older_tables: list[str]) -> None:
        """The older restore stopped before its import; the newer one is in and about to be cleaned."""
        await self.fetch("old")
        if older_tables:
            asked = await self.notes("old").asked()
            assert asked is not None
            await self.notes("old").put_asked(msgspec.structs.replace(asked, tables=older_tables))
        await self.later("new")

    async def later(self, job: str) -> None:
        await self.fetch(job)
        for path in (self.state / "jobs" / job).iterdir():  # a file system's clock may be coarse
            os.utime(path, ns=(2**62, 2**62))
        await self.bring_in(job)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    yield site
    await site.node.close()


async def test_what_an_older_restore_fetched_goes_when_a_newer_one_of_its_tables_is_in(site: Site) -> None:
    """Nobody sends it a CLEAN. Taken up again all the same, it fetches anew and imports nothing twice."""
    await site.two()
    assert sorted(site.staged("old")) == [f"{one}-Data.db" for one in SSTABLES]
    result = await site.clean("new")
    assert (site.staged("old"), site.staged("new"), result.warnings) == ([], [], [])
    assert len(result.done) == 4
    with pytest.raises(NotFetched):
        await site.bring_in("old")
    assert (await site.fetch("old")).tables["ks"]["t"][2] == len(SSTABLES)
    assert len(site.staged("old")) == len(SSTABLES)


@pytest.mark.parametrize(
    "why", ["a command is unfinished", "it went on later", "other tables", "not in yet", "unknown batch"]
)
async def test_it_stays_while_it_may_be_gone_on_with(site: Site, why: str) -> None:
    """Each of these alone keeps every byte; an import of which nobody knows how it ended is named."""
    await site.two(**({"ks": ["t", "u"]} if why == "other tables" else {}))
    match why:
        case "a command is unfinished":
            site.unfinished["old"] = ["c1"]
        case "it went on later":
            os.utime(site.state / "jobs" / "old" / "fetched.json", ns=(2**62, 2**62))
        case "not in yet":
            (site.state / "jobs" / "new" / "imports.jsonl").unlink()
        case "unknown batch":
            batch = BatchLine(1, "ks", "t", [(0, "nb-1-big"), (0, "nb-2-big")], done=False)
            await site.notes("old").put_batch(batch)
            done = msgspec.structs.replace(batch, number=2, sstables=batch.sstables[:1], done=True)
            await site.notes("old").put_batch(done)
    result = await site.clean("new")
    assert len(site.staged("old")) == len(SSTABLES)
    assert (await site.notes("old").must_be_fetched()).tag == "tag"
    assert ["old" in text and "ks.t" in text for text in result.warnings] == [True] * (why == "unknown batch")


async def test_killed_half_way_it_is_neither_imported_by_halves_nor_left(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forgotten durably before the first file goes: an import of the rest is refused, CLEAN done again removes it."""
    await site.two()
    real = remove_root

    def half(root: StagingRoot) -> bool:
        data = sorted(root.path.rglob("*-Data.db"))
        if data:
            data[0].unlink()
            raise Killed
        return real(root)

    monkeypatch.setattr("agent.jobs.restore.replaced_jobs.remove_root", half)
    with pytest.raises(Killed):
        await site.clean("new")
    assert len(site.staged("old")) == len(SSTABLES) - 1
    with pytest.raises(NotFetched):
        await site.bring_in("old")
    monkeypatch.undo()
    await site.clean("new")
    assert site.staged("old") == []


async def test_killed_half_way_the_older_restore_can_still_be_gone_on_with(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its FETCH brings back what went; what it had imported is not imported again, wherever it stands now."""
    await site.fetch("old")
    await site.bring_in("old")
    before = site.control.data_files("ks", "t")
    await site.later("new")
    monkeypatch.setattr("agent.jobs.restore.replaced_jobs.remove_root", _killed)
    with pytest.raises(Killed):
        await site.clean("new")
    await site.fetch("old")
    calls = len(site.control.calls)
    await site.bring_in("old")
    assert site.control.calls[calls:] == []
    assert set(before) <= set(site.control.data_files("ks", "t"))


def _killed(root: StagingRoot) -> bool:
    raise Killed


async def test_a_data_directory_that_left_the_settings_is_cleaned_all_the_same(site: Site) -> None:
    """Also when the job went on without it meanwhile."""
    await site.fetch("job")
    assert len(site.staged("job")) == len(SSTABLES)
    staged = site.data[0].parent / ".helenus" / "data" / "job"
    assert staged.is_dir()
    await site.node.close()
    site.settle(site.data[1:])
    await site.notes("job").forget_fetched()
    await site.fetch("job")
    assert len(site.staged("job")) == 2 * len(SSTABLES)
    assert [root.data_directory for root in await site.notes("job").staging()] == [str(site.data[1])]
    await site.clean("job")
    assert site.staged("job") == []
    assert not staged.exists()


async def test_what_can_not_be_reached_is_named_and_the_rest_goes(site: Site) -> None:
    """A volume that is not there when the restore is cleaned; sent again when it is back, CLEAN removes it."""
    await site.fetch("job")
    away = site.data[0].parent.rename(site.data[0].parent.with_name("away"))
    with pytest.raises(StagingLeft) as caught:
        await site.clean("job")
    path = str(site.data[0].parent / ".helenus" / "data" / "job")
    assert list(caught.value.fields["left"]) == [path]  # type: ignore[call-overload]
    assert not (site.data[1].parent / ".helenus").exists()
    away.rename(site.data[0].parent)
    assert (await site.clean("job")).done == [path]
    assert site.staged("job") == []
