"""What the archive command's notes and the directories tell, one look at a time."""

import os
from pathlib import Path

import pytest

from agent.cassandra.commit_log.archive_command import failures, failures_of, install, offers, offers_of
from agent.cassandra.node_view import NodeLife
from agent.jobs.archiving.ledger import KnownSegment, Ledger, Stamp
from agent.jobs.archiving.leftovers import Leftovers
from agent.jobs.archiving.looking import Look, SeenFile
from agent.jobs.archiving.node_side import NodeSide
from agent.jobs.archiving.seeing import Sights
from tests.fast.jobs.archiving_site import NOW, ArchivingSite
from tests.fast.jobs.toy_log import section
from tests.fast.storage.memory import MemoryStorage

NAMES = [f"CommitLog-7-{number}.log" for number in range(1000, 1003)]
OLD = NAMES[0]


class Notes:
    """Leftovers without a Cassandra. Time is moved by the test."""

    def __init__(self, directory: Path) -> None:
        self.now = NOW
        self.program = directory / "bin" / "archive-commitlog"
        install(self.program)
        self.ledger = Ledger(directory)
        self.sights = Sights(self.ledger)
        asked = self._asked
        node = NodeSide(None, self.program, "", 0, self._life, asked, self._flush, asked, self._directories)
        self.leftovers = Leftovers(node, self.ledger, self.sights, lambda: self.now)

    async def _flush(self) -> None:
        raise AssertionError

    async def _asked(self, name: str = "") -> str:
        raise AssertionError

    async def _directories(self) -> list[str]:
        raise AssertionError

    async def _life(self) -> NodeLife:
        raise AssertionError

    def waits(self, look: Look) -> list[str]:
        return [file.path.name for file in self.leftovers.waiting(look)]


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path)


def looked(*, offered: tuple[str, ...] = (), failed: tuple[str, ...] = (), unread: str = "", live: bool = True) -> Look:
    """All segments in Cassandra's directory, of which the first one is closed; none archived."""
    files = {name: SeenFile(Path("/log") / name, Stamp(1, 1)) for name in NAMES} if live else {}
    return Look(files, {}, frozenset(failed), 3, unread, offered=frozenset(offered))


def known(name: str) -> KnownSegment:
    return KnownSegment(name, "h1", True, NOW)


def test_what_the_command_was_called_for_is_left_to_it(notes: Notes) -> None:
    """Promise: a copy to another file system may last minutes: one that was begun is the command's as long as it can
    last, and only then the agent's; one that was never begun is the agent's after half a minute."""
    notes.ledger.put(known(OLD))
    notes.leftovers.watch(looked())
    notes.now += 31
    assert notes.waits(looked()) == [OLD]
    assert notes.waits(looked(offered=(OLD,))) == []
    notes.now += 600
    assert notes.waits(looked(offered=(OLD,))) == [OLD]


def test_what_can_not_be_seen_archived_is_not_taken_for_left(notes: Notes) -> None:
    """Promise: while the archive directory is away a closed segment may be in it; only a noted failure says that it is
    not."""
    notes.ledger.put(known(OLD))
    notes.leftovers.watch(looked(unread="away"))
    notes.now += 31
    assert notes.waits(looked(unread="away")) == []
    assert notes.waits(looked(unread="away", failed=(OLD,))) == [OLD]
    assert notes.waits(looked()) == [OLD]


@pytest.mark.parametrize("in_force", [False, True])
async def test_a_note_stays_until_its_segment_is_told(notes: Notes, *, in_force: bool) -> None:
    """Promise: what was noted and is nowhere goes into the ledger while Cassandra archives, and is told as lost: the
    notes go then. Until that is known of Cassandra (the agent began just now) they stay, for nothing else tells."""
    notes.ledger.change(in_force=in_force)
    for directory in (failures_of(notes.program), offers_of(notes.program)):
        (directory / OLD).touch()
    await notes.leftovers.forget(looked(live=False, failed=(OLD,), offered=(OLD,)))
    left = [] if in_force else [OLD]
    assert (failures(notes.program), offers(notes.program)) == (left, left)


async def test_notes_stay_while_the_archive_is_away(notes: Notes) -> None:
    """Promise: nothing is forgotten for a directory that was not seen."""
    notes.ledger.change(in_force=True)
    (failures_of(notes.program) / OLD).touch()
    await notes.leftovers.forget(looked(live=False, failed=(OLD,), unread="away"))
    assert failures(notes.program) == [OLD]


def test_what_was_called_for_is_no_failure_while_the_archive_is_away(notes: Notes) -> None:
    """Promise: a segment that the command was called for and that has left Cassandra's directory may be in the
    archive: it is not known as failed before that can be read."""
    away = looked(live=False, offered=(OLD,), unread="away")
    notes.sights.see(away, {}, "h1", in_force=True, now=NOW)
    assert notes.ledger.get(OLD) is None
    notes.sights.see(looked(live=False, offered=(OLD,)), {}, "h1", in_force=True, now=NOW)
    one = notes.ledger.get(OLD)
    assert one is not None
    assert one.failed


@pytest.mark.parametrize("archived", [False, True])
async def test_a_first_write_is_seen_though_the_file_looks_the_same(tmp_path: Path, *, archived: bool) -> None:
    """Promise: a mapped page that was not written out leaves the modification time as it was. So an empty segment is
    read again while Cassandra has it, and once more when it is in the archive."""
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage()})
    await site.begin()
    await site.stop()
    order, path = site.archiver.order, site.log.path(site.log.active)
    assert order is not None
    _, held, _ = site.archiver._read(order)
    assert held[path.name] is False
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(site.log.at)
        file.write(section(site.log.active, site.log.at, [b"the first write"]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    if archived:
        path.rename(site.archive / path.name)
    _, held, _ = site.archiver._read(order)
    assert held[path.name] is True
