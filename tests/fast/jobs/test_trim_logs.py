"""TRIM_LOGS: the oldest end of the log goes, from a destination or from the node, and nothing that is needed."""

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from agent.jobs.archiving.standing import view_of
from agent.jobs.archiving.trim import TrimLogsJob
from agent.model.commit_log import LossRecord, SchemaRecord
from agent.pipeline.log_source import StoredLogs
from agent.plan.log_windows import gaps, runs
from agent.repository.commit_logs.names import log_data_prefix
from agent.repository.errors import AdoptionRefused, IntentForeign
from agent.repository.intents import Intents, Writer
from agent.wire.archiving import TrimLogsArguments
from agent.wire.commands import Target
from agent.wire.results import FreedResult
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Command, Crash, Faults
from tests.fast.jobs.archiving_site import ArchivingSite
from tests.fast.storage.memory import MemoryStorage

TARGET = Target("d1", REPOSITORY, CLUSTER)
ME, OTHER = Writer("a1", "i1"), Writer("a2", "i2")


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[ArchivingSite]:
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage()})
    yield site
    await site.stop()


async def _trim(
    site: ArchivingSite,
    before: float,
    target: Target | None = TARGET,
    *,
    dry: bool = False,
    adopt: str | None = None,
) -> FreedResult:
    async def ring() -> dict[str, str]:
        return {"127.0.0.1": "h1", "127.0.0.2": "down"}

    job = TrimLogsJob(site.archiver, site.repositories, ME, ring)
    outcome = await job.run(Command("t", TrimLogsArguments(before, target, dry, adopt)))
    assert isinstance(outcome.result, FreedResult)
    return outcome.result


async def test_only_the_oldest_end_goes(site: ArchivingSite) -> None:
    """Promise: segments closed before the time go with their objects, losses and schemas that no later one needs too;
    what is left is one run and is read back; a dry run says the same and removes nothing."""
    await site.begin()
    names = [site.segment(b"row %d" % number) for number in range(6)]
    await site.shipped(*names)
    logs = site.logs("d1")
    records = {one.name: one for one in await logs.records()}
    await logs.put_loss(LossRecord("", names[0], 1.0, 2.0, "old"))
    await logs.put_loss(LossRecord(names[4], names[5], 1.0, 9e12, "young"))
    times = [records[name].closed_at for name in names]
    for at, version in ((times[0], "v0"), (times[1], "v1"), (times[4], "v4")):
        await logs.put_schema(SchemaRecord(version, None, at, (), {}))
    before = dict(site.stores["d1"]._objects)
    would = await _trim(site, times[3], dry=True)
    assert site.stores["d1"]._objects == before
    did = await _trim(site, times[3])
    assert (did.objects, did.bytes_freed) == (would.objects, would.bytes_freed)
    assert did.objects > 0
    left = await logs.records()
    assert [one.name for one in left] == names[3:]
    assert len(runs(left)) == 1
    assert [one.version for one in await logs.schemas()] == ["v1", "v4"]
    assert [one.reason for one in await logs.losses()] == ["young"]
    for record in left:
        assert await site.content("d1", record, site.directory / "read")
    assert (await _trim(site, times[3])).objects == 0


async def test_the_log_begins_behind_what_went(site: ArchivingSite) -> None:
    """Promise: a destination whose oldest segments were freed is not said to have what was in them, also when the agent
    is killed half-way; after a dry run, and where nothing went, it says what it said before."""
    faults = Faults()
    site.stores["d1"]._hook = faults
    await site.begin()
    names = [site.segment() for _ in range(4)]
    await site.shipped(*names)
    began = (await view_of(site.archiver)).places["d1"].safe_since
    cut = (await site.records("d1"))[-2].closed_at
    assert began is not None
    await _trim(site, began)
    await _trim(site, cut, dry=True)
    assert (await view_of(site.archiver)).places["d1"].safe_since == began < cut
    faults.fail = {"delete": Crash()}
    with pytest.raises((Crash, BaseExceptionGroup)):
        await _trim(site, cut)
    await site.restart()
    assert (await view_of(site.archiver)).places["d1"].safe_since == cut


async def test_losses_that_go_while_others_are_told_are_counted_off(
    site: ArchivingSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: the trim lets go of the agent's own old losses, too; each later one still comes to the destination."""
    await site.begin()
    await site.shipped(site.segment())
    shipper, ledger, logs = site.shipper("d1"), site.archiver.ledger, site.logs("d1")
    await site.stop()
    old = [LossRecord(f"CommitLog-7-{number}.log", "", 1.0, 2.0, "old") for number in range(3)]
    young = [LossRecord(f"CommitLog-7-{number}.log", "", 1.0, 9e12, "young") for number in range(3, 5)]
    ledger.change(losses=(*old, young[0]), told={shipper.place: 3})
    put_loss = logs.put_loss

    async def trimmed_meanwhile(loss: LossRecord) -> None:
        await _trim(site, 1_000.0)
        await put_loss(loss)

    monkeypatch.setattr(logs, "put_loss", trimmed_meanwhile)
    await shipper._tell_losses(logs)
    assert (ledger.known.losses, ledger.known.told) == ((young[0],), {shipper.place: 1})
    ledger.change(losses=tuple(young))
    await shipper._tell_losses(logs)
    assert {one.after for one in await logs.losses()} == {one.after for one in young}


async def test_what_waits_on_the_node_is_spared(site: ArchivingSite) -> None:
    """Promise: a segment that is still on the node, and so may be on its way, stays in the destination too."""
    await site.begin(keep=True)
    names = [site.segment() for _ in range(3)]
    await site.until(lambda: all(site.has(name, "d1") for name in names))
    assert (await _trim(site, 9e12)).objects == 0
    assert len([one for one in await site.records("d1") if one.name in names]) == 3


async def test_a_damaged_record_is_a_gap_and_stops_no_trim(site: ArchivingSite) -> None:
    """Promise: of one that can't be read the segment counts as lost, by its name, and the others as ever; it goes with
    a later one, and stays with it. A damaged note of a loss counts as a loss."""
    await site.begin()
    names = [site.segment(b"row %d" % number) for number in range(6)]
    await site.shipped(*names)
    times = {one.name: one.closed_at for one in await site.records("d1")}
    objects = site.stores["d1"]._objects
    for name in (names[1], names[4]):
        (key,) = [key for key in objects if "/segments/" in key and name[12:-4] in key]
        objects[key] = b"damaged", objects[key][1]
    logs = StoredLogs(site.logs("d1"), None)  # type: ignore[arg-type]
    found = await logs.records()
    assert not {names[1], names[4]} & {one.name for one in found}
    told = gaps(found, await logs.losses())
    assert [(gap.after, gap.before) for gap in told] == [(names[0], names[2]), (names[3], names[5])]
    assert "damaged" in told[0].reason or "can't be read" in told[0].reason
    assert (await _trim(site, times[names[3]])).objects > 0
    listed = [one.name.segment.file_name for one in await site.logs("d1").listed()]
    assert listed == names[3:]
    await _trim(site, times[names[5]])
    left = [key for key in objects if key.startswith(log_data_prefix(CLUSTER, "h1"))]
    assert any(names[4][12:-4] in key for key in left)
    assert not any(names[3][12:-4] in key for key in left)
    await site.logs("d1").put_loss(LossRecord(names[3], names[5], 1.0, 9e12, "known"))
    (key,) = [key for key in objects if "/losses/" in key]
    objects[key] = b"damaged", objects[key][1]
    (loss,) = await site.logs("d1").losses()
    assert (loss.after, loss.before) == (names[3], "")
    assert (await _trim(site, 9e12)).objects > 0


async def test_the_log_of_a_node_that_left_is_freed_by_another_agent(site: ArchivingSite) -> None:
    """Promise: told so, the agent frees that node's log, and nothing of its own, also when another one adopted it
    before; of a member, up or down, it refuses."""
    site.host_id = "left"
    await site.begin()
    names = [site.segment(b"row %d" % number) for number in range(3)]
    await site.shipped(*names)
    site.host_id = "h1"
    site.archiver._next.clear()
    await site.until(lambda: site.archiver.ledger.known.host_id == "h1")
    site.log.now += 10
    site.log.start()
    own = site.segment(b"own")
    await site.shipped(own)
    for member in ("h1", "down"):
        with pytest.raises(AdoptionRefused, match="in the ring"):
            await _trim(site, 9e12, adopt=member)
    with pytest.raises(AdoptionRefused):
        await _trim(site, 9e12, None, adopt="left")
    adopted = Intents(site.logs("d1").opened, "left", OTHER, adopting=True)
    await adopted.adopt("other")
    would = await _trim(site, 9e12, adopt="left", dry=True)
    did = await _trim(site, 9e12, adopt="left")
    assert did.objects == would.objects >= 3
    await adopted.give_back()
    assert not [key for key in site.stores["d1"]._objects if "/left/" in key]
    assert own in [one.name for one in await site.records("d1")]


async def test_a_trim_on_the_node_waits_for_the_destinations(site: ArchivingSite) -> None:
    """Promise: logs on the server go when they are old enough and every destination has them, oldest first."""
    await site.begin(keep=True)
    names = [site.segment() for _ in range(3)]
    await site.until(lambda: all(site.has(name, "d1") for name in names))
    kept = {one.name: one for one in await site.archiver.kept.records()}
    assert set(names) <= set(kept)
    before = kept[names[1]].closed_at
    would = await _trim(site, before, None, dry=True)
    did = await _trim(site, before, None)
    assert did.objects == would.objects >= 1
    assert [path.name for path in sorted(site.archive.glob("CommitLog-*"))] == names[1:]
    later = [one.name for one in await site.archiver.kept.records()]
    assert later == names[1:]


async def test_a_kill_leaves_nothing_for_good(tmp_path: Path) -> None:
    """Promise: killed before any operation of the store, what is listed can be fetched, and the next trim frees the
    rest, also objects whose record is gone already."""
    faults = Faults()
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage(hook=faults)})
    try:
        await site.begin()
        names = [site.segment(b"row %d" % number) for number in range(4)]
        await site.shipped(*names)
        await site.stop()
        cut = next(one for one in await site.records("d1") if one.name == names[2]).closed_at
        whole = dict(site.stores["d1"]._objects)
        for at in range(1, 60):
            site.stores["d1"]._objects = dict(whole)
            faults.begin(at)
            with suppress(Crash, BaseExceptionGroup):
                await _trim(site, cut)
            ended = faults.count < at
            faults.begin(None)
            for record in await site.records("d1"):
                assert await site.content("d1", record, tmp_path / f"{at}")
            await _trim(site, cut)
            left = await site.records("d1")
            assert [one.name for one in left] == names[2:]
            assert gaps(left) == []
            prefix = log_data_prefix(CLUSTER, "h1")
            ids = {key.removeprefix(prefix)[:18] for key in site.stores["d1"]._objects if key.startswith(prefix)}
            assert ids == {f"{int(name[12:-4]):018}" for name in names[2:]}
            if ended:
                return
        pytest.fail("it never came to its end")
    finally:
        await site.stop()


async def test_another_agents_sweep_stops_it(site: ArchivingSite) -> None:
    """Promise: while another agent sweeps this node's prefix nothing is removed, and the error names it."""
    await site.begin()
    await site.shipped(site.segment())
    await Intents(site.logs("d1").opened, "h1", OTHER).sweep_mark("other")
    with pytest.raises(IntentForeign):
        await _trim(site, 9e12)
    assert await site.records("d1")
