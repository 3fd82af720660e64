"""A toy node's commit-log archiving: in, ARCHIVE, RESTART and TRIM_LOGS; out, what GET /v1/archiving tells.

`file` is what its properties file says, `runs` what its Cassandra was started with: as on a real node only a restart
makes them one. Segments are the times at which they were closed, by place.
"""

from typing import Any

import msgspec

from agent.model.job import Job, JobContext
from agent.repository.errors import UnknownDestination
from agent.wire.archiving import (
    ArchiveArguments,
    ArchiveResult,
    ArchivingView,
    LogPlace,
    RestartArguments,
    RestartResult,
    TrimLogsArguments,
)
from agent.wire.commands import LANES, Kind
from agent.wire.destinations import ON_SERVER
from agent.wire.results import FreedResult
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_cluster import ToyNode, watched

SEGMENT_BYTES = 100


class ToyLog:
    """What outlives the agent's process."""

    def __init__(self) -> None:
        self.order: ArchiveArguments | None = None
        self.file = ""
        self.runs = ""
        self.safe_since: float | None = None
        self.safe_until: float | None = None
        self.restarts: list[bool] = []
        """for each restart of its Cassandra, whether it was drained"""
        self.refuses = False
        """whether Cassandra reads another properties file"""
        self.beside: set[str] = set()
        """nodes that may be down while its Cassandra is restarted"""
        self.segments: dict[str, list[float]] = {}
        self.adopted: list[tuple[str, str]] = []
        """place and host id of each node whose segments it freed"""

    async def told(self) -> ArchivingView:
        """As an agent asks it."""
        return self.view()

    def view(self) -> ArchivingView:
        """GET /v1/archiving."""
        order = self.order
        enabled = order is not None and order.enabled
        if enabled and order is not None and self.file != _file(order):
            state = "lost"
        elif self.runs != self.file:
            state = "restart_needed"
        else:
            state = "on" if self.runs else "off"
        places = [target.target.destination for target in order.targets] if order is not None else []
        if order is not None and order.keep:
            places.append(ON_SERVER)
        told = {place: LogPlace(self.safe_since, self.safe_until, waiting_bytes=7) for place in places}
        return ArchivingView(
            enabled=enabled,
            state=state,  # type: ignore[arg-type]
            directory=order.directory if order is not None else "",
            keep=order is not None and order.keep,
            targets=order.targets if order is not None else [],
            places=told,
        )


def _file(order: ArchiveArguments) -> str:
    return f"archive to {order.directory or '/archive'}" if order.enabled else ""


def archiving_jobs(node: ToyNode, log: ToyLog) -> dict[Kind, tuple[str, Job]]:
    """Kind → (lane, job) of a node."""

    def archive(context: JobContext, asked: Any) -> msgspec.Struct:
        for target in asked.targets:
            if target.target.destination not in node.destinations:
                raise UnknownDestination("not known", destination=target.target.destination)
        log.order, log.file = asked, _file(asked)
        return ArchiveResult(log.file != log.runs, asked.directory or "/archive", "/conf/properties", "sh")

    def restart(context: JobContext, asked: Any) -> msgspec.Struct:
        assert isinstance(asked, RestartArguments)
        others = [other.address for other in node.world.nodes if other is not node and not other.up]
        others = [address for address in others if address not in log.beside]
        assert not node.up or not others, f"restarted beside {others}, which are down"
        node.point.refuse_kept_down()
        log.restarts.append(asked.drain)
        node.up = node.point.native = True
        log.runs = "" if log.refuses else log.file
        return RestartResult(1.0, asked.drain)

    def trim_logs(context: JobContext, asked: Any) -> msgspec.Struct:
        assert isinstance(asked, TrimLogsArguments)
        place = ON_SERVER if asked.target is None else asked.target.destination
        if asked.adopt is not None:
            log.adopted.append((place, asked.adopt))
            return FreedResult(SEGMENT_BYTES, 1)
        held = log.segments.get(place, [])
        left = [closed for closed in held if closed >= asked.before]
        log.segments[place] = left
        return FreedResult((len(held) - len(left)) * SEGMENT_BYTES, len(held) - len(left))

    works = {Kind.ARCHIVE: archive, Kind.RESTART: restart, Kind.TRIM_LOGS: trim_logs}
    return {kind: (LANES[kind], watched(node, kind, work)) for kind, work in works.items()}


def ordinary_restart(log: ToyLog) -> None:
    """A person's restart."""
    log.runs = log.file


def grows(log: ToyLog) -> float:
    """A segment is closed and shipped everywhere; its time."""
    log.safe_until = unix_seconds()
    log.safe_since = log.safe_since or log.safe_until
    for place in log.view().places:
        log.segments.setdefault(place, []).append(log.safe_until)
    return log.safe_until
