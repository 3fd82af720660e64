"""Views that an earlier restore took down and never came to make again. In: the tables that are restored now. Out: the
views on them that are owed, each with its statement.

Only the restore that owes them would make them, and it can't go on once another one has changed its tables: so whoever
restores a table pays what is owed of it. A restore of the table that ended well since has paid.
"""

from collections.abc import Mapping

import msgspec

from agent.wire.node import KeyspaceView, Tables
from agent.wire.results import ViewCql
from coordinator.model.requests import RequestKind, RequestState
from coordinator.orchestrate.restore.job_steps import JobSteps, job_of
from coordinator.orchestrate.restore.verdict import Verdict
from coordinator.store.protocol import Store

OWED_VIEWS = "owed_views"
"""In a restore's result: the statements of views that were there before, or belong to the backup, and are not now."""


async def owed_views(
    store: Store, cluster: str, job: str, tables: Tables, live: Mapping[str, KeyspaceView]
) -> list[ViewCql]:
    """Those that restores of other jobs owe and that are not `live`; nor is their name another one's, nor their table
    gone."""
    owed: dict[tuple[str, str], ViewCql] = {}
    for request in await store.requests.find(cluster=cluster, kind=RequestKind.RESTORE):
        if request.state is RequestState.SUCCESS:
            owed = {name: view for name, view in owed.items() if not _on(view, request.keyspaces)}
        statements = request.result.get(OWED_VIEWS)
        if not statements or job_of(request) == job:
            continue
        noted = await JobSteps(store, job_of(request)).step("verdict")
        if noted is not None:
            verdict = msgspec.convert(noted, Verdict)
            views = [view for view in (*verdict.live_views, *verdict.create_views) if view.statement in statements]
            owed |= {(view.keyspace, view.name): view for view in views}
    return [view for name, view in sorted(owed.items()) if _on(view, tables) and _can_be_made(view, live)]


def _on(view: ViewCql, tables: Tables) -> bool:
    return view.base in tables.get(view.keyspace, ())


def _can_be_made(view: ViewCql, live: Mapping[str, KeyspaceView]) -> bool:
    there = live.get(view.keyspace)
    return there is not None and view.base in there.tables and view.name not in {*there.tables, *there.views}
