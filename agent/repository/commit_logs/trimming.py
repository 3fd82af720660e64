"""Which part of an archived log may go. In: a node's log in a destination, a time. Out: keys to delete, in two steps.

Only the oldest end goes: segments are looked at in the log's order up to the first that was closed at or after the
time, so that what is left has no new gap. Their records go first, then their objects: whatever is listed can be fetched
at any moment, and a kill in between leaves objects that the next trim finds, for it looks for all objects of segments
that are older than the oldest record left. `spared`: segments that are on the node still, and so may be on their way. A
record that can't be read goes with a later one, and stays with it.
"""

from collections.abc import Collection

import msgspec

from agent.plan.segment_names import segment_id
from agent.repository.commit_logs.errors import LogRecordInvalid
from agent.repository.commit_logs.index import CommitLogs, Listed
from agent.repository.commit_logs.names import damaged_key, log_data_prefix, loss_key, parse_log_data, schema_key


class TrimPlan(msgspec.Struct, frozen=True):
    """`documents`: keys of records, losses and schemas; `objects`: key → stored bytes."""

    documents: list[str]
    objects: dict[str, int]


async def plan_trim(logs: CommitLogs, before: float, spared: Collection[int]) -> TrimPlan:
    """What may go. Raises as CommitLogs, but for records that are damaged."""
    listed = await logs.listed()
    going: list[str] = []
    unread: list[Listed] = []
    kept: int | None = None
    for one in listed:
        number = one.name.segment.id
        try:
            record = await logs.read(one)
        except LogRecordInvalid:
            unread.append(one)
            continue
        if record is not None and (record.closed_at >= before or number in spared):
            kept = number
            break
        if record is not None:
            going += [*(other.entry.key for other in unread), one.entry.key]
            unread = []
    if unread:
        kept = unread[0].name.segment.id
    objects = await _objects(logs, kept, spared, listed[-1].name.segment.id if listed else -1)
    cluster_id, host_id = logs.opened.cluster_id, logs.host_id
    going += [
        loss_key(cluster_id, host_id, loss.after, loss.before)
        for loss in await logs.losses()
        if kept is not None and loss.before and segment_id(loss.before) <= kept and loss.until < before
    ]
    newest = listed[-1].name.segment.id if listed else -1
    going += [
        damaged_key(cluster_id, host_id, name)
        for name in await logs.damaged()
        if (segment_id(name) < kept if kept is not None else segment_id(name) <= newest)
    ]
    try:
        schemas = await logs.schemas()
    except LogRecordInvalid:
        schemas = []  # which of them may go isn't known
    needed = max((one.first_seen for one in schemas if one.first_seen <= before), default=before)
    old = [one for one in schemas if one.first_seen < needed]
    going += [schema_key(cluster_id, host_id, one.first_seen, one.version) for one in old]
    return TrimPlan(going, objects)


async def _objects(logs: CommitLogs, kept: int | None, spared: Collection[int], newest: int) -> dict[str, int]:
    """Objects of segments older than the oldest that is kept (of all that were listed, when none is)."""
    prefix = log_data_prefix(logs.opened.cluster_id, logs.host_id)
    found: dict[str, int] = {}
    async for entry in logs.opened.storage.list(prefix):
        number = parse_log_data(prefix, entry.key)
        if number is None or number in spared:
            continue
        if number >= kept if kept is not None else number > newest:
            break
        found[entry.key] = entry.size
    return found
