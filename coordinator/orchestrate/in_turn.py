"""A few nodes of a phase at a time. In: how many. Out: commands that wait for their turn, and say so."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager

from agent.wire.commands import State
from coordinator.model.commands import PostedCommand
from coordinator.orchestrate.side_by_side import unless


class InTurn:
    """`at_once`: so many, 0 = all. `waiting` learns of each command that waits: id → what for, as a sentence. Once it
    is time to `abandon` nobody waits any more. Commands that come in the same order in each life of the coordinator
    get their turns in it: those that an earlier life began are the first ones, so that it stays at so many."""

    def __init__(self, at_once: int, waiting: MutableMapping[str, str], abandon: asyncio.Event) -> None:
        self._turns = asyncio.Semaphore(at_once) if at_once else None
        self._why = f"waits for its turn: {at_once} of the nodes at a time"
        self._waiting = waiting
        self._abandon = abandon

    @asynccontextmanager
    async def of(self, command: PostedCommand) -> AsyncIterator[bool]:
        """Inside, it is the command's turn, who came first being first; False when it was abandoned before."""
        # Of what ended otherwise, in an earlier life of the coordinator, another attempt may follow.
        if self._turns is None or command.state in (State.SUCCESS, State.CANCELLED):
            yield True
            return
        taken: list[bool] = []

        async def take(turns: asyncio.Semaphore) -> None:
            await turns.acquire()
            taken.append(True)

        self._waiting[command.id] = self._why
        try:
            await unless(self._abandon, take(self._turns))
        finally:
            self._waiting.pop(command.id, None)
        try:
            yield bool(taken)
        finally:
            if taken:
                self._turns.release()
