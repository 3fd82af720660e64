"""Everything that tells of what happens. In: the store, what is looked at, the hooks. Out: `async with`, inside which
whoever subscribed is told, and the log has a line of each notice."""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import msgspec
import structlog

from coordinator.model.notices import BAD, HookState, Notice
from coordinator.notices.filler import Filler, Sources
from coordinator.notices.hooks import Hook
from coordinator.notices.posting import Posting
from coordinator.notices.sender import PACE, Pace, Sender
from coordinator.store.protocol import Store
from kit.errors import HelenusError

LOG = ".log"
"""The log's name among the hooks; no hook can be named so."""
EVENT = "notice"
"""The event of the log lines."""

log = structlog.get_logger("coordinator.notices")


async def into_log(notice: Notice) -> None:
    """One line, whose fields are the notice's."""
    write = log.warning if notice.type in BAD else log.info
    told = {name: value for name, value in msgspec.to_builtins(notice).items() if value not in (None, "", [], {})}
    write(EVENT, **told)


class Telling:
    """Enter it before anything is begun that it is to tell of; `news` wakes it. `clean` takes known secrets out of a
    text."""

    def __init__(
        self,
        store: Store,
        sources: Sources,
        hooks: Sequence[Hook],
        news: asyncio.Event,
        clock: Callable[[], float],
        clean: Callable[[str], str],
        pace: Pace = PACE,
    ) -> None:
        self._store = store
        self._news = news
        self._hooks = [
            Sender(
                HookState(hook.name, hook.host, list(hook.events)),
                store.outbox,
                Posting(hook, clock, clean).tell,
                clock,
                pace,
            )
            for hook in hooks
        ]
        # The log is a hook like others, which takes everything at once: a line is written at least once, too.
        self._senders = [Sender(HookState(LOG, "", ["*"]), store.outbox, into_log, clock, pace), *self._hooks]
        names = {sender.state.name: sender for sender in self._senders}
        self._filler = Filler(
            store,
            sources,
            {name: sender.state.events for name, sender in names.items()},
            clock,
            self._wake,
            lambda hook, count: names[hook].dropped(count),
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        try:
            await self._filler.look()
        except HelenusError:
            raise  # the store: nothing else would go on either
        except Exception:
            # Who can't be told of backups still wants them.
            log.exception("the look for what happened failed in an unforeseen way")
        parts = [self._filler.keep_on(self._news), *(sender.keep_on() for sender in self._senders)]
        self._tasks = [asyncio.create_task(part) for part in parts]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Cut off where they stand: what isn't told yet waits in the outbox.
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _wake(self) -> None:
        for sender in self._senders:
            sender.wake()

    async def hooks(self) -> list[HookState]:
        """How each hook stands, in the configuration's order."""
        waiting = await self._store.outbox.waiting()
        return [
            msgspec.structs.replace(sender.state, waiting=waiting.get(sender.state.name, 0)) for sender in self._hooks
        ]
