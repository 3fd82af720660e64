"""Cassandra as a service of this machine: stopped, started, waited for. In: the settings' commands. Out: a process that
is gone, or a node that is in the ring; each wait has a deadline, tells what it waits for, and ends with what to do.

Nothing here decides whether Cassandra may be stopped: that is the jobs' business. A stop or start that was cut by the
agent's death is called again: one that is done already is fine.
"""

import asyncio
import contextlib
import os
import socket
import time
from pathlib import Path

from agent.cassandra.child import own_environment, run_child
from agent.cassandra.process import cassandra_pids
from agent.cassandra.service_errors import (
    CassandraNotStarted,
    CassandraNotStopped,
    ServiceNotConfigured,
    ServiceOrderFailed,
)
from agent.cassandra.service_orders import DRAINED, NORMAL, ServiceOrders
from agent.cassandra.settings import CassandraSettings
from agent.cassandra.waits import NOBODY, Watch, until

_GONE_SECONDS = 10.0
"""A process that was started and is not there for so long does not come: service managers try again sooner."""
_TRIES = 3
"""A service manager that starts it over and over does not help: so many processes may end before it is given up."""
_LOG_LINES, _LOG_BYTES = 40, 16_384


class CassandraService:
    """See the module. `poll`: seconds between two looks that cost nothing; `ask`: between two that start a JVM."""

    def __init__(
        self, settings: CassandraSettings, orders: ServiceOrders, *, poll: float = 0.2, ask: float = 2.0
    ) -> None:
        self._settings = settings.service
        self._jmx = settings.nodetool.host, settings.nodetool.port
        self._orders = orders
        self._poll = poll
        self._ask = ask

    def refuse_unconfigured(self) -> None:
        """Raises `ServiceNotConfigured` when the agent can't stop and start Cassandra."""
        for name in ("stop", "start"):
            if not getattr(self._settings, name):
                raise ServiceNotConfigured(
                    f"the agent was not told how to {name} Cassandra", setting=f"cassandra.service.{name}"
                )

    async def pids(self) -> list[int]:
        """Cassandra's processes; more than one only by mistake."""
        return await asyncio.to_thread(cassandra_pids, self._jmx[1])

    async def alive(self) -> bool:
        """Whether it runs, answering or not."""
        return bool(await self.pids())

    async def stop(self, watch: Watch = NOBODY) -> None:
        """Stop it; ends when the process is gone. Raises `ServiceNotConfigured`, `ServiceOrderFailed`,
        `CassandraNotStopped`, `WaitGivenUp`."""
        self.refuse_unconfigured()
        if not await self.alive():
            return
        seconds = self._settings.stop_seconds
        end = time.monotonic() + seconds
        watch.waiting("waits for the process of Cassandra, which was told to stop, to be gone", "process gone", seconds)
        await self._order(self._settings.stop)
        while pids := await self.pids():
            if time.monotonic() > end:
                raise CassandraNotStopped(
                    f"Cassandra (pid {', '.join(map(str, pids))}) did not end within {seconds:.0f} s",
                    pids=pids,
                    seconds=seconds,
                )
            watch.refuse_given_up("is being stopped")
            await asyncio.sleep(self._poll)
        watch.tell(None)

    async def keep_down(self, watch: Watch = NOBODY) -> None:
        """As `stop`, and ordered also when the process is gone already: a service manager that starts again whatever
        ended by itself must hear that this is meant. That order may fail: not every one can stop what doesn't run."""
        if not await self.alive():
            with contextlib.suppress(ServiceOrderFailed):
                await self._order(self._settings.stop)
        await self.stop(watch)

    async def start(self, watch: Watch = NOBODY) -> None:
        """Start it; ends when the node says that it is NORMAL, which is after the replay of its log. One that runs is
        only waited for, unless it is drained, or about to be: then it is started anew. Raises `ServiceNotConfigured`,
        `ServiceOrderFailed`, `CassandraNotStarted`, `WaitGivenUp`."""
        self.refuse_unconfigured()
        if await self.alive() and await self.settled(watch) == DRAINED:
            await self.stop(watch)
        if not await self.alive():
            await self._order(self._settings.start)
        await self._until_normal(watch)
        watch.tell(None)

    async def settled(self, watch: Watch = NOBODY) -> str | None:
        """Wait while it starts or ends; its mode then, None: it is gone. Raises `CassandraNotStarted` when it does
        neither, and `WaitGivenUp`."""
        modes: list[str | None] = []

        async def settled() -> bool:
            modes.append(await self._orders.mode() if await self.alive() else None)
            return modes[-1] in (NORMAL, DRAINED) or not await self.alive()

        limit = self._settings.start_seconds
        if not await settled():
            watch.waiting("Cassandra starts or ends", f"{NORMAL}, or process gone", limit)
            if not await until(settled, limit, watch, every=self._ask):
                raise await self._not_started(f"Cassandra neither came up nor ended in {limit:.0f} s", modes[-1], limit)
            watch.tell(None)
        return modes[-1]

    async def _until_normal(self, watch: Watch) -> None:
        limit = self._settings.start_seconds
        begun = seen = asked = time.monotonic()
        mode: str | None = None
        tries: set[int] = set()
        shown = ""
        while True:
            now = time.monotonic()
            pids = await self.pids()
            tries.update(pids)
            seen = now if pids else seen
            if now - seen > _GONE_SECONDS or len(tries) > _TRIES:
                times = f" {len(tries)} times" if len(tries) > 1 else ""
                raise await self._not_started(f"Cassandra was started{times}, and its process ended", mode, now - begun)
            if now - asked >= self._ask and await asyncio.to_thread(_listens, self._jmx):
                mode, asked = await self._orders.mode(), time.monotonic()
                if mode == NORMAL:
                    return
            if now - begun > limit:
                raise await self._not_started(f"Cassandra was not NORMAL within {limit:.0f} s", mode, limit)
            text = (
                f"waits for Cassandra, which was started and {'can not be asked yet' if mode is None else f'is {mode}'}"
            )
            if text != shown:
                shown = text
                watch.waiting(f"{text}; it may be replaying its log", NORMAL, limit)
            watch.refuse_given_up(f"is {mode}" if mode else "is starting")
            await asyncio.sleep(self._poll)

    async def _not_started(self, text: str, mode: str | None, seconds: float) -> CassandraNotStarted:
        return CassandraNotStarted(text, mode=mode, seconds=round(seconds, 1), log=await self.log())

    async def log(self) -> str:
        """The end of Cassandra's log, "" where none is configured or it can't be read."""
        return await asyncio.to_thread(_end_of, self._settings.log_file) if self._settings.log_file else ""

    async def _order(self, command: tuple[str, ...]) -> None:
        seconds = self._settings.order_seconds
        try:
            ended = await run_child(command, deadline=seconds, environment=own_environment())
        except TimeoutError:
            raise await self._failed(command, f"did not end within {seconds:.0f} s", None, "") from None
        except OSError as error:
            raise await self._failed(command, f"can't be started: {error.strerror}", None, "") from None
        if ended.exit_code != 0:
            raise await self._failed(command, f"ended with {ended.exit_code}", ended.exit_code, ended.output[-2000:])

    async def _failed(self, command: tuple[str, ...], what: str, code: int | None, output: str) -> ServiceOrderFailed:
        return ServiceOrderFailed(
            f"{' '.join(command)} {what}", command=list(command), exit=code, output=output, log=await self.log()
        )


def _listens(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=2):
            return True
    except OSError:
        return False


def _end_of(file: str) -> str:
    try:
        with Path(file).open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(0, size - _LOG_BYTES))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-_LOG_LINES:])
