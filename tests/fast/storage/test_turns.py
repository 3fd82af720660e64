"""Promise: as many streams run as each keeps its 256 KiB/s, under the limits as they are now, whoever shares them."""

import asyncio

from agent.storage.limited import Limited
from agent.storage.protocol import OPEN, Transient
from agent.storage.retrying import Retrying
from agent.storage.throttle import LEAST_PER_STREAM, Gates, Stream, TokenBucket
from agent.storage.turns import Turns, in_turn
from tests.fast.storage.memory import MemoryStorage

STREAMS = 16


class Site:
    """Two destinations of a node whose puts last until they are let go, one by one."""

    def __init__(self) -> None:
        self.node = TokenBucket(0)
        self.running: list[tuple[str, asyncio.Future[None]]] = []
        self.tasks: set[asyncio.Task[object]] = set()
        own = {name: TokenBucket(0) for name in ("a", "b")}
        self.stores = {
            name: Retrying(Limited(MemoryStorage(hook=self._hook), Gates(bucket, self.node)), part=lambda: 0.0)
            for name, bucket in own.items()
        }

    async def _hook(self, verb: str, key: str) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.running.append((key, future))
        await future

    def put(self, store: str, key: str, gate: Gates | None = None) -> asyncio.Task[object]:
        work = self.stores[store].put(key, [], gate=Stream(OPEN) if gate is None else gate)
        task: asyncio.Task[object] = asyncio.create_task(work)
        self.tasks.add(task)
        return task

    async def settle(self, fault: Exception | None = None) -> None:
        """Let the oldest put end."""
        _, future = self.running.pop(0)
        if fault is None:
            future.set_result(None)
        else:
            future.set_exception(fault)
        await quiet()


async def quiet() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_streams_follow_a_limit_that_falls_and_rises_again() -> None:
    """One limit of the node for two destinations: those that run end, then no more run than the limit feeds."""
    site = Site()
    for number in range(STREAMS):
        site.put("a", f"{number:02d}")
        site.put("b", f"{number:02d}")
    await quiet()
    assert len(site.running) == 2 * STREAMS
    site.node.set_rate(3 * LEAST_PER_STREAM)
    for number in range(STREAMS):
        site.put("a", f"later/{number:02d}")
        site.put("b", f"later/{number:02d}")
    await quiet()
    assert len(site.running) == 2 * STREAMS
    for left in range(2 * STREAMS - 1, 3 - 1, -1):
        await site.settle()
        assert len(site.running) == left
    for _ in range(5):
        await site.settle()
        assert len(site.running) == 3
    site.node.set_rate(5 * LEAST_PER_STREAM)
    await quiet()
    assert len(site.running) == 5
    site.node.set_rate(0)
    await quiet()
    assert len(site.running) == 2 * STREAMS - 2
    while site.running:
        await site.settle()
    await asyncio.gather(*site.tasks)


async def test_what_the_store_gave_up_under_a_fallen_limit_waits_for_its_turn() -> None:
    """Else all streams come back at once, and each starves again until its tries are used up."""
    site = Site()
    for number in range(4):
        site.put("a", str(number))
    await quiet()
    site.node.set_rate(LEAST_PER_STREAM / 5)
    for _ in range(3):
        await site.settle(Transient("RequestTimeout"))
    assert len(site.running) == 1
    for _ in range(4):
        assert len(site.running) == 1
        await site.settle()
    await asyncio.gather(*site.tasks)


async def test_the_narrowest_limit_counts_and_small_things_pass() -> None:
    """A command's own limit holds up no other command; a plan or a record waits behind no stream."""
    site = Site()
    command = TokenBucket(2 * LEAST_PER_STREAM)
    for number in range(4):
        site.put("a", f"limited/{number}", Stream(command))
    for number in range(4):
        site.put("a", f"free/{number}")
    await quiet()
    assert sorted(key for key, _ in site.running) == ["free/0", "free/1", "free/2", "free/3", "limited/0", "limited/1"]
    site.node.set_rate(1)
    site.put("a", "stream")
    plan = asyncio.create_task(site.stores["a"].put("plan", []))
    await quiet()
    assert [key for key, _ in site.running][-1] == "plan"
    while site.running:
        await site.settle()
    await asyncio.gather(plan, *site.tasks)


async def test_a_cancelled_stream_takes_no_turn_away() -> None:
    """Promise: the others' turns come all the same."""
    turns = Turns(lambda: 1)
    inside = asyncio.Event()
    done: list[int] = []

    async def one(number: int) -> None:
        async with in_turn([turns]):
            done.append(number)
            inside.set()
            if number == 0:
                await asyncio.Event().wait()

    tasks = [asyncio.create_task(one(number)) for number in range(4)]
    await inside.wait()
    tasks[1].cancel()
    await quiet()
    tasks[0].cancel()  # the turn goes to the third, which is cancelled in the same moment
    await asyncio.sleep(0)
    tasks[2].cancel()
    async with asyncio.timeout(20):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert done[0] == 0
    assert done[-1] == 3
    assert 1 not in done
