"""Cassandra is stopped, started and waited for; what goes wrong is told with what a person needs. Real nodes:
tests/real/point_in_time."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.cassandra.errors import ControlOfAnotherNode
from agent.cassandra.process import is_node
from agent.cassandra.service_errors import (
    CassandraNotStarted,
    CassandraNotStopped,
    DrainFailed,
    NativeTransportNot,
    ServiceNotConfigured,
    ServiceOrderFailed,
    WaitGivenUp,
)
from agent.cassandra.waits import NOBODY, Watch, until
from tests.fast.cassandra.launched import Launched


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Launched]:
    """One that is down."""
    made = Launched(tmp_path)
    yield made
    made.end()


async def reached(holds: Callable[[], bool]) -> None:
    async def look() -> bool:
        return holds()

    assert await until(look, 30.0, NOBODY, every=0.01)


async def test_it_is_started_once_and_stopped_once(node: Launched) -> None:
    """Promise: a start of what runs waits for it alone, a stop of what is gone does nothing; both tell what they wait
    for, and that they don't any more."""
    told: list[dict[str, Any] | None] = []
    assert not await node.service.alive()
    for _ in range(2):
        await node.service.start(Watch(told.append))
        assert await node.service.pids() == node.pids
    for _ in range(2):
        await node.service.stop(Watch(told.append))
        assert not await node.service.alive()
    assert [call for call in node.calls if call in ("start", "stop")] == ["start", "stop"]
    codes = [None if error is None else error["code"] for error in told]
    assert codes[0] == "waiting_for_cassandra"
    sentences = [str(error["message"]) for error in told if error is not None]
    assert all(sentence.startswith("waits for ") for sentence in sentences), sentences  # they go behind the phase
    assert codes[-1] is None


async def test_a_drained_one_is_started_anew(node: Launched) -> None:
    """Promise: a drained Cassandra is of no use, and never waited for as if it came up."""
    await node.service.start()
    node.say(mode="DRAINED")
    starting = asyncio.create_task(node.service.start())
    await reached(lambda: node.calls.count("start") == 2)
    node.say(mode="NORMAL")
    await starting
    assert await node.service.pids() == node.pids[-1:]


async def test_one_whose_drain_goes_on_is_started_anew(node: Launched) -> None:
    """Promise: a drain that outlived its order ends in a Cassandra that serves again, not in a wait for one that never
    will."""
    await node.service.start()
    node.say(mode="DRAINING")
    starting = asyncio.create_task(node.service.start())
    await reached(lambda: node.calls.count("netstats") >= 3)
    node.say(mode="DRAINED")
    await reached(lambda: node.calls.count("start") == 2)
    node.say(mode="NORMAL")
    await starting
    assert await node.service.pids() == node.pids[-1:]


async def test_without_commands_nothing_is_stopped_or_started(tmp_path: Path) -> None:
    """Promise: the setting that is missing is named."""
    node = Launched(tmp_path, start=(), stop=())
    for order, setting in ((node.service.stop, "stop"), (node.service.start, "stop")):
        with pytest.raises(ServiceNotConfigured) as refused:
            await order()
        assert refused.value.fields["setting"] == f"cassandra.service.{setting}"
    node.end()


async def test_a_command_that_fails_is_told_with_its_output(node: Launched) -> None:
    """Promise: what the service manager said, and the end of Cassandra's log."""
    node.set("broken")
    with pytest.raises(ServiceOrderFailed) as failed:
        await node.service.start()
    assert failed.value.fields["exit"] == 5
    assert "no such unit" in str(failed.value.fields["output"])
    assert str(failed.value.fields["log"]).endswith("the last line")


async def test_one_that_ends_as_it_starts_is_told_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: nobody waits for hours for a process that is gone."""
    monkeypatch.setattr("agent.cassandra.service._GONE_SECONDS", 0.3)
    node = Launched(tmp_path, life=0.2)
    node.say(mode="STARTING")
    with pytest.raises(CassandraNotStarted) as failed:
        await node.service.start()
    assert "its process ended" in failed.value.message
    assert str(failed.value.fields["log"]).endswith("the last line")
    node.end()


async def test_each_wait_has_an_end(tmp_path: Path) -> None:
    """Promise: of a start that never becomes NORMAL, and of a stop that nobody hears."""
    node = Launched(tmp_path, start_seconds=0.3, stop_seconds=0.3)
    node.say(mode="JOINING")
    with pytest.raises(CassandraNotStarted) as slow:
        await node.service.start()
    assert slow.value.fields["mode"] in (None, "JOINING")
    node.set("deaf")
    with pytest.raises(CassandraNotStopped) as deaf:
        await node.service.stop()
    assert deaf.value.fields["pids"] == node.pids
    node.end()


async def test_a_person_may_end_a_wait(node: Launched) -> None:
    """Promise: the command ends and says so; Cassandra goes on."""
    node.say(mode="STARTING")
    given_up = asyncio.Event()
    starting = asyncio.create_task(node.service.start(Watch(given_up=given_up.is_set)))
    await reached(lambda: "start" in node.calls and node.started)
    given_up.set()
    with pytest.raises(WaitGivenUp):
        await starting
    assert await node.service.alive()


async def test_what_starts_or_ends_is_waited_for(node: Launched) -> None:
    """Promise: the mode once there is one, or that the process is gone."""
    assert await node.service.settled() is None
    node.say(mode="STARTING")
    starting = asyncio.create_task(node.service.start())
    assert await until(node.service.alive, 30.0, NOBODY, every=0.01)
    settling = asyncio.create_task(node.service.settled())
    await asyncio.sleep(0.1)
    assert not settling.done()
    node.say(mode="NORMAL")
    await starting
    assert await settling == "NORMAL"


async def test_a_drain_is_believed_when_the_node_says_so(node: Launched) -> None:
    """Promise: nodetool's exit code is not enough; one that is drained is not drained again."""
    await node.orders.drain(10.0)
    await node.orders.drain(10.0)
    assert node.calls.count("drain") == 1
    node.say(mode="NORMAL")
    script = node.directory / "nodetool"
    script.write_text(script.read_text().replace("drain) echo DRAINED", "drain) echo DRAINING"))
    with pytest.raises(DrainFailed) as failed:
        await node.orders.drain(10.0)
    assert failed.value.fields["mode"] == "DRAINING"


async def test_native_transport_is_switched_and_looked_at(node: Launched) -> None:
    """Promise: one that says yes and does nothing is told."""
    await node.orders.disable_native()
    assert not await node.orders.native_running()
    await node.orders.enable_native()
    assert await node.orders.native_running()
    await node.orders.disable_native()
    node.set("shut")
    with pytest.raises(NativeTransportNot):
        await node.orders.enable_native()


async def test_orders_to_another_node_are_refused(node: Launched) -> None:
    """Promise: with both host ids, before anything is ordered."""
    await node.orders.prove()
    other = "0e0b4a52-6c0f-4d7b-9d3c-5f6f0a1f2c33"
    node.say(host_id=other)
    with pytest.raises(ControlOfAnotherNode) as refused:
        await node.orders.prove()
    assert refused.value.fields["other_host_id"] == other


@pytest.mark.parametrize(
    ("command", "ours"),
    [
        ("java\0-Dcassandra.jmx.local.port=7199\0org.apache.cassandra.service.CassandraDaemon\0", True),
        ("java\0-Dcassandra.jmx.remote.port=7199\0org.apache.cassandra.service.CassandraDaemon\0", True),
        ("java\0-Dcassandra.jmx.local.port=7299\0org.apache.cassandra.service.CassandraDaemon\0", False),
        ("java\0org.apache.cassandra.service.CassandraDaemon\0", True),
        ("java\0-Dx=a.CassandraDaemon\0org.apache.cassandra.tools.NodeTool\0", False),
        ("grep\0CassandraDaemon\0", False),
        ("", False),
    ],
)
def test_a_process_is_the_nodes_by_its_command_line(command: str, *, ours: bool) -> None:
    """Promise: of several on a machine by the JMX port; one that names none counts, for files are moved only when there
    is surely none."""
    assert is_node(command.encode(), 7199) is ours
