"""A node is stopped and started by its agent, on either version: a restart, drained or not, and the phases that stop it
for a restore to a point in time and open it again. What lies between them is tried in `test_place_on_a_node.py`."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.cluster import places
from tests.real.point_in_time.stopping_node import StoppingNode

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[places.CASSANDRA_50, pytest.param(places.CASSANDRA_41, marks=pytest.mark.long)],
)
async def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StoppingNode]:
    """A node of 5.0, then one of 4.1."""
    async with StoppingNode(request.param, tmp_path_factory.mktemp("stopped")) as site:
        yield site


async def test_a_restart_ends_when_the_node_answers_again(site: StoppingNode) -> None:
    """Promise: another process of Cassandra answers by CQL, with what was written just before; drained when asked. One
    that is down is only started."""
    for number, drain in enumerate((False, True)):
        before = site.node.child.pid
        site.put("other", number)
        result = await site.do("restart", {"drain": drain})
        assert result["drained"] is drain
        assert result["seconds_down"] > 0
        assert site.node.child.pid != before
        assert number in site.rows("other")
        assert ("DRAINED" in site.node.log.read_text()) is drain
    await site.node.kill()
    status = await site.agent.ask("GET", "/v1/node")
    assert status["node"] is None
    assert status["last_known"]["address"] == site.node.address
    assert (await site.do("restart", {"drain": True}))["drained"] is False
    assert {0, 1} <= site.rows("other")


async def test_a_node_is_quiesced_stopped_started_and_opened(site: StoppingNode) -> None:
    """Promise: no client is let in from the first phase to the last; each phase sent again is a success; every setting
    is as it was; the asked table is what was placed (nothing here), and the other one has every write."""
    before = site.options
    site.put("asked", 1)
    site.put("other", 1)
    assert await site.do("pit_quiesce") == {"hints_left": {}, "warnings": []}
    assert "not running" in await site.node.nodetool("statusbinary")
    await site.do("pit_quiesce")
    for _ in range(2):
        await site.do("pit_stop")
        assert not site.node.alive
    assert (await site.end_of("pit_start"))["error"]["code"] == "not_placed"
    await site.fetched()
    await site.do("pit_place")
    for _ in range(2):
        await site.do("pit_start")
        assert "not running" in await site.node.nodetool("statusbinary")
    assert site.options != before
    await site.do("pit_verify")
    for _ in range(2):
        await site.do("pit_open")
        assert site.options == before
    assert site.rows("asked") == set()
    assert 1 in site.rows("other")
    await site.do("pit_clean")


async def test_a_node_that_lets_clients_in_is_not_stopped(site: StoppingNode) -> None:
    """Promise: what clients write after the hints were delivered would be lost: PIT_STOP refuses, and Cassandra goes
    on."""
    site.begin_job()
    assert (await site.end_of("pit_stop"))["error"]["code"] == "not_quiesced"
    await site.do("pit_quiesce")
    await site.node.nodetool("enablebinary")
    assert (await site.end_of("pit_stop"))["error"]["code"] == "native_transport_not_switched"
    assert site.node.alive
    site.put("other", 2)
