"""An agent is asked one thing at a time, however many want to know: reports are large, and a hung agent is slow."""

import asyncio

import pytest

from coordinator.fleet.asking import Asking
from kit.errors import HelenusError


class Agent:
    """Answers one call for each `answer`. `begun`, `ended`: how many calls so far; `most`: side by side."""

    def __init__(self) -> None:
        self.begun = self.ended = self.most = 0
        self._turns = asyncio.Semaphore(0)
        self.error: Exception | None = None
        self.asking = Asking(self._call)

    def ask(self, *, fresh: bool) -> "asyncio.Task[None]":
        return asyncio.create_task(self.asking.done(fresh=fresh))

    async def answer(self) -> None:
        """Let a call end, and whoever waits for it go on."""
        self._turns.release()
        await settle()

    async def _call(self) -> None:
        self.begun += 1
        self.most = max(self.most, self.begun - self.ended)
        try:
            await self._turns.acquire()
            if self.error is not None:
                raise self.error
        finally:
            self.ended += 1


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_wants_to_know_how_it_is_now_gets_an_answer_that_was_begun_since() -> None:
    """All who come while a call is under way share the next one; none of them is given the older one's answer."""
    agent = Agent()
    first = agent.ask(fresh=True)
    await settle()
    later = [agent.ask(fresh=True) for _ in range(50)]
    await settle()
    assert agent.begun == 1
    await agent.answer()
    assert first.done()
    assert not any(each.done() for each in later)
    await agent.answer()
    assert all(each.done() for each in later)
    assert (agent.begun, agent.most) == (2, 1)
    again = agent.ask(fresh=True)
    await settle()
    assert (agent.begun, again.done()) == (3, False)
    await agent.answer()
    assert again.done()


async def test_who_takes_an_older_answer_waits_for_the_call_that_is_under_way() -> None:
    """No second one is made for it."""
    agent = Agent()
    several = [agent.ask(fresh=False) for _ in range(3)]
    await settle()
    await agent.answer()
    assert all(each.done() for each in several)
    assert agent.begun == 1


async def test_a_call_goes_on_for_the_others_when_one_goes_away() -> None:
    """Who asked first may be a person who closed the connection."""
    agent = Agent()
    first, second = agent.ask(fresh=False), agent.ask(fresh=False)
    await settle()
    first.cancel()
    await settle()
    assert not second.done()
    await agent.answer()
    await second
    assert agent.begun == 1


async def test_an_unforeseen_error_reaches_everybody_and_the_next_call_is_made() -> None:
    """None of those who wait takes it for an answer."""
    agent = Agent()
    agent.error = HelenusError("unforeseen")
    several = [agent.ask(fresh=False) for _ in range(2)]
    await settle()
    await agent.answer()
    for each in several:
        with pytest.raises(HelenusError, match="unforeseen"):
            await each
    agent.error = None
    once_more = agent.ask(fresh=False)
    await settle()
    await agent.answer()
    await once_more


async def test_closing_breaks_off_what_is_under_way() -> None:
    """An agent that hangs doesn't hold up the end."""
    agent = Agent()
    asked = agent.ask(fresh=True)
    await settle()
    await agent.asking.close()
    assert agent.ended == 1
    with pytest.raises(asyncio.CancelledError):
        await asked
