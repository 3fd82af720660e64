"""RESTART: Cassandra is stopped and started again, or, where it is down, only started. Fenced.

    draining            when asked, and it answers: what it acknowledged is in SSTables, nothing is to be replayed
    stopping            the service's own stop
    starting            until the node is NORMAL, which is after the replay of its log
    asking the node     until it answers by CQL, and holds for up whom it held so before

What makes it safe: what can refuse the stop does so while the node still serves: segments whose archiving failed are
looked after before anything else, for Cassandra deletes them at its next start. It is stopped as a service manager
stops it, so that it replays whatever it had not flushed; a node that doesn't come up fails the command with the end of
its log, and whoever restarts one node after the other stops there. Killed anywhere, the same order again (a new
command) finds Cassandra up, or down, and ends with it up.
"""

import time
from collections.abc import Awaitable, Callable

from agent.cassandra.errors import CassandraError
from agent.cassandra.node import CassandraNode
from agent.cassandra.service_errors import CassandraNotStarted
from agent.cassandra.waits import Watch, until
from agent.jobs.restore.errors import NodesMoving
from agent.model.job import JobContext, Outcome
from agent.model.refusals import refuse_when_late
from agent.wire.archiving import RestartArguments, RestartResult

_MOVING = frozenset({"JOINING", "LEAVING", "MOVING"})
"""Modes of a node that is on its way into, out of or along the ring: a stop would break that off."""
_ANSWER_SECONDS = 300.0
"""From NORMAL on; gossip and native transport need a few."""

BeforeStop = Callable[[], Awaitable[None]]
"""What has to be done each time before Cassandra is stopped: segments whose archiving failed it would replay at its
next start, and then delete."""


async def nothing() -> None:
    """For nodes whose commit log isn't archived."""


class RestartJob:
    """See the module. `clock`: unix seconds."""

    def __init__(self, node: CassandraNode, before_stop: BeforeStop, clock: Callable[[], float] = time.time) -> None:
        self._node = node
        self._before_stop = before_stop
        self._clock = clock

    async def run(self, context: JobContext) -> Outcome:
        """Raises `ServiceNotConfigured`, `KeptDown`, `NodesMoving`, `ControlOfAnotherNode`, `DrainFailed`,
        `ServiceOrderFailed`, `CassandraNotStopped`, `CassandraNotStarted`, `TooLate`, `WaitGivenUp`."""
        arguments: RestartArguments = context.arguments
        service, orders = self._node.service, self._node.orders
        watch = watch_of(context)
        service.refuse_unconfigured()
        await self._node.jvm.refuse_kept_down()
        refuse_when_late(context.not_after, self._clock())
        drained, before, down = False, frozenset[str](), self._clock()
        if await service.alive():
            mode = await orders.mode()
            if mode in _MOVING:
                raise NodesMoving(f"the node is {mode}: it can't be restarted now", mode=mode)
            answers = mode is not None
            before = await self._up() if answers else before
            await self._before_stop()
            down = self._clock()
            if arguments.drain and answers:
                await context.stages.enter("draining")
                await orders.prove()
                drained = await self._drained(watch)
            await context.stages.enter("stopping")
            await service.stop(watch)
        await context.stages.enter("starting")
        await service.start(watch)
        await context.stages.enter("asking the node")
        await self._until_answers(watch, before)
        return Outcome(RestartResult(seconds_down=round(self._clock() - down, 3), drained=drained))

    async def _drained(self, watch: Watch) -> bool:
        """Drain it; False when it ended with that, before it could say that it is drained: it then replays what is
        left. Raises `DrainFailed` of one that runs on."""
        try:
            await self._node.orders.drain(self._node.settings.service.drain_seconds)
        except CassandraError:
            if await self._node.service.settled(watch) is not None:
                raise
            return False
        return True

    async def _up(self) -> frozenset[str]:
        """Whom the node holds for up now."""
        return frozenset(address for address, seen in (await self._node.control.members()).items() if seen.up)

    async def _until_answers(self, watch: Watch, before: frozenset[str]) -> None:
        missing: list[str] = []

        async def answers() -> bool:
            try:
                await self._node.view.life()
                missing[:] = sorted(before - await self._up())
            except CassandraError:
                return False
            return not missing

        watch.waiting("waits for Cassandra, which is NORMAL, to be seen to answer", "answers by CQL", _ANSWER_SECONDS)
        if not await until(answers, _ANSWER_SECONDS, watch, every=0.5):
            what = f"does not see {', '.join(missing)} up" if missing else "does not answer by CQL"
            raise CassandraNotStarted(
                f"Cassandra is NORMAL and {what} after {_ANSWER_SECONDS:.0f} s",
                mode="NORMAL",
                seconds=_ANSWER_SECONDS,
                log=await self._node.service.log(),
            )
        watch.tell(None)


def watch_of(context: JobContext) -> Watch:
    """The command as it shows what is waited for, and hears that a person ends it."""
    return Watch(context.waiting, lambda: context.stop_requested)
