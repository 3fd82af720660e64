"""Turns of nodes over a restart: also who has ended badly before, and tries again, takes one."""

import asyncio

import pytest

from agent.wire.commands import Kind, State
from coordinator.model.commands import PostedCommand
from coordinator.orchestrate.in_turn import InTurn


def command(name: str, state: State) -> PostedCommand:
    """One of a node's, as an earlier life of the coordinator left it."""
    return PostedCommand(name, "r", "", name, name, "upload", Kind.UPLOAD, {}, 0, 0.0, state=state)


@pytest.mark.parametrize(
    ("state", "most"),
    [(State.FAILED, 1), (State.INTERRUPTED, 1), (State.QUEUED, 1), (State.SUCCESS, 3), (State.CANCELLED, 3)],
)
async def test_whoever_may_go_on_takes_a_turn(state: State, most: int) -> None:
    """Promise: `uploads_at_once` holds over a restart also while first attempts that failed are followed by others;
    what needs nothing more waits for nobody."""
    turns, inside, seen = InTurn(1, {}, asyncio.Event()), 0, 0

    async def one(name: str) -> None:
        nonlocal inside, seen
        async with turns.of(command(name, state)) as came:
            assert came
            inside += 1
            seen = max(seen, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.gather(*(one(name) for name in "abc"))
    assert seen == most
