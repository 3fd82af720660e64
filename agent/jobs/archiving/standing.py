"""GET /v1/archiving. In: what the archiver knows. Out: it, for a person and for a coordinator."""

from agent.jobs.archiving.archiver import Archiver
from agent.jobs.archiving.errors import ArchiveUnread
from agent.jobs.archiving.order import place_of
from agent.model.commit_log import LossRecord
from agent.plan.log_windows import runs
from agent.plan.segment_names import segment_id
from agent.wire.archiving import ArchiveArguments, ArchivingView, LogGap, LogPlace
from agent.wire.destinations import ON_SERVER

_SHOWN_GAPS = 100


def state_of(archiver: Archiver) -> str:
    """Whether the running Cassandra archives. It does when its newest segment has an id, which is not smaller than the
    milliseconds of its start, of after it was told: else it was started before."""
    order = archiver.order
    if order is None or (not order.arguments.enabled and not runs_before(archiver, order.told_at)):
        return "off"
    if not archiver.answers:
        return "unknown"
    if not order.arguments.enabled:
        return "restart_needed"
    if not archiver.is_told:
        return "lost"
    return "restart_needed" if runs_before(archiver, order.told_at) else "on"


def runs_before(archiver: Archiver, told_at: float) -> bool:
    """Whether the Cassandra whose directory was seen was started before it was told."""
    return max(map(segment_id, archiver.seen.live), default=0) < told_at * 1000


async def view_of(archiver: Archiver) -> ArchivingView:
    """As it stands."""
    order, seen = archiver.order, archiver.seen
    arguments = order.arguments if order is not None else ArchiveArguments(False)
    places = {shipper.target.target.destination: shipper.view() for shipper in archiver.places}
    for target in arguments.targets:
        note = archiver.ledger.known.places.get(place_of(target))
        if target.target.destination not in places:
            places[target.target.destination] = (
                LogPlace() if note is None else LogPlace(note.since, note.until, note.newest)
            )
    if arguments.keep:
        places[ON_SERVER] = await _on_server(archiver)
    refused = [archiver.tail_refused, *(shipper.tail_refused for shipper in archiver.places)]
    trouble, history = archiver.trouble, archiver.history
    newest = None if history is None else history.newest
    return ArchivingView(
        enabled=arguments.enabled,
        state=state_of(archiver),  # type: ignore[arg-type]
        directory=arguments.directory,
        keep=arguments.keep,
        targets=arguments.targets,
        tail_seconds=arguments.tail_seconds,
        tail_refused=next(filter(None, refused), "") if arguments.tail_seconds else "",
        places=places,
        gaps=[_gap(loss) for loss in archiver.ledger.known.losses[-_SHOWN_GAPS:]],
        commitlog_bytes=seen.bytes,
        unarchived_bytes=sum(file.size for file in archiver.leftovers.waiting(seen)),
        schema_version=newest.version if newest is not None else "",
        schema_seen=history.looked.at if history is not None and newest is not None else None,
        trouble=None if trouble is None else trouble.as_dict(),
    )


async def _on_server(archiver: Archiver) -> LogPlace:
    """Of the logs that are kept on the node."""
    known = archiver.ledger.known
    try:
        records = await archiver.kept.records()
    except ArchiveUnread as error:
        return LogPlace(error=error.as_dict())
    if not records:
        return LogPlace()
    last = runs(records, known.losses)[-1]
    first = known.segments.get(last.records[0].name)
    since = last.since if first is None or first.begun_by is None else first.begun_by
    return LogPlace(since, last.until, last.records[-1].name)


def _gap(loss: LossRecord) -> LogGap:
    return LogGap(loss.after, loss.before, loss.since, loss.until, loss.reason)
