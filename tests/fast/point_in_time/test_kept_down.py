"""A node whose files are exchanged is not started meanwhile, whoever tries; scripts stand in for its Cassandra."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agent.cassandra.jvm_options import KEEP_DOWN, REPLAY_LIST, JvmOptions
from agent.cassandra.service_errors import KeptDown, ServiceOrderFailed
from agent.jobs.point_in_time.open import PitOpenJob
from agent.jobs.point_in_time.place import PitPlaceJob
from agent.jobs.point_in_time.place_errors import NotDrained, RestoreOpened
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.jobs.point_in_time.quiesce import PitQuiesceJob
from agent.jobs.point_in_time.start import PitStartJob
from agent.jobs.point_in_time.start_settings import NO_CLIENTS
from agent.jobs.point_in_time.stop import PitStopJob
from agent.jobs.point_in_time.undo import PitUndoJob
from agent.jobs.restart import RestartJob, nothing
from agent.wire.archiving import RestartArguments
from agent.wire.point_in_time import PitVerifyResult
from agent.wire.results import PhaseResult
from tests.fast.point_in_time.node_on_disk import JOB
from tests.fast.point_in_time.scripted_site import Site
from tests.fast.restore.context import Context


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.launched.end()


def lines(site: Site) -> list[str]:
    """The JVM options that Cassandra's next start takes, the marks apart."""
    return [line for line in site.options.read_text().splitlines() if not line.startswith("#")]


async def stop(site: Site) -> PhaseResult:
    result = (await PitStopJob(site.tools, nothing).run(site.disk.context())).result
    assert isinstance(result, PhaseResult)
    return result


async def test_nobody_starts_a_node_from_its_drain_to_pit_start(site: Site) -> None:
    """Promise: the option is there before the drain, is still there when all is placed, and goes for the start that
    replays; a restart says why it refuses, until clients are let in: it would wait for a node that answers by CQL."""
    await site.up_and_shut()
    assert (await stop(site)).done == ["drained", "stopped"]
    assert lines(site) == [KEEP_DOWN]
    assert site.launched.calls.index("drain") < site.launched.calls.index("stop")
    with pytest.raises(KeptDown) as raised:
        await JvmOptions(site.options).refuse_kept_down()
    assert raised.value.fields["jobs"] == [JOB]
    await site.run(PitPlaceJob)
    assert lines(site) == [KEEP_DOWN]
    site.launched.say(mode="NORMAL")
    await site.run(PitStartJob)
    assert lines(site) == ["-Dcassandra.start_native_transport=false"]
    with pytest.raises(KeptDown):
        await RestartJob(site.tools.node, nothing).run(Context(RestartArguments()))
    assert await site.launched.service.alive()


async def test_a_node_that_is_down_already_is_kept_down(site: Site) -> None:
    """Promise: also where nothing is left to do, and where the process went by itself, whose service manager might
    start it again."""
    await site.disk.prepare()
    assert (await stop(site)).done == ["stopped"]
    assert lines(site) == [KEEP_DOWN]
    await site.launched.service.keep_down()  # its order fails, for nothing was ever started
    assert "stop" in site.launched.calls


class StartedJustBefore(JvmOptions):
    """Somebody starts Cassandra after it was seen down, and before the option with which nobody does is in place."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.options)
        self._site = site

    async def put(self, job: str, lines: Sequence[str]) -> None:
        if not self._site.launched.started:
            await self._site.start()
        await super().put(job, lines)


async def test_a_node_that_was_started_just_before_it_is_kept_down_is_drained(site: Site) -> None:
    """Promise: it is looked once more when nobody can start it any more; else a node that runs counts as stopped, and
    writes that it takes are in a log that is moved away."""
    await site.disk.prepare()
    site.launched.say(binary="not running")
    site.tools = replace(site.tools, jvm=StartedJustBefore(site))
    assert (await stop(site)).done == ["drained", "stopped"]
    assert lines(site) == [KEEP_DOWN]
    assert not await site.launched.service.alive()


async def test_nobody_but_its_job_starts_what_replays_for_some_tables_alone(site: Site) -> None:
    """Promise: after a PIT_START that failed neither a restart nor another restore starts the node, whose own log would
    be dropped; that one's undo, which found it so, lets it be, and ends."""
    await site.placed()
    site.launched.set("broken")
    with pytest.raises(ServiceOrderFailed):
        await site.run(PitStartJob)
    assert lines(site)[0].startswith(REPLAY_LIST)
    site.launched.mend("broken")
    starts = site.launched.calls.count("start")
    with pytest.raises(KeptDown):
        await RestartJob(site.tools.node, nothing).run(Context(RestartArguments()))
    other = Context(site.disk.arguments, "job-2")
    with pytest.raises(KeptDown):
        await PitQuiesceJob(site.tools).run(other)
    await PlaceNotes(site.tools.state, "job-2").put_facts(site.disk.facts)
    with pytest.raises(KeptDown):
        await PitStopJob(site.tools, nothing).run(other)
    result = (await PitUndoJob(site.tools).run(other)).result
    assert isinstance(result, PhaseResult)
    assert JOB in result.warnings[0]
    assert site.launched.calls.count("start") == starts
    assert KEEP_DOWN not in lines(site)
    await site.run(PitStartJob)


async def test_an_older_job_does_nothing_to_a_node_that_a_later_one_keeps(site: Site) -> None:
    """Promise: gone on with, it moves no file, starts nothing and lets no client in to what the later one hasn't
    verified; once that one's lines are gone it ends."""
    await site.disk.prepare()
    later, before = JvmOptions(site.options), site.disk.tree()

    async def refused(job: type[PitPlaceJob | PitStartJob | PitOpenJob]) -> None:
        await later.put("job-2", [NO_CLIENTS])
        with pytest.raises(KeptDown) as raised:
            await site.run(job)
        assert raised.value.fields["jobs"] == ["job-2"]
        await later.remove("job-2")

    await refused(PitPlaceJob)
    assert site.disk.tree() == before
    await site.run(PitPlaceJob)
    await refused(PitStartJob)
    assert "start" not in site.launched.calls
    await site.run(PitStartJob)
    await site.disk.notes.put_verified(PitVerifyResult(1, 1, [], []))
    site.launched.say(binary="not running")
    await refused(PitOpenJob)
    assert not await site.disk.notes.opened()
    assert not await site.launched.orders.native_running()
    await site.run(PitOpenJob)
    assert lines(site) == []


async def test_a_start_while_the_log_was_archived_is_seen_before_the_first_rename(site: Site) -> None:
    """Promise: archiving takes a while; a segment more after it, and nothing is set aside."""
    await site.disk.prepare()
    before = site.disk.tree()
    new = site.disk.commitlog / "CommitLog-7-90.log"

    async def archive(path: Path) -> None:
        new.write_bytes(b"acknowledged meanwhile")

    site.tools = replace(site.tools, archive=archive)
    with pytest.raises(NotDrained):
        await site.run(PitPlaceJob)
    new.unlink()
    assert site.disk.tree() == before


async def test_clients_that_somebody_else_let_in_are_not_undone(site: Site) -> None:
    """Promise: what they may have written stays; the undo says so, and stops nothing. Shut out again it goes on."""
    await site.placed()
    await site.run(PitStartJob)
    site.launched.say(binary="running")
    with pytest.raises(RestoreOpened):
        await site.run(PitUndoJob)
    assert "stop" not in site.launched.calls
    site.launched.say(binary="not running")
    await site.run(PitUndoJob)
    assert lines(site) == []
