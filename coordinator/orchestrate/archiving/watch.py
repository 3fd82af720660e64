"""Looks whether every node archives as it should, and frees segments from time to time. In: the nodes' state at each
look. Out: an alarm (a log line, an event, an ended request that says why) for each node that didn't at two looks or was
never told, its enrolment where that was ordered, and a request to free segments once a day and after a delete.

While archiving is being switched nodes are down on purpose: nobody is told of then.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog

from coordinator.model.access import COORDINATOR
from coordinator.model.activity import ActivityEvent
from coordinator.model.archiving import ArchivingSetting, ArchivingStatus, NodeArchiving
from coordinator.model.destinations import description
from coordinator.model.orders import ArchivingOrder, TrimLogsOrder
from coordinator.model.requests import Request, RequestKind, RequestState, spec_of
from coordinator.orchestrate.archiving.as_told import any_archives
from coordinator.orchestrate.archiving.errors import ArchivingLost
from coordinator.orchestrate.archiving.nodes import NEVER_TOLD
from coordinator.orchestrate.archiving.setting import setting_of
from coordinator.orchestrate.run import Surroundings
from kit.errors import HelenusError

log = structlog.get_logger(__name__)

DAY_SECONDS = 86_400.0
LOOKS_BETWEEN_TRIES = 3
"""Looks after which nodes are tried again that could not be enrolled."""

Status = Callable[[str], Awaitable[ArchivingStatus]]
Start = Callable[[str, ArchivingOrder], Awaitable[str]]
Trim = Callable[[str, TrimLogsOrder], Awaitable[str]]


class Watch:
    """`status`, `start` and `trim` are those of `Archiving`."""

    def __init__(self, around: Surroundings, status: Status, start: Start, trim: Trim) -> None:
        self._around = around
        self._status = status
        self._start = start
        self._trim = trim
        self.seen: dict[str, list[NodeArchiving]] = {}
        self._once: dict[str, set[str]] = {}
        """cluster → nodes that did not archive at the last look"""
        self._enrolled: dict[str, tuple[set[str], float]] = {}
        """cluster → nodes that an order was sent for, and when it may be sent for them again"""
        self._unordered: set[str] = set()
        """clusters that archive by no order of this coordinator"""
        self._turns: Counter[str] = Counter()

    async def look_always(self) -> None:
        """Run until cancelled."""
        while True:
            for cluster in self._around.registry.clusters():
                try:
                    await self.look(cluster)
                except HelenusError as error:
                    log.warning("it can't be seen who archives", cluster=cluster, **error.as_dict())
                except Exception:
                    log.exception("the look at archiving failed in an unforeseen way", cluster=cluster)
            await asyncio.sleep(self._around.timing.archiving_look)

    async def look(self, cluster: str) -> None:
        """Once. Raises what keeps it from seeing."""
        setting = await setting_of(self._around.store, cluster)
        if setting is None and not await self._may_archive(cluster):
            return
        status = await self._status(cluster)
        self.seen[cluster] = status.nodes
        if setting is None:
            if status.order is None:
                self._unordered.discard(cluster)
                return
            self._unordered.add(cluster)
            # Of no places: which backups need their segments isn't known here, so nothing of them is freed.
            setting = ArchivingSetting(status.order, "")
        if not status.request:
            await self._tell(cluster, setting, status.nodes)
        await self._perhaps_trim(cluster, setting)

    async def _may_archive(self, cluster: str) -> bool:
        """Whether anybody does though nothing was ordered here: this coordinator's state was lost, or another one's
        order is followed. A few requests, as long as nobody is known to."""
        if cluster in self._unordered:
            return True
        turn = self._turns[cluster]
        self._turns[cluster] += 1
        return await any_archives(self._around, cluster, turn)

    async def _tell(self, cluster: str, setting: ArchivingSetting, nodes: list[NodeArchiving]) -> None:
        without = {_name(node): node for node in nodes if node.without}
        before = self._once.get(cluster, set())
        self._once[cluster] = {*without}
        told = set(await self._around.store.values.get(_alarms(cluster)) or [])
        # One that was never told has lost nothing that might come back by itself: it isn't looked at twice.
        lasting = {
            name: node
            for name, node in without.items()
            if name in before or name in told or (node.tellable and node.without == NEVER_TOLD)
        }
        new = [node for name, node in lasting.items() if name not in told]
        if new:
            await self._alarm(cluster, setting, new)
        for name in told - {*without}:
            log.info("a node archives again", cluster=cluster, node=name)
        if new or told - {*without}:
            await self._around.store.values.put(_alarms(cluster), sorted(lasting))
        if setting.order.enabled and setting.order.enroll:
            ready = {name for name, node in lasting.items() if node.tellable}
            await self._enroll(cluster, setting.order, ready)

    async def _alarm(self, cluster: str, setting: ArchivingSetting, nodes: list[NodeArchiving]) -> None:
        """Keep a request that has ended, with its event: it says which nodes, and why."""
        now = self._around.clock()
        told = "; ".join(f"{node.address}: {node.without}" for node in nodes)
        log.warning("nodes do not archive as they should", cluster=cluster, nodes=told)
        error = ArchivingLost(f"not as ordered: {told}", nodes={node.address: node.without for node in nodes})
        request = Request(
            id=str(uuid.uuid4()),
            kind=RequestKind.ARCHIVING_LOST,
            cluster=cluster,
            state=RequestState.ERROR,
            started=now,
            finished=now,
            spec=spec_of(setting.order),
            tag="",
            message=error.message,
            error=error.as_dict(),
            asked_by=COORDINATOR,
        )
        event = ActivityEvent(
            cluster=cluster,
            request=request.id,
            type="archiving",
            tag="",
            destination=description(None),
            event_time=int(now),
            status=request.state.value,
        )
        await self._around.store.requests.create(request, [event])
        self._around.news.set()

    async def _enroll(self, cluster: str, order: ArchivingOrder, ready: set[str]) -> None:
        """Order it again for these nodes: who does as told isn't restarted. The same ones are ordered again only after
        a while; what can't be done now is tried soon."""
        timing, now = self._around.timing, self._around.monotonic()
        tried, again = self._enrolled.get(cluster, (set[str](), now))
        if not ready or (ready <= tried and now < again):
            return
        self._enrolled[cluster] = ready, now + timing.enroll_again
        try:
            request = await self._start(cluster, order)
        except HelenusError as error:
            self._enrolled[cluster] = ready, now + LOOKS_BETWEEN_TRIES * timing.archiving_look
            log.warning("nodes could not be enrolled", cluster=cluster, **error.as_dict())
            return
        log.info("nodes are enrolled", cluster=cluster, request=request, nodes=sorted(ready))

    async def _perhaps_trim(self, cluster: str, setting: ArchivingSetting) -> None:
        if not setting.places or not await self._is_due(cluster):
            return
        await self._around.store.values.put(_trimmed(cluster), self._around.clock())
        await self._trim(cluster, TrimLogsOrder(setting.places))

    async def _is_due(self, cluster: str) -> bool:
        """Whether the time of day of retention has come by, or a backup was deleted, since segments were freed last (or
        since archiving was seen first). Never while it is being done."""
        store, timing, now = self._around.store, self._around.timing, self._around.clock()
        last = await store.values.get(_trimmed(cluster))
        if last is None:
            await store.values.put(_trimmed(cluster), now)
            return False
        running = RequestState.RUNNING
        for kind in (RequestKind.TRIM_LOGS, RequestKind.DELETE, RequestKind.POINT_IN_TIME):
            if await store.requests.find(cluster=cluster, kind=kind, state=running):
                return False
        day = (now - timing.retention_at) // DAY_SECONDS * DAY_SECONDS + timing.retention_at
        if not day <= last <= now:
            return True
        deletes = await store.requests.find(cluster=cluster, kind=RequestKind.DELETE, state=RequestState.SUCCESS)
        return any((each.finished or 0.0) >= last for each in deletes)


def _name(node: NodeArchiving) -> str:
    return node.host_id or node.address


def _alarms(cluster: str) -> str:
    """The named value that holds the nodes that were told of and don't archive since."""
    return f"archiving alarms of {cluster}"


def _trimmed(cluster: str) -> str:
    """The named value that holds when segments were last ordered to be freed."""
    return f"archived log freed of {cluster}"
