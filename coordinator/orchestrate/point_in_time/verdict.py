"""May tables be brought to a point, and what exactly is done for it: what every node's check found in, the verdict out.
Pure.

Refusals are plain sentences that name the node and the times, each with `lifted_by`; pit_check shows them and pit/run
refuses by them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from agent.wire.archiving import LogGap
from agent.wire.names import CLUSTER_KEYSPACES, NODE_KEYSPACES
from agent.wire.node import KeyspaceView, RingMember, Tables
from agent.wire.point_in_time import PitCheckResult, PitTable, SchemaChange
from agent.wire.results import ViewCql
from coordinator.orchestrate.point_in_time.by_nodes import by_nodes
from coordinator.orchestrate.point_in_time.refusals import LATER_WRITE, refusal
from coordinator.orchestrate.point_in_time.times import (
    UNIT,
    Precision,
    common_windows,
    floored,
    intersection,
    told_point,
    told_time,
)
from coordinator.orchestrate.point_in_time.unarchived import Unarchived, because, shown
from coordinator.orchestrate.restore.verdict import FORCE, TOLD_SKEW, distinct, named_once


class PitVerdict(msgspec.Struct, frozen=True):
    """`pit_micros`: the point as the nodes can keep it. `tables`: all that are brought there, fully named. `changed`:
    those of them that are made, or dropped and made anew, first; `recreated`: the latter. `drop_views`: what stands on
    them now; `create_views`: all that is made (again) at the end. `taken`: between these times the snapshot was.
    `nodes`: address → what that node found, for people. `windows`: points that every node can be brought to by this
    backup, `other_windows`: by others (tag → the same). `destination`, `pit_destination`: id and place of where the
    backup and the log are. `without`: address → why its log isn't archived there."""

    tag: str
    pit_micros: int
    tables: Tables
    changed: Tables
    recreated: Tables
    drop_views: Tables
    live_views: list[ViewCql]
    create_views: list[ViewCql]
    taken: list[float]
    windows: list[list[float]]
    precision: Precision
    nodes: dict[str, dict[str, Any]]
    refusals: list[dict[str, Any]]
    warnings: list[str]
    other_windows: dict[str, list[list[float]]] = {}
    destination: dict[str, str] = {}
    pit_destination: dict[str, str] = {}
    without: dict[str, Unarchived] = {}

    def shown(self) -> dict[str, Any]:
        """What a person is told of it, beside refusals and warnings."""
        return {
            "tag": self.tag,
            "destination": self.destination,
            "pit_destination": self.pit_destination,
            "nodes_without": shown(self.without),
            "pit": self.pit_micros / 1_000_000,
            "pit_micros": self.pit_micros,
            "precision": self.precision,
            "snapshot_from": self.taken[0],
            "snapshot_until": self.taken[1],
            "windows": self.windows,
            "other_windows": self.other_windows,
            "keyspaces": self.tables,
            "nodes": self.nodes,
        }


class PitSituation(msgspec.Struct, frozen=True):
    """What is known beside the checks. `asked`: the tables of the order, {} = all, {keyspace: []} = all of it. `skews`:
    address → seconds by which the node's clock is ahead, more than `most_skew` is refused."""

    tag: str
    pit_micros: int
    asked: Tables
    ring: list[RingMember]
    skews: dict[str, float]
    most_skew: float
    force: bool
    without: dict[str, Unarchived] = {}
    """address → why the node's log isn't archived to where it is looked for"""


def taken_between(found: Mapping[str, PitCheckResult]) -> list[float]:
    """When the first node began its snapshot, and when the last one had it."""
    return [min(each.taken_from for each in found.values()), max(each.taken_until for each in found.values())]


def judge(situation: PitSituation, found: Mapping[str, PitCheckResult]) -> PitVerdict:
    """`found`: address → what that node's check says."""
    precision: Precision = max((each.precision for each in found.values()), key=lambda each: UNIT[each])
    pit = floored(situation.pit_micros, precision)
    judged = msgspec.structs.replace(situation, pit_micros=pit)
    tables, disagreeing = _tables(found)
    refusals: list[dict[str, Any]] = []
    for address, result in sorted(found.items()):
        refusals += [{"lifted_by": None, **each, "node": address} for each in result.refusals]
        refusals += _log(address, result, pit, situation.without.get(address))
        refusals += _snapshot(address, result, pit)
        refusals += _room(address, result)
    refusals += _doubts(found, disagreeing)
    refusals += _topology(judged, found)
    refusals += _clocks(judged)
    lifted = [each for each in refusals if situation.force and each["lifted_by"] == FORCE]
    warnings = [f"forced: {each['message']}" for each in lifted] + _warnings(judged, found, tables)
    if pit != situation.pit_micros:
        coarse = ", ".join(sorted(address for address, each in found.items() if each.precision == precision))
        warnings.append(
            f"{coarse}: its Cassandra keeps a point to {precision}, so that {told_point(pit)} is used for "
            f"{told_point(situation.pit_micros)}"
        )
    live = named_once(view for each in found.values() for view in each.live_views)
    recreated = _named(table for table in tables if table.action == "recreate")
    return PitVerdict(
        tag=situation.tag,
        pit_micros=pit,
        tables=_named(tables),
        changed=_named(table for table in tables if table.action != "keep"),
        recreated=recreated,
        drop_views=_by_keyspace((view.keyspace, view.name) for view in live),
        live_views=live,
        create_views=_made(live, named_once(view for each in found.values() for view in each.views_at_pit), recreated),
        taken=taken_between(found),
        windows=intersection([each.windows for each in found.values()]),
        other_windows=common_windows([each.other_windows for each in found.values()]),
        precision=precision,
        nodes={address: _shown(result) for address, result in sorted(found.items())},
        refusals=[each for each in distinct(refusals) if each not in lifted],
        warnings=list(dict.fromkeys(warnings)),
        without=situation.without,
    )


def staying(tables: Tables, live: Mapping[str, KeyspaceView]) -> list[str]:
    """What there is now beside `tables`: `keyspace.table`, and keyspaces of which nothing is among them. The nodes' own
    keyspaces aren't named, nobody looks for them there."""
    found = []
    for keyspace, view in sorted(live.items()):
        if keyspace in NODE_KEYSPACES:
            continue
        others = sorted({*view.tables} - {*tables.get(keyspace, [])})
        found += [f"{keyspace}.{table}" for table in others] if keyspace in tables else [keyspace]
    return found


def told_gap(gap: LogGap) -> str:
    """A gap as a clause."""
    between = " and ".join(name for name in (gap.after, gap.before) if name)
    where = f" ({'between ' if gap.after and gap.before else 'beside '}{between})" if between else ""
    return f"what it wrote from {told_time(gap.since)} to {told_time(gap.until)} is missing{where}: {gap.reason}"


def reaches(covered_until: float | None, pit_micros: int) -> bool:
    """Whether a log that lacks nothing up to then holds all that was received until the point."""
    return covered_until is not None and round(covered_until * 1_000_000) >= pit_micros


def _log(address: str, result: PitCheckResult, pit_micros: int, cause: Unarchived | None) -> list[dict[str, Any]]:
    covered = result.covered_until
    if reaches(covered, pit_micros):
        return []
    gaps = [gap for gap in result.gaps if gap.since * 1_000_000 <= pit_micros]
    if gaps:
        told = "; ".join(told_gap(gap) for gap in gaps)
        short = refusal("log_gap", f"{address}: its commit log has a gap before the point: {told}", node=address)
        return [because(short, cause)]
    if covered is None or not result.own_log:
        until = "nothing of its commit log is there" if covered is None else f"its log ends at {told_time(covered)}"
        message = f"{address}: {until}, and its own commit log doesn't go on from there"
        return [because(refusal("log_short", message, node=address), cause)]
    return []


def _snapshot(address: str, result: PitCheckResult, pit: int) -> list[dict[str, Any]]:
    newest = result.newest_write_micros
    if newest is None or newest <= pit:
        return []
    where = f" (in {result.newest_write_in})" if result.newest_write_in else ""
    return [
        refusal(
            LATER_WRITE,
            f"{address}: the snapshot holds a write of {told_point(newest)}{where}, which is after the point",
        )
    ]


def _room(address: str, result: PitCheckResult) -> list[dict[str, Any]]:
    short = [volume for volume in result.volumes if volume.needed_bytes > volume.free_bytes]
    if not short:
        return []
    told = ", ".join(f"{volume.path} needs {volume.needed_bytes}, has {volume.free_bytes}" for volume in short)
    return [refusal("not_enough_space", f"{address}: too little room (bytes): {told}", node=address)]


def _doubts(found: Mapping[str, PitCheckResult], disagreeing: list[str]) -> list[dict[str, Any]]:
    doubts = {
        (change.keyspace, change.table): f"{_told_change(change)}: whether before or after the point isn't known"
        for result in found.values()
        for change in result.schema_doubt
    }
    told = [*doubts.values(), *disagreeing]
    return [refusal("schema_in_doubt", sentence) for sentence in told]


def _topology(situation: PitSituation, found: Mapping[str, PitCheckResult]) -> list[dict[str, Any]]:
    moving = [
        f"{member.address} is {member.state}, not NORMAL" for member in situation.ring if member.state != "NORMAL"
    ]
    changes = sorted({change for result in found.values() for change in result.topology_changes})
    live = {member.host_id: sorted(member.tokens) for member in situation.ring}
    then: dict[str, list[str]] = {}
    for result in found.values():
        then |= {host_id: sorted(tokens) for host_id, tokens in result.hosts_at_snapshot.items()}
    addresses = {member.host_id: member.address for member in situation.ring}
    if then:
        changes += [f"the node {host_id} of the snapshot is not in the ring any more" for host_id in {*then} - {*live}]
        changes += [f"{addresses[host]} is in the ring only since the snapshot" for host in sorted({*live} - {*then})]
        changes += [
            f"{addresses[host]} owns other tokens than at the snapshot"
            for host in sorted({*live} & {*then})
            if live[host] != then[host]
        ]
    return [refusal("topology_changed", sentence) for sentence in [*moving, *changes]]


def _clocks(situation: PitSituation) -> list[dict[str, Any]]:
    return [
        refusal(
            "clock_skewed",
            f"{address}: its clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}; over "
            f"{situation.most_skew:.0f} s nobody can rely on an order being refused when its time has passed: correct "
            "the clock",
            node=address,
        )
        for address, skew in sorted(situation.skews.items())
        if abs(skew) > situation.most_skew
    ]


def _warnings(situation: PitSituation, found: Mapping[str, PitCheckResult], tables: list[PitTable]) -> list[str]:
    point = situation.pit_micros / 1_000_000
    warnings = by_nodes({address: result.warnings for address, result in found.items()})
    changes = _narrowed(change for result in found.values() for change in result.schema_changes)
    warnings += [f"since the snapshot {text}" for text in sorted(map(_told_change, changes))]
    warnings += [f"{each.keyspace}.{each.table} {_action(each)}" for each in tables if each.action != "keep"]
    for address, result in sorted(found.items()):
        late = [gap for gap in result.gaps if gap.since > point]
        warnings += [f"{address}: writes that came late may be missing, for {told_gap(gap)}" for gap in late]
        skew = situation.skews.get(address, 0.0)
        if abs(skew) > TOLD_SKEW:
            warnings.append(f"{address}: its clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}")
    if lwt := sorted({name for result in found.values() for name in result.lwt_tables}):
        warnings.append(
            f"{', '.join(lwt)}: written by lightweight transactions, whose state (system.paxos) is not restored; one "
            "that was under way at the point may come out either way"
        )
    if counters := sorted({name for result in found.values() for name in result.counter_tables}):
        warnings.append(f"{', '.join(counters)}: counters are as each replica's log has them; repair them afterwards")
    return warnings


def _action(table: PitTable) -> str:
    if table.action == "create":
        return "is not there now: it is made as it was at the point"
    more = f" ({table.told})" if table.told else ""
    return f"is not what it was at the point: it is dropped and made as it was then{more}"


def _narrowed(changes: Iterable[SchemaChange]) -> list[SchemaChange]:
    """Each node looked at other moments: a change that several saw was within the time that all of them leave."""
    found: dict[tuple[str, str, str, str], list[SchemaChange]] = {}
    for change in sorted(changes, key=lambda each: (each.after, each.before)):
        seen = found.setdefault((change.keyspace, change.table, change.what, change.told), [])
        if seen and change.after <= seen[-1].before:
            seen[-1] = msgspec.structs.replace(
                change, after=max(change.after, seen[-1].after), before=min(change.before, seen[-1].before)
            )
        else:
            seen.append(change)
    return [change for seen in found.values() for change in seen]


def _told_change(change: SchemaChange) -> str:
    name = f"{change.keyspace}.{change.table}" if change.table else f"the keyspace {change.keyspace}"
    more = f" ({change.told})" if change.told else ""
    return f"{name} was {change.what} between {told_time(change.after)} and {told_time(change.before)}{more}"


def _tables(found: Mapping[str, PitCheckResult]) -> tuple[list[PitTable], list[str]]:
    """What any node says of each table, and sentences where two don't say the same of its id at the point. One that
    has to be made again anywhere is."""
    weight = {"keep": 0, "create": 1, "recreate": 2}
    chosen: dict[tuple[str, str], PitTable] = {}
    ids: dict[tuple[str, str], set[str]] = {}
    for result in found.values():
        for table in result.tables:
            key = (table.keyspace, table.table)
            if table.keyspace in NODE_KEYSPACES | CLUSTER_KEYSPACES:
                continue
            ids.setdefault(key, set()).add(table.id_at_pit)
            if key not in chosen or weight[table.action] > weight[chosen[key].action]:
                chosen[key] = table
    told = [
        f"the nodes know {'.'.join(key)} with {len(each)} ids at the point"
        for key, each in ids.items()
        if len(each) > 1
    ]
    return [chosen[key] for key in sorted(chosen)], sorted(told)


def _made(live: list[ViewCql], at_pit: list[ViewCql], recreated: Tables) -> list[ViewCql]:
    """As they were at the point; those that came since too, where their table stays as it is."""
    views = {(view.keyspace, view.name): view for view in live if view.base not in recreated.get(view.keyspace, [])} | {
        (view.keyspace, view.name): view for view in at_pit
    }
    return [views[key] for key in sorted(views)]


def _shown(result: PitCheckResult) -> dict[str, Any]:
    names = ("taken_from", "taken_until", "floor", "segments", "segment_bytes", "files", "bytes", "covered_until")
    more = ("own_log", "windows", "precision", "newest_write_micros")
    shown = {name: getattr(result, name) for name in (*names, *more)}
    return {**shown, "gaps": [msgspec.to_builtins(gap) for gap in result.gaps]}


def _named(tables: Iterable[PitTable]) -> Tables:
    return _by_keyspace((table.keyspace, table.table) for table in tables)


def _by_keyspace(names: Iterable[tuple[str, str]]) -> Tables:
    found: dict[str, set[str]] = {}
    for keyspace, name in names:
        found.setdefault(keyspace, set()).add(name)
    return {keyspace: sorted(each) for keyspace, each in sorted(found.items())}
