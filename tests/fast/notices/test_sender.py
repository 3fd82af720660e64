"""A hook is told everything at least once and in order, over failures, restarts and clocks, and holds up no other."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pytest

from coordinator.model.notices import HookState, Notice, Waiting
from coordinator.notices.errors import WebhookFailed, WebhookGone
from coordinator.notices.sender import PACE, Pace, Sender, pause
from coordinator.store.sqlite import SqliteStore
from tests.cluster.toy_coordinator import DEADLINE
from tests.fast.notices.given import NOW, notice

QUICK = Pace(first=0.01, longest=0.05, give_up=1_000.0, least_tries=3, idle=0.05, store=0.01)


class Receiver:
    """Takes what it is told, but for what is in `answers`: errors, in order."""

    def __init__(self, answers: Sequence[Exception | None] = ()) -> None:
        self.answers = list(answers)
        self.taken: list[str] = []
        self.tries: list[str] = []
        self.away: Exception | None = None

    async def tell(self, told: Notice) -> None:
        self.tries.append(told.id)
        answer = self.answers.pop(0) if self.answers else self.away
        if answer is not None:
            raise answer
        self.taken.append(told.id)

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not true():  # noqa: ASYNC110 - plain lists
                await asyncio.sleep(0.002)

    async def until_tried(self, count: int, store: SqliteStore) -> Waiting:
        """What waits first, once it is noted that it was tried so often."""
        async with asyncio.timeout(DEADLINE):
            while True:
                first = await store.outbox.first("ops")
                assert first is not None
                if first.tries == count:
                    return first
                await asyncio.sleep(0.002)


def failed() -> WebhookFailed:
    return WebhookFailed("it answered 500")


def sender(store: SqliteStore, receiver: Receiver, clock: Callable[[], float] = lambda: NOW, **changes: Any) -> Sender:
    pace = msgspec.structs.replace(QUICK, **changes)
    return Sender(HookState("ops", "hooks.example.com", []), store.outbox, receiver.tell, clock, pace, lambda: 1.0)


@asynccontextmanager
async def sending(made: Sender) -> AsyncIterator[Sender]:
    task = asyncio.create_task(made.keep_on())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def put(store: SqliteStore, *names: str, at: float = NOW) -> None:
    await store.outbox.put([Waiting("ops", notice(name), at) for name in names])


def ticking(step: float = 0.02) -> Callable[[], float]:
    """A clock that goes on a little each time it is looked at: no test waits for a real one."""
    times = itertools.count()
    return lambda: NOW + next(times) * step


async def test_one_that_is_refused_is_tried_again_and_those_behind_it_wait(store: SqliteStore) -> None:
    """Promise: in order, each until it was taken, and what is counted is what was."""
    receiver = Receiver([None, failed(), failed(), None, failed()])
    await put(store, "a", "b", "c")
    async with sending(sender(store, receiver, ticking())) as made:
        await receiver.until(lambda: len(receiver.taken) == 3)
        await receiver.until(lambda: made.state.told == 3)
    assert receiver.taken == ["a", "b", "c"]
    assert receiver.tries == ["a", "b", "b", "b", "c", "c"]
    assert (made.state.failed, made.state.last_error, made.state.dropped) == (3, "", 0)
    assert made.state.last_told is not None


async def test_what_comes_later_is_told_when_it_is_put(store: SqliteStore) -> None:
    """Promise: an idle sender is woken, not asked for at intervals."""
    receiver = Receiver()
    async with sending(sender(store, receiver, idle=3_600.0)) as made:
        await asyncio.sleep(0)
        await put(store, "a")
        made.wake()
        await receiver.until(lambda: receiver.taken == ["a"])


async def test_the_next_try_outlives_a_restart(store: SqliteStore) -> None:
    """Promise: how often it was tried, and when it is tried again, is durable: a coordinator that starts again and
    again doesn't ask a receiver that is away each time."""
    receiver = Receiver()
    receiver.away = failed()
    await put(store, "a")
    long = {"first": 100.0, "longest": 5_000.0}
    for tries, now, until in ((1, NOW, NOW + 100), (2, NOW + 100, NOW + 300), (3, NOW + 300, NOW + 700)):
        async with sending(sender(store, receiver, partial(float, now), **long)):
            kept = await receiver.until_tried(tries, store)
        assert kept.next_try == until
        async with sending(sender(store, receiver, partial(float, now + 1), **long)):
            await asyncio.sleep(0.05)
        assert len(receiver.tries) == tries


def test_the_pauses_grow_and_differ() -> None:
    """Promise: from 5 s, doubled up to an hour, at least half of it: no crowd comes at the same second."""
    for chance, share in ((0.0, 0.5), (1.0, 1.0)):
        pauses = [pause(PACE, tries, chance) for tries in (*range(12), 10**9)]
        assert pauses[:3] == [5.0 * share, 10.0 * share, 20.0 * share]
        assert pauses[-2:] == [3_600.0 * share] * 2


async def test_one_that_waited_too_long_is_dropped_and_the_next_one_told(store: SqliteStore) -> None:
    """Promise: after its age and enough tries, not before; it is counted, and the order of the others holds."""
    receiver = Receiver([failed(), failed(), failed(), None])
    await put(store, "old", at=NOW - 2_000)
    await put(store, "new")
    async with sending(sender(store, receiver, ticking())) as made:
        await receiver.until(lambda: receiver.taken == ["new"])
        await receiver.until(lambda: made.state.told == 1)
    assert receiver.tries == ["old", "old", "old", "new"]
    assert made.state.dropped == 1
    assert await store.outbox.first("ops") is None


async def test_410_ends_it_until_the_next_start(store: SqliteStore) -> None:
    """Promise: nothing more is sent, nothing is lost: the next start tells what waits."""
    receiver = Receiver([WebhookGone("it answered 410")])
    await put(store, "a", "b")
    made = sender(store, receiver)
    async with asyncio.timeout(DEADLINE):
        await made.keep_on()
    assert (made.state.gone, receiver.tries) == (True, ["a"])
    async with sending(sender(store, receiver)):
        await receiver.until(lambda: receiver.taken == ["a", "b"])


async def test_a_clock_that_was_set_back_keeps_nobody_waiting(store: SqliteStore) -> None:
    """Promise: a next try years ahead is one that a wrong clock wrote."""
    receiver = Receiver()
    await put(store, "a")
    await store.outbox.postpone("ops", "a", 1, NOW + 365 * 86_400)
    async with sending(sender(store, receiver)):
        await receiver.until(lambda: receiver.taken == ["a"])


@pytest.mark.parametrize("error", [RuntimeError("unforeseen"), failed()])
async def test_a_hook_that_fails_holds_up_no_other(store: SqliteStore, error: Exception) -> None:
    """Promise: whatever one receiver does, another one is told."""
    bad, good = Receiver(), Receiver()
    bad.away = error
    await put(store, "a", "b")
    await store.outbox.put([Waiting("other", notice(name), NOW) for name in ("a", "b")])
    other = Sender(HookState("other", "h", []), store.outbox, good.tell, lambda: NOW, QUICK)
    async with sending(sender(store, bad, ticking())), sending(other):
        await good.until(lambda: good.taken == ["a", "b"])
        await bad.until(lambda: len(bad.tries) >= 2)
        assert bad.taken == []
