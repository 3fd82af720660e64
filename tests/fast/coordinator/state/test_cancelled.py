"""A question to Cassandra whose asker is cancelled just when the answer comes."""

import asyncio

import pytest
from cassandra.cluster import NoHostAvailable

from coordinator.model.settings import StateSettings
from coordinator.store.cassandra.driver import Driver


async def test_a_cancel_is_not_lost_to_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: told to end in the moment when an attempt fails, a coordinator ends, instead of trying on for ever."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[None] = loop.create_future()
    monkeypatch.setattr(loop, "run_in_executor", lambda *_: answer)
    driver = Driver(StateSettings(kind="cassandra", contact_points=["127.0.0.1"]), None, None)
    asking = asyncio.create_task(driver.connect())
    await asyncio.sleep(0)
    answer.set_exception(NoHostAvailable("Unable to connect to any servers", {}))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
