"""The phases that close a node to clients, start it and open it again, with scripts that stand in for Cassandra. Real
nodes: tests/real/point_in_time."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from agent.cassandra.jvm_options import KEEP_DOWN, JvmOptions
from agent.cassandra.protocol import MemberState
from agent.cassandra.service_errors import KeptDown, NativeTransportNot, ServiceNotConfigured
from agent.jobs.archiving.errors import ArchiveUnread
from agent.jobs.point_in_time.open import PitOpenJob
from agent.jobs.point_in_time.phases import stopping_jobs
from agent.jobs.point_in_time.place import PitPlaceJob
from agent.jobs.point_in_time.place_errors import BeingUndone, NotPlaced, NotVerified, RestoreOpened
from agent.jobs.point_in_time.point_errors import SettingsNotWritable, TooManyTables
from agent.jobs.point_in_time.quiesce import PitQuiesceJob
from agent.jobs.point_in_time.start import PitStartJob
from agent.jobs.point_in_time.start_settings import NO_CLIENTS
from agent.jobs.point_in_time.undo import PitUndoJob
from agent.wire.commands import Kind
from agent.wire.point_in_time import PitQuiesceResult, PitVerifyResult
from tests.fast.point_in_time.scripted_site import Site

A, B = MemberState(True, "NORMAL"), MemberState(False, "NORMAL")
HOST, GONE = "f07c0f1d-962d-4981-b44f-35682d1a3fe8", "99999999-6c0f-4d7b-9d3c-5f6f0a1f2c33"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.launched.end()


async def test_hints_for_nodes_that_are_down_are_told_and_not_waited_for(site: Site) -> None:
    """Promise: what can't be delivered is named with its bytes; one that left the ring by its host id."""
    await site.up_and_shut()
    site.members = {"127.0.0.1": A, "127.0.0.2": B}
    await site.disk.notes.put_facts(msgspec.structs.replace(site.disk.facts, members={HOST: "127.0.0.2"}))
    for name, size in ((f"{HOST}-17-2.hints", 1_000), (f"{HOST}-18-2.hints", 500), (f"{GONE}-17-2.hints", 7)):
        (site.disk.hints / name).write_bytes(bytes(size))
    result: PitQuiesceResult = await site.run(PitQuiesceJob)
    assert result.hints_left == {"127.0.0.2": 1_500, GONE: 7}
    assert "127.0.0.2 (1,500 bytes)" in result.warnings[0]
    assert "replaybatchlog" in site.launched.calls


async def test_hints_in_the_open_file_are_waited_for(site: Site) -> None:
    """Promise: a file for a node that is up is one of its hints, closed or not, and QUIESCE ends when it is gone."""
    await site.up_and_shut()
    site.members = {"127.0.0.1": A, "127.0.0.2": A}
    await site.disk.notes.put_facts(msgspec.structs.replace(site.disk.facts, members={HOST: "127.0.0.2"}))
    file = site.disk.hints / f"{HOST}-17-2.hints"
    file.write_bytes(b"hints")
    context, told = site.disk.context(), []

    def waiting(error: object) -> None:
        told.append(error)
        file.unlink(missing_ok=True)  # delivered, as soon as it is waited for

    context.waiting = waiting
    result = (await PitQuiesceJob(site.tools).run(context)).result
    assert result == PitQuiesceResult({})
    assert told


async def test_a_node_that_could_not_be_started_again_is_not_quiesced(site: Site) -> None:
    """Promise: what a later phase needs of the settings is asked for before clients are shut out, and before a node
    that is down is started."""
    await site.disk.prepare()
    await site.disk.notes.forget_drained()
    site.node.jvm = JvmOptions(None)
    with pytest.raises(ServiceNotConfigured):
        await site.run(PitQuiesceJob)
    assert not site.launched.calls


async def test_a_node_that_ended_meanwhile_is_started_without_clients(site: Site) -> None:
    """Promise: one that had shut its clients out and went down replays its own log, lets nobody in, and is quiesced;
    an undo takes what it was told away again."""
    await site.disk.prepare()
    await site.disk.notes.forget_drained()
    site.launched.say(binary="not running")
    await site.run(PitQuiesceJob)
    assert "start" in site.launched.calls
    assert NO_CLIENTS in site.options.read_text()
    assert "replaybatchlog" in site.launched.calls
    await site.run(PitUndoJob)
    assert site.options.read_text() == ""
    assert await site.launched.orders.native_running()


async def test_one_that_its_service_manager_starts_is_waited_for(site: Site) -> None:
    """Promise: a Cassandra that ended and is up again, but not yet NORMAL, is waited for by PIT_OPEN: nobody has to
    send the restore again."""
    await site.placed()
    await site.run(PitStartJob)
    await site.disk.notes.put_verified(PitVerifyResult(1, 1, [], []))
    site.launched.say(binary="not running", mode="STARTING")
    site.launched.set("fails")  # nodetool, while Cassandra comes up

    async def comes_up() -> None:
        await asyncio.sleep(0.5)
        site.launched.mend("fails")
        site.launched.say(mode="NORMAL")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(comes_up())
        await site.run(PitOpenJob)
    assert await site.launched.orders.native_running()


async def test_no_client_is_shut_out_while_the_log_has_no_place_to_go(site: Site) -> None:
    """Promise: what PIT_PLACE could not archive is refused while the node serves, and of one that is down already
    before the point of no return; a job that has begun to place goes on."""

    async def refuses() -> None:
        raise ArchiveUnread("its volume is away")

    jobs = stopping_jobs(site.tools, refuses)
    await site.up_and_shut()
    site.launched.say(binary="running")
    with pytest.raises(ArchiveUnread):
        await jobs[Kind.PIT_QUIESCE](site.disk.context())
    assert "disablebinary" not in site.launched.calls
    await site.launched.service.stop()
    with pytest.raises(ArchiveUnread):
        await jobs[Kind.PIT_STOP](site.disk.context())
    await site.run(PitPlaceJob)
    await jobs[Kind.PIT_STOP](site.disk.context())


async def test_nothing_is_started_that_is_not_placed(site: Site) -> None:
    """Promise: neither before PIT_PLACE nor once it is being undone; and nothing is opened that was not started."""
    for job in (PitStartJob, PitOpenJob):
        with pytest.raises(NotPlaced):
            await site.run(job)
    await site.placed()
    with pytest.raises(NotPlaced):
        await site.run(PitOpenJob)
    await site.disk.notes.put_undoing()
    for job in (PitStartJob, PitOpenJob):
        with pytest.raises(BeingUndone):
            await site.run(job)
    assert "start" not in site.launched.calls


async def test_that_clients_are_let_in_is_noted_before(site: Site) -> None:
    """Promise: once one may have written nothing is undone, also when the agent never learned whether the order came
    through; the same order again opens the node, and the settings are its own. Down again before the others are open,
    it is started with them, unless another restore keeps it down, and the same order opens it once more."""
    await site.placed()
    await site.run(PitStartJob)
    assert not await site.disk.notes.is_drained()
    site.launched.say(binary="not running")
    with pytest.raises(NotVerified):
        await site.run(PitOpenJob)
    assert not await site.disk.notes.opened()
    await site.disk.notes.put_verified(PitVerifyResult(1, 1, [], []))
    site.launched.set("shut")
    with pytest.raises(NativeTransportNot):
        await site.run(PitOpenJob)
    assert await site.disk.notes.opened()
    site.launched.mend("shut")
    await site.run(PitOpenJob)
    assert await site.launched.orders.native_running()
    assert site.options.read_text() == ""
    with pytest.raises(RestoreOpened):
        await site.run(PitUndoJob)
    await site.launched.service.stop()
    other = JvmOptions(site.options)
    await other.put("job-2", [KEEP_DOWN])
    with pytest.raises(KeptDown):
        await site.run(PitStartJob)
    await other.remove("job-2")
    await site.run(PitStartJob)
    assert await site.launched.service.alive()
    assert site.options.read_text() == ""
    await site.run(PitOpenJob)


async def test_what_an_undo_waits_for_is_shown(site: Site) -> None:
    """Promise: a person sees that Cassandra is waited for, and may end the wait."""
    await site.placed()
    await site.launched.service.start()
    told: list[object] = []
    context = site.disk.context()
    context.waiting = told.append
    await PitUndoJob(site.tools).run(context)
    assert told


async def test_what_would_fail_after_the_stop_is_tried_before_it(site: Site) -> None:
    """Promise: files that the agent may not replace, and more tables than fit into an option, are told before a client
    is shut out."""
    await site.up_and_shut()
    options = site.disk.properties.parent / "gone" / "jvm-server.options"
    site.node.jvm, good = JvmOptions(options), site.node.jvm
    with pytest.raises(SettingsNotWritable) as raised:
        await site.run(PitQuiesceJob)
    assert raised.value.fields["path"] == str(options)
    site.node.jvm = good
    site.tools = replace(site.tools, properties_file=options)
    with pytest.raises(SettingsNotWritable):
        await site.run(PitQuiesceJob)
    site.tools = replace(site.tools, properties_file=site.disk.properties)
    asked, names = site.disk.arguments, [f"{'t' * 40}_{number}" for number in range(3_000)]
    site.disk.arguments = msgspec.structs.replace(asked, tables={"shop": names})
    with pytest.raises(TooManyTables):
        await site.run(PitQuiesceJob)
    assert "disablebinary" not in site.launched.calls
    site.disk.arguments = asked
    await site.run(PitQuiesceJob)
    assert [path.name for path in site.disk.properties.parent.iterdir()] == [site.disk.properties.name]


async def test_what_was_noted_of_the_node_stands_once_files_are_set_aside(site: Site) -> None:
    """Promise: an undo goes by the directories of then, also when clients were let in again by somebody."""
    await site.placed()
    await site.launched.service.start()
    site.launched.say(binary="running")
    await site.run(PitQuiesceJob)
    assert await site.disk.notes.facts() == site.disk.facts
