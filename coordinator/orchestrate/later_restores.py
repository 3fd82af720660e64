"""Restores that came after one that stopped. In: the requests of this coordinator. Out: one that changed the same
tables, which no job that is older may be gone on with as if nothing had happened.
"""

from collections.abc import Iterable

from coordinator.model.requests import RESUMABLE, Request, RequestKind, RequestState
from coordinator.orchestrate.restore.job_steps import IRREVOCABLE, job_of
from coordinator.orchestrate.scope import common_tables
from coordinator.store.protocol import Store


async def changed_since(store: Store, former: Request, job: str, kinds: Iterable[RequestKind]) -> Request | None:
    """A restore of these kinds begun after `former`, of another job, that changed any of its tables."""
    for kind in kinds:
        requests = await store.requests.find(cluster=former.cluster, kind=kind)
        known = [request.id for request in requests]
        # Of another kind only the clock tells which one came first.
        begun = known.index(former.id) + 1 if former.id in known else 0
        for request in requests[begun:]:
            if job_of(request) == job or not common_tables(request.keyspaces, former.keyspaces):
                continue
            if not begun and request.started < former.started:
                continue
            # The step may be gone from the store when the request ended long ago; how it ended tells as well.
            ended = request.state is RequestState.SUCCESS or RESUMABLE in request.result
            if ended or await store.requests.step(job_of(request), IRREVOCABLE) is not None:
                return request
    return None
