"""The activity of backups that this coordinator's state knows nothing of, rebuilt from what lies in a destination.

In: a destination that was just added, or changed. Out: an entry of the activity, and an ended request, for each backup
there, as far as its listing record, or else plan and manifests, tell. A coordinator that lost its state has them back
so; one that shares a destination with another one learns of that one's.

What makes it safe: nothing is asked for but a listing; only what is new is written, each backup's request and entry in
one step and under an id that the repository and the tag make, so that a second time, or a life after a kill half-way,
adds what is missing and changes nothing. What is rebuilt is of a kind of its own: retention and scrubs count it for
nothing, nobody is told of it, and nothing goes on with it.
"""

import uuid
from collections.abc import Iterator
from typing import Any

from agent.wire.backups import RUNNING, SUCCESS, NodeRecord
from agent.wire.destinations import place_of
from coordinator.model.activity import ActivityEvent, ActivityQuery
from coordinator.model.cluster import Backup
from coordinator.model.destinations import Destination, description, place_shown
from coordinator.model.orders import BackupOrder, Copy
from coordinator.model.requests import Request, RequestKind, RequestState, spec_of
from coordinator.orchestrate.listing import Joined, backup_of, is_through
from coordinator.orchestrate.places import Places
from coordinator.orchestrate.run import Run
from coordinator.store.keeping import KEEP_ACTIVITY_SECONDS
from kit.slices import Slices

NAMESPACE = uuid.UUID("0c2a0f0f-7d5e-5a43-8a0c-4d6f4f5ad6f2")
"""Of the ids. Never changes: people keep them."""
REBUILT = "rebuilt"
"""In the result of such a request: what its nodes and keyspaces hold."""
ENDED = {SUCCESS: RequestState.SUCCESS, "partial": RequestState.ERROR, "failed": RequestState.ERROR}
"""States of backups that nobody writes any more, as requests end."""


async def rebuild_activity(run: Run, destination: Destination) -> int:
    """Add what is missing; how many backups that was. Deleted ones are left out, for when they were isn't known, and so
    are those whose end isn't known yet, and those so old that their entry would have gone. Raises what a listing and
    the store raise, `RequestCancelled`."""
    around, cluster = run.around, run.cluster
    places, slices, added = Places(around, cluster), Slices(), 0
    known = await _known(run, destination)
    oldest = around.clock() - KEEP_ACTIVITY_SECONDS
    for tag, joined in (await places.backups(destination)).items():
        await slices.pause()
        if joined.deleted or tag in known:
            continue
        run.stop_if_cancelled()
        if joined.record is None or joined.record.state == RUNNING:
            joined = await places.backup(destination, tag) or joined
        backup = backup_of(joined, running=False)
        if _has_ended(joined, backup) and backup.time >= oldest:
            await around.store.requests.create(*rebuilt(destination, backup, joined))
            added += 1
    return added


def _has_ended(joined: Joined, backup: Backup) -> bool:
    """Whether nobody writes it any more. Where no record can be read it may be under way elsewhere, whatever is missing
    of it, until every node that took part has its manifest there."""
    return backup.state in ENDED and (joined.record is not None or is_through(joined))


async def _known(run: Run, destination: Destination) -> set[str]:
    """Tags of backups of which the activity has an entry for the destination, or for one that was at its place."""
    events = await run.around.store.requests.events(run.cluster, ActivityQuery(type="backup"))
    place = place_of(destination.settings)
    known, slices = set[str](), Slices()
    for event in events:
        await slices.pause()
        if event.destination["id"] == destination.id or place_shown(event.destination) == place:
            known.add(event.tag)
    return known


def id_of(destination: Destination, tag: str) -> str:
    """The same for a backup of a repository, under whatever id it is a destination."""
    return str(uuid.uuid5(NAMESPACE, f"{destination.repository_id} {destination.cluster_id} {tag}"))


def rebuilt(destination: Destination, backup: Backup, joined: Joined) -> tuple[Request, list[ActivityEvent]]:
    """The request and the entry of a backup that has ended. Pure."""
    state, partial = ENDED[backup.state], backup.state == "partial"
    tables = {keyspace: part.tables for keyspace, part in backup.keyspaces.items()}
    order = BackupOrder(
        tag=backup.tag,
        time=int(backup.time),
        backup_id=backup.backup_id,
        keyspaces=tables,
        keep=False,
        copies=[Copy(destination.id)],
    )
    finished = joined.record.finished if joined.record is not None else None
    request = Request(
        id=id_of(destination, backup.tag),
        kind=RequestKind.REBUILT,
        cluster=destination.cluster,
        state=state,
        started=backup.time,
        finished=max(backup.time, finished or backup.stored or 0.0),
        spec=spec_of(order),
        tag=backup.tag,
        destinations=[destination.id],
        keyspaces=tables,
        partial=partial,
        message=f"rebuilt from what lies in the destination {destination.id}: {backup.state}",
        result={
            REBUILT: {
                "backup": backup.state,
                "bytes": sum(part.bytes for part in backup.keyspaces.values()),
                "keyspaces": {name: part.bytes for name, part in backup.keyspaces.items()},
                "nodes": dict(_nodes(joined)),
            }
        },
    )
    event = ActivityEvent(
        cluster=destination.cluster,
        request=request.id,
        type="backup",
        tag=backup.tag,
        destination=description(destination),
        event_time=int(backup.time),
        status=str(state),
        keyspaces=tables,
        partial=partial,
        rebuilt=True,
    )
    return request, [event]


def _nodes(joined: Joined) -> Iterator[tuple[str, dict[str, Any]]]:
    """Address → what became of its part, and how many bytes it has where the record tells."""
    record, missing = joined.record, {*joined.missing}
    if record is not None and record.state != RUNNING:
        for node in record.nodes:
            lost = node.host_id in missing and node.state == SUCCESS
            yield node.address, {"state": "missing" if lost else node.state, "bytes": _bytes(node)}
    elif joined.plan is not None:
        for planned in joined.plan.nodes:
            yield planned.address, {"state": "missing" if planned.host_id in missing else SUCCESS}


def _bytes(node: NodeRecord) -> int:
    return sum(node.sizes.values())
