"""Who has stopped Cassandra on a cluster's nodes. In: its requests, and what is noted of their jobs. Out: the restore
to a point that has, and what people are told then instead of «start it»."""

from collections.abc import Mapping
from typing import Any

import msgspec

from coordinator.model.requests import Request, RequestKind, RequestState
from coordinator.orchestrate.point_in_time import steps as S
from coordinator.orchestrate.point_in_time.errors import StoppedByRestore
from coordinator.orchestrate.point_in_time.half_way import last_half_way
from coordinator.orchestrate.point_in_time.scope import PitScope
from coordinator.orchestrate.point_in_time.times import told_time
from coordinator.orchestrate.restore.job_steps import JobSteps, job_of
from coordinator.store.protocol import Store

_LOOKED_AT = (S.SCOPE, S.HANDED_OVER, S.STOPPING, S.OPENED, S.UNDONE, S.LEFT_DOWN)


class Stopped(msgspec.Struct, frozen=True):
    """A restore to a point that stops its nodes, or that stopped half-way with them. `request`: its last one, begun at
    `started` (unix seconds); `hosts`: host ids of its nodes that don't run with their old data; `running`: it goes
    on by itself."""

    request: str
    started: float
    hosts: frozenset[str]
    running: bool

    def has(self, host_id: str) -> bool:
        """Whether the node is one of its own; one that nobody knows is taken for one, for it has the whole ring."""
        return not host_id or host_id in self.hosts

    def error(self, message: str, **fields: object) -> StoppedByRestore:
        """What is said of nodes that don't answer, with the `message` and `fields` that would be told otherwise."""
        how = "is under way" if self.running else "stopped half-way"
        return StoppedByRestore(
            f"The restore to a point in time {self.request}, begun at {told_time(self.started)}, {how} and has stopped "
            f"Cassandra on its nodes: start none by hand (GET /request/{self.request}/status tells how it stands). "
            f"{message}",
            **fields,
            request=self.request,
        )


async def stopped_by(store: Store, cluster: str) -> Stopped | None:
    """The restore that holds nodes of the cluster stopped now, None = none does, as far as this coordinator knows."""
    requests = await store.requests.find(cluster=cluster, kind=RequestKind.POINT_IN_TIME)
    asked = [request for request in reversed(requests) if request.state is RequestState.RUNNING]
    half = last_half_way(requests, {})
    for request in [*asked, *([] if half is None else [half.request])]:
        steps = JobSteps(store, job_of(request))
        found = stopped(request, {name: await steps.step(name) for name in _LOOKED_AT})
        if found is not None:
            return found
    return None


def stopped(request: Request, noted: Mapping[str, dict[str, Any] | None]) -> Stopped | None:
    """Whether the restore holds its nodes stopped, by the steps that are `noted` of its job: from before the first one
    is stopped (or its job leaves the state, which lies on these nodes perhaps) until all let clients in, or have their
    old data again."""
    scope = noted.get(S.SCOPE)
    begun = noted.get(S.STOPPING) is not None or noted.get(S.HANDED_OVER) is not None
    if scope is None or not begun or noted.get(S.OPENED) is not None:
        return None
    # What another restore has was left to it: the job has done its part there, and yet nobody is to start the node.
    free = _hosts(noted.get(S.UNDONE)) - _hosts(noted.get(S.LEFT_DOWN))
    hosts = {*msgspec.convert(scope, PitScope).hosts} - free
    running = request.state is RequestState.RUNNING
    return Stopped(request.id, request.started, frozenset(hosts), running) if hosts else None


def _hosts(step: Mapping[str, Any] | None) -> set[str]:
    return {*(step or {}).get("hosts", ())}
