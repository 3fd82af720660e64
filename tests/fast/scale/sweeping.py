"""A process of its own that lists, deletes and sweeps in a large bucket: in, its measures as arguments; out, JSON with
the calls it made and the most memory it had. `python -m tests.fast.scale.sweeping nodes objects backups swept`
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from agent.jobs.sweep import SweepJob
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.intents import Writer
from agent.repository.opened import OpenedRepository, Waiting, silent
from agent.storage.protocol import OPEN
from agent.wire.commands import SweepArguments, Target
from agent.wire.results import FreedResult
from tests.fast.jobs.agent_in_memory import Command
from tests.fast.scale.large_bucket import CLUSTER, LargeBucket, host, tag

Value = TypeVar("Value")


class Only:
    """The one destination there is."""

    def __init__(self, bucket: LargeBucket) -> None:
        self.repository = OpenedRepository("d1", bucket, "r1", CLUSTER, OPEN, 4)

    @asynccontextmanager
    async def opened(self, target: Target, waiting: Waiting = silent) -> AsyncIterator[OpenedRepository]:
        yield self.repository


async def measured(nodes: int, objects: int, backups: int, swept: int) -> dict[str, object]:
    """List all backups, delete the older half, sweep the first nodes."""
    bucket = LargeBucket(nodes, objects, backups)
    only = Only(bucket)
    catalogue = Catalogue(only.repository, RecordCache())
    told: dict[str, object] = {"listed": len(await catalogue.listing()), "list": _taken(bucket)}
    for number in range(backups // 2):
        await catalogue.mark_deleted(tag(number))
    told["delete"] = _taken(bucket)
    freed = []
    for number in range(swept):
        sweep = SweepJob(only, _answer(host(number)), _answer({"": host(number)}), Writer("a1", "i1"))
        outcome = await sweep.run(Command("s", SweepArguments(Target("d1", "r1", CLUSTER), margin_seconds=0.0)))
        assert isinstance(outcome.result, FreedResult)
        freed.append([outcome.result.objects, len(outcome.result.tags), bucket.data_left(number)])
    told |= {"freed": freed, "sweep": _taken(bucket)}
    status = Path("/proc/self/status").read_text()
    told["peak_kib"] = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    return told


def _answer(value: Value) -> Callable[[], Awaitable[Value]]:
    async def answer() -> Value:
        return value

    return answer


def _taken(bucket: LargeBucket) -> dict[str, int]:
    """The calls since it was asked last."""
    calls = dict(bucket.calls)
    bucket.calls.clear()
    return calls


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measured(*map(int, sys.argv[1:])))))
