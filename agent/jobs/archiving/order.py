"""What was ordered last, as the agent keeps it: in, the command's arguments; out, the same after any restart
(`<state>/archiving/order.json`)."""

import asyncio
from pathlib import Path

import msgspec

from agent.model.own_state import own_state
from agent.wire.archiving import ArchiveArguments, LogTarget
from kit.atomic_files import write_into

NAME = "order.json"


class ArchivingOrder(msgspec.Struct, frozen=True):
    """`arguments.directory` is never empty while `enabled`. `told_at`: when what Cassandra reads at its start was last
    changed, unix seconds: one that was started before does not do what it says yet. `former`: archive directories of
    before, which may still hold segments. `mark`: what the archive directory's mark says."""

    arguments: ArchiveArguments
    told_at: float
    former: tuple[str, ...] = ()
    mark: str = ""

    @property
    def directories(self) -> tuple[str, ...]:
        """Where archived segments may be, the place of new ones first."""
        own = (self.arguments.directory,) if self.arguments.directory else ()
        return own + tuple(one for one in self.former if one not in own)


class OrderFile:
    """The order of one agent. `current` None: archiving was never ordered."""

    def __init__(self, state: Path) -> None:
        self._directory = state / "archiving"
        self.current: ArchivingOrder | None = None

    def load(self) -> None:
        """Read it. Raises StateFailed, also for one that can't be read: going on without would lose segments."""
        with own_state():
            try:
                text = (self._directory / NAME).read_bytes()
            except FileNotFoundError:
                return
            try:
                self.current = msgspec.json.decode(text, type=ArchivingOrder)
            except msgspec.DecodeError as error:
                raise OSError(0, f"it is no order: {error}", str(self._directory / NAME)) from error

    async def put(self, order: ArchivingOrder) -> None:
        """Keep it; durable when it returns. Raises StateFailed."""
        with own_state():
            await asyncio.to_thread(write_into, self._directory, NAME, msgspec.json.encode(order))
        self.current = order


def place_of(target: LogTarget) -> str:
    """How the ledger names a destination: another repository at the same place is another one."""
    return f"{target.target.destination}/{target.target.repository_id}/{target.target.cluster_id}"
