"""What single looks at the directories mean: pure steps, on looks made by hand."""

from pathlib import Path

import pytest

from agent.cassandra.commit_log.archive_command import failures, install, offers
from agent.cassandra.node_view import NodeLife
from agent.jobs.archiving.copies import Copies
from agent.jobs.archiving.ledger import KnownSegment, Ledger, PlaceNote, Stamp
from agent.jobs.archiving.leftovers import Leftovers
from agent.jobs.archiving.looking import Look, SeenFile
from agent.jobs.archiving.node_side import NodeSide
from agent.jobs.archiving.seeing import Sights
from agent.model.commit_log import LossRecord
from tests.fast.jobs.agent_in_memory import Crash
from tests.fast.jobs.archiving_site import ArchivingSite
from tests.fast.storage.memory import MemoryStorage

BEGIN = 1_750_000_000_000
NAMES = [f"CommitLog-7-{BEGIN + number}.log" for number in range(3)]


class Desk:
    """Leftovers of a node with three segments, one of them closed."""

    def __init__(self, directory: Path) -> None:
        self.now = BEGIN / 1000
        self.ledger = Ledger(directory)
        self.ledger.put_all(KnownSegment(name, "h1", True, self.now) for name in NAMES)
        self.files = {name: SeenFile(directory / name, Stamp(64, BEGIN * 1_000_000)) for name in NAMES}
        self.program = directory / "bin" / "archive-commitlog"
        install(self.program)

        async def nothing() -> None:
            return None

        async def text(_: str = "") -> str:
            return ""

        async def life() -> NodeLife:
            return NodeLife("h1", 1)

        async def none() -> list[str]:
            return []

        self.node = NodeSide(None, self.program, "", 1 << 20, life, text, nothing, text, none)
        self.leftovers = self.anew()

    def anew(self) -> Leftovers:
        """As another process makes them."""
        return Leftovers(self.node, self.ledger, Sights(self.ledger), lambda: self.now)

    def waiting(self, look: Look, *, after: float) -> bool:
        """Whether the closed one waits when it was seen closed for so long."""
        self.leftovers.watch(look)
        self.now += after
        return bool(self.leftovers.waiting(look))

    def note(self, kind: str) -> None:
        (self.program.with_name(f"{self.program.name}-{kind}") / NAMES[0]).touch()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_command_that_is_at_it_is_let_go_on(desk: Desk) -> None:
    """Promise: what Cassandra's command was called for is not archived beside it, but when it can't be at it any
    more."""
    called = Look(desk.files, {}, frozenset(), 0, offered=frozenset(NAMES[:1]))
    assert not desk.waiting(called, after=31)
    assert desk.waiting(called, after=600)


def test_an_archive_that_cannot_be_read_makes_nothing_wait(desk: Desk) -> None:
    """Promise: what is archived may lie in the volume that is away: only what failed waits."""
    assert not desk.waiting(Look(desk.files, {}, frozenset(), 0, "away"), after=31)
    assert desk.waiting(Look(desk.files, {}, frozenset(), 0), after=0)
    desk.ledger.put(KnownSegment(NAMES[0], "h1", True, desk.now))
    assert desk.waiting(Look(desk.files, {}, frozenset(NAMES[:1]), 0, "away"), after=0)


def test_what_was_called_for_is_no_failure_while_the_archive_is_away(desk: Desk) -> None:
    """Promise: a segment that the command was called for and that has left Cassandra's directory may be in the
    archive: it is not known as failed before that can be read."""
    desk.ledger.change(segments={})
    sights, called = Sights(desk.ledger), frozenset(NAMES[:1])
    sights.see(Look({}, {}, frozenset(), 0, "away", offered=called), {}, "h1", in_force=True, now=desk.now)
    assert desk.ledger.get(NAMES[0]) is None
    sights.see(Look({}, {}, frozenset(), 0, offered=called), {}, "h1", in_force=True, now=desk.now)
    one = desk.ledger.get(NAMES[0])
    assert one is not None
    assert one.failed


@pytest.mark.parametrize("kind", ["failures", "offered"])
async def test_a_note_stays_until_its_loss_is_told(desk: Desk, kind: str) -> None:
    """Promise: while Cassandra is not known to archive, or the archive can't be read, nothing is told of a segment that
    is nowhere, and its note is all that is known of it."""
    desk.note(kind)
    desk.ledger.change(segments={})
    gone = Look({}, {}, frozenset(failures(desk.program)), 0, offered=frozenset(offers(desk.program)))
    await desk.leftovers.forget(gone)
    assert failures(desk.program) + offers(desk.program) == NAMES[:1]
    desk.ledger.change(in_force=True)
    unread = Look({}, {}, gone.failed, 0, "away", offered=gone.offered)
    await desk.leftovers.forget(unread)
    sights = Sights(desk.ledger)
    assert [sights.see(unread, {}, "h1", True, desk.now) for _ in range(3)] == [[], [], []]
    assert desk.ledger.known.segments == {}
    assert failures(desk.program) + offers(desk.program) == NAMES[:1]
    await desk.leftovers.forget(gone)
    assert failures(desk.program) + offers(desk.program) == []


@pytest.mark.parametrize("noted", [True, False])
async def test_a_kill_between_the_note_of_a_loss_and_the_deletion(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, noted: bool
) -> None:
    """Promise: nothing is deleted whose loss is not noted durably; killed there, the file is there, and the next one
    ends it: the loss is told once. Also where the archive command could note nothing of the segment."""
    path = desk.files[NAMES[0]].path
    path.write_bytes(bytes(2 << 20))
    desk.files[NAMES[0]] = SeenFile(path, Stamp(2 << 20, BEGIN * 1_000_000))
    look = Look(desk.files, {}, frozenset(NAMES[:1] if noted else ()), 0)
    if noted:
        desk.note("failures")
    else:
        desk.ledger.put(KnownSegment(NAMES[0], "h1", True, desk.now, failed=True))
        assert await desk.leftovers.tidy(look, 1) == []
        desk.now += 31

    async def killed(files: list[SeenFile]) -> None:
        if files:
            raise Crash

    monkeypatch.setattr("agent.jobs.archiving.leftovers.remove", killed)
    with pytest.raises(Crash):
        await desk.leftovers.tidy(look, 1)
    monkeypatch.undo()
    desk.ledger.load()
    assert [loss.before for loss in desk.ledger.known.losses] == NAMES[1:2]
    assert path.exists()
    again = desk.anew()
    await again.tidy(look, 1)
    desk.now += 31
    await again.tidy(look, 1)
    assert not path.exists()
    assert [loss.before for loss in desk.ledger.known.losses] == NAMES[1:2]
    assert failures(desk.program) == []


@pytest.mark.parametrize("noted", [[], NAMES[:1]])
def test_what_went_while_it_was_compared_is_not_known_as_the_same(desk: Desk, noted: list[str]) -> None:
    """Promise: Cassandra deletes its own segment at its start, just when it is compared: that proves nothing of the
    other file of its name. What the archive command noted counts then, and at each later look."""
    copy = desk.files[NAMES[0]].path.with_name("copy")
    copy.write_bytes(b"other")
    archived = {NAMES[0]: SeenFile(copy, Stamp(5, BEGIN * 1_000_000))}
    copies = Copies()
    for live in (desk.files, {}):
        look = Look(live, archived, frozenset(NAMES[:1]), 0)
        assert copies.told_apart(look, noted).false.keys() == set(noted)


def test_a_copy_that_was_replaced_is_compared_anew(desk: Desk) -> None:
    """Promise: once it is the segment it counts as archived, though the archive command noted other bytes before."""
    path = desk.files[NAMES[0]].path
    copy, copies = path.with_name("copy"), Copies()
    path.write_bytes(b"segment")
    for number, (content, false) in enumerate([(b"another", set(NAMES[:1])), (b"segment", set())]):
        copy.write_bytes(content)
        archived = {NAMES[0]: SeenFile(copy, Stamp(7, BEGIN * 1_000_000 + number))}
        look = Look(desk.files, archived, frozenset(NAMES[:1]), 0)
        assert copies.told_apart(look, NAMES[:1]).false.keys() == false


def test_losses_of_before_the_oldest_backup_are_let_go(desk: Desk) -> None:
    """Promise: a gap that nobody can need any more is no gap; one that a destination was not told of stays, and what
    each was told of stays right."""
    losses = tuple(LossRecord("", "", 0.0, float(until), "r") for until in (10, 20, 30))
    desk.ledger.change(losses=losses, places={"a": PlaceNote(), "b": PlaceNote()}, told={"a": 3, "b": 2})
    desk.ledger.forget_losses(15.0)
    assert (desk.ledger.known.losses, desk.ledger.known.told) == (losses[1:], {"a": 2, "b": 1})
    desk.ledger.forget_losses(100.0)
    assert (desk.ledger.known.losses, desk.ledger.known.told) == (losses[2:], {"a": 1, "b": 0})


async def test_a_first_write_is_seen_though_the_file_looks_the_same(tmp_path: Path) -> None:
    """Promise: a segment without writes is read at every look, and once more when it is archived: a mapped page that
    was not written out yet leaves size and time as they were."""
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage()})
    try:
        await site.begin(keep=True)
        await site.stop()
        name = site.log.path(site.log.active).name
        await site.archiver.turn()
        site.log.write(b"one")  # the test's clock stands: the file bears the time of before
        await site.archiver.turn()
        known = site.archiver.ledger.get(name)
        assert known is not None
        assert known.held_data
        ahead = site.log.path(site.log.active + 1).name
        site.log.rotate()
        await site.archiver.turn()
        site.log.write(b"two")
        site.log.rotate()
        await site.archiver.turn()
        known = site.archiver.ledger.get(ahead)
        assert known is not None
        assert known.held_data
    finally:
        await site.stop()
