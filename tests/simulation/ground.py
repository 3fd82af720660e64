"""A prepared world, to be begun again and again. In: what an agent does in peace before. Out: the same files, objects
and knowledge each time, as they were after it."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.simulation.agent import SimulatedAgent
from tests.simulation.loop import simulate
from tests.simulation.world import World

Prepare = Callable[[World, SimulatedAgent], Awaitable[None]]
LATER = 100_000.0
"""Virtual seconds between what is prepared and what follows: nothing of what went before is young any more."""


class Ground:
    """`prepare` is called with a calm agent that is stopped afterwards."""

    def __init__(
        self, place: Path, prepare: Prepare, destinations: tuple[str, ...] = ("d1",), *, encrypted: bool = False
    ) -> None:
        self.world = World(place / "work", destinations, encrypted=encrypted)
        self._kept = place / "kept"
        simulate(self._prepared(prepare))
        shutil.copytree(self.world.place, self._kept)
        self._objects = {name: dict(store._objects) for name, store in self.world.stores.items()}
        self._gone = {name: set(oracle._gone) for name, oracle in self.world.oracles.items()}

    def begin_again(self) -> None:
        """Put everything back, at the same paths: notes name them."""
        shutil.rmtree(self.world.place)
        shutil.copytree(self._kept, self.world.place)
        self.world.trace.clear()
        for name, store in self.world.stores.items():
            store._objects.clear()
            store._objects.update(self._objects[name])
            self.world.forget(name, self._gone[name])

    async def _prepared(self, prepare: Prepare) -> None:
        await self.world.made()
        agent = self.world.agent()
        await agent.start()
        await prepare(self.world, agent)
        await agent.rest()
        await agent.stop()
        self.world.check(idle=True)
