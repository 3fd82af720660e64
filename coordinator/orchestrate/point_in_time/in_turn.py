"""Nodes that are started. In: what each is told. Out: how it ended for those that could not be.

A node that isn't a seed doesn't start while all seeds are down (Gossiper.doShadowRound, Cassandra 4.1 and 5.0): who
fails is told again once others are up, for as long as that helps.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import msgspec

from agent.wire.commands import Kind
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.run import Run

OnDone = Callable[[Answered], Awaitable[None]]


class InTurn:
    """Starts nodes of one request."""

    def __init__(self, run: Run, fan_out: FanOut) -> None:
        self._run = run
        self._fan_out = fan_out

    async def ask(
        self, phase: str, kind: Kind, arguments: Mapping[str, msgspec.Struct], done: OnDone, *, pause: float = 0.0
    ) -> dict[str, Answered]:
        """One node after the other, `pause` seconds apart; host id → end of those that failed. Raises
        `RequestCancelled` between two of them."""
        left, number = dict(arguments), 1
        while left:
            failed: dict[str, Answered] = {}
            for host_id, told in sorted(left.items()):
                if number > 1 or host_id != min(left):
                    await self._pause(pause)
                answers = await self._fan_out.ask(_numbered(phase, number), kind, {host_id: told})
                failed |= await self._taken(answers, done)
            if len(failed) == len(left):
                return failed
            left, number = {host_id: left[host_id] for host_id in failed}, number + 1
        return {}

    async def ask_at_once(
        self, phase: str, kind: Kind, arguments: Mapping[str, msgspec.Struct], done: OnDone
    ) -> dict[str, Answered]:
        """The same side by side and while undoing, when no cancel is looked at."""
        left, number = dict(arguments), 1
        while left:
            answers = await self._fan_out.ask(_numbered(phase, number), kind, left, undoing=True)
            failed = await self._taken(answers, done)
            if len(failed) == len(left) and number > 1:
                return failed
            left, number = {host_id: left[host_id] for host_id in failed}, number + 1
        return {}

    async def _taken(self, answers: Mapping[str, Answered], done: OnDone) -> dict[str, Answered]:
        for answer in answers.values():
            if answer.ok:
                await done(answer)
        return {host_id: answer for host_id, answer in answers.items() if not answer.ok}

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._run.cancelled.wait()
        self._run.stop_if_cancelled()


def _numbered(phase: str, number: int) -> str:
    return phase if number == 1 else f"{phase}-{number}"
