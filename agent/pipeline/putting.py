"""The way of one pass into its targets: in, objects that were read; out, each of them wherever it was missing.

What passes share, wherever their bytes come from: how much is in flight, and parting with a target that keeps the
others waiting.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import NamedTuple

from agent.crypto.digest import digest
from agent.model.job import Tally
from agent.pipeline.budget import Budget
from agent.pipeline.laggards import Laggards
from agent.pipeline.table_run import TableRun
from agent.pipeline.targets import StoreTarget
from agent.progress import flow
from agent.repository.form import Form, Packed, Stored
from agent.repository.frame import Codec, ObjectType
from kit.together import together


class Size(NamedTuple):
    """What there is of a table: its files and their bytes."""

    keyspace: str
    table: str
    files: int
    bytes: int


class Putting:
    """For one pass. `readers`: objects that are being read beside those on their way. `parted` is told of a target
    that is too slow for the others; without it all go at the pace of the slowest."""

    def __init__(
        self,
        targets: Sequence[StoreTarget],
        tally: Tally,
        most_bytes: int,
        readers: int,
        parted: Callable[[StoreTarget], object] | None,
    ) -> None:
        self.targets = targets
        self.tally = tally
        streams = sum(target.opened.streams for target in targets)
        self.budget = Budget(most_bytes, min(64, streams) + readers)
        self._laggards = Laggards(self.budget) if parted is not None and len(targets) > 1 else None
        self._parted = parted

    def alive(self) -> list[StoreTarget]:
        """The targets that are still written to."""
        return [target for target in self.targets if target.alive]

    def narrow(self, most_bytes: int) -> None:
        """Keep less in flight: others need room beside this one."""
        self.budget.narrow(most_bytes)

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """For the block, part with laggards."""
        if self._laggards is None or self._parted is None:
            yield
            return
        watch = asyncio.create_task(self._laggards.watch(self.targets, self._parted))
        try:
            yield
        finally:
            watch.cancel()
            (ended,) = await asyncio.gather(watch, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended

    async def put(self, object_id: bytes, length: int, stored: Mapping[Form, Stored], table: TableRun | None) -> None:
        """Put an object of `length` plain bytes, as each form has it, where it is missing; counted for `table`."""
        alive = [target for target in self.alive() if target.form in stored]
        puts = [(target, self._put(object_id, length, stored[target.form], target, table)) for target in alive]
        if self._laggards is None:
            await together(*(put for _, put in puts))
        else:
            await self._laggards.put(length, puts)

    async def frame(self, plain: bytes, target: StoreTarget) -> tuple[bytes, int]:
        """Put a table's frame into the target whose it is, as an object, and name it there; its id and stored size."""
        object_id = await asyncio.to_thread(digest, plain)
        packed, form = Packed(Codec.RAW, plain), target.form
        stored = await asyncio.to_thread(form.encode, packed, len(plain), object_id, ObjectType.TABLE)

        async def put() -> None:
            if await target.put(object_id, len(plain), stored):
                target.name([(object_id, len(plain))])

        if self._laggards is None:
            await put()
        else:
            await self._laggards.put(len(plain), [(target, put())])
        return object_id, stored.size

    async def _put(
        self, object_id: bytes, length: int, stored: Stored, target: StoreTarget, table: TableRun | None
    ) -> None:
        """Put an object of `length` plain bytes into one target. A large one counts as it goes."""
        if table is None or length < flow.STEP:
            if await target.put(object_id, length, stored) and table is not None:
                table.progress(0, length, (target,))
            return
        under_way, done = table.flow(length, target), 0
        try:
            if await target.put(object_id, length, stored, under_way):
                done = length
        finally:
            under_way.settled(done)
