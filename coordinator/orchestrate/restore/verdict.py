"""May a restore go on, and what exactly will it do: what every node's preflight found in, the verdict out. Pure.

With many nodes it takes seconds: call it in a thread.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from agent.wire.node import RingMember, Tables
from agent.wire.results import PreflightResult, ViewCql
from coordinator.orchestrate.restore.replicas import uncovered_ranges
from kit.some_of import some_of

NODES_DOWN = "nodes_down"
FORCE = "force"
FORCE_SCHEMA = "force_schema"
LIFTED_BY = {"schema_differs": FORCE_SCHEMA, "ranges_uncovered": FORCE}
"""Refusals that a person may lift; every other one stands, whatever is forced."""

TOLD_SKEW = 60.0
"""Seconds between a node's clock and the coordinator's that are warned about."""

SHOWN_RANGES = 5
MOST_TOLD = 10
"""Columns and fields of a table that a refusal's message names."""


class Verdict(msgspec.Struct, frozen=True):
    """`refusals`: error objects, each with `lifted_by`; any one stops the restore. `tables`: all that come back.
    `truncate`: those of them that are emptied. `replace`: dropped and made again. `make_schema`: something of the
    backup isn't there yet. `drop_views`, `live_views`: what stands in the way now. `create_views`: all that is made
    (again) at the end, views of the backup that are gone among it. `force`, `force_schema`: what it was lifted by.
    `without_snapshots`: addresses of nodes where Cassandra keeps nothing of what is emptied or dropped."""

    refusals: list[dict[str, Any]]
    warnings: list[str]
    truncate: Tables
    replace: Tables
    make_schema: bool
    drop_views: dict[str, list[str]]
    live_views: list[ViewCql]
    create_views: list[ViewCql]
    force: bool = False
    force_schema: bool = False
    without_snapshots: list[str] = []

    def with_views_of(self, earlier: "Verdict", *, dropped: bool) -> "Verdict":
        """This verdict of a job that another one carried on before: what that was going to make is still to be made,
        although its tables are there by now. `dropped`: the views that were live then are gone."""
        live = named_once([*earlier.live_views, *self.live_views]) if dropped else self.live_views
        return msgspec.structs.replace(
            self, live_views=live, create_views=named_once([*earlier.create_views, *self.create_views])
        )


class Situation(msgspec.Struct, frozen=True):
    """What is known beside the preflights. `truncated`: keyspaces that are to be emptied first; `truncate_done`: they
    are already, so that it needs no node any more. `down`: ring members held for down. `restored`: host ids that take
    part. `replication`: of the asked keyspaces, as in the backup. `skews`: address → seconds by which the node's clock
    is ahead; more than `most_skew`, either way, is refused. `owed_views`: on the asked tables, of earlier restores."""

    tables: Tables
    truncated: list[str]
    ring: list[RingMember]
    down: list[RingMember]
    restored: list[str]
    excluded: list[str]
    replication: dict[str, dict[str, str]]
    skews: dict[str, float]
    force: bool
    force_schema: bool
    most_skew: float
    truncate_done: bool = False
    owed_views: list[ViewCql] = []


def most_skew(force_margin: float) -> float:
    """By how many seconds a node's clock may differ: what must not begin after a moment is told by that clock, and the
    margin after it, in seconds, is for what the clock does meanwhile."""
    return max(force_margin / 2, TOLD_SKEW)


def judge(situation: Situation, found: Mapping[str, PreflightResult]) -> Verdict:
    """`found`: address → what that node's preflight says."""
    refusals: list[dict[str, Any]] = []
    missing = _merged(result.missing_tables for result in found.values())
    for keyspace in {name for result in found.values() for name in result.missing_keyspaces}:
        missing[keyspace] = sorted({*missing.get(keyspace, []), *situation.tables.get(keyspace, [])})
    different = {(d.keyspace, d.name): d for result in found.values() for d in result.differences}
    replace = _merged({keyspace: [name]} for keyspace, name in different if name in situation.tables.get(keyspace, []))
    truncate = {
        keyspace: [
            table
            for table in tables
            if table not in missing.get(keyspace, []) and table not in replace.get(keyspace, [])
        ]
        for keyspace, tables in situation.tables.items()
        if keyspace in situation.truncated
    }
    truncate = {keyspace: tables for keyspace, tables in truncate.items() if tables}
    for address, result in sorted(found.items()):
        own = [refusal for refusal in result.refusals if refusal.get("code") != NODES_DOWN]
        refusals.extend({**refusal, "node": address} for refusal in own)
        short = [volume for volume in result.volumes if volume.needed_bytes > volume.free_bytes]
        if short and not any(refusal.get("code") == "not_enough_space" for refusal in result.refusals):
            told = ", ".join(f"{volume.path} needs {volume.needed_bytes}, has {volume.free_bytes}" for volume in short)
            refusals.append(_refusal("not_enough_space", f"{address}: too little room (bytes): {told}", node=address))
    for (keyspace, name), difference in sorted(different.items()):
        told = f": {some_of(difference.told, MOST_TOLD, '; ')}" if difference.told else ""
        message = f"{keyspace}.{name} differs from the backup{told}"
        refusals.append(_refusal("schema_differs", message, backup=difference.backup, live=difference.live))
    replications = {
        keyspace: both for result in found.values() for keyspace, both in result.replication_differs.items()
    }
    for keyspace, both in sorted(replications.items()):
        message = f"{keyspace} replicates differently than when the backup was taken"
        refusals.append(_refusal("replication_differs", message, backup=both[0], live=both[-1]))
    live_views = named_once(view for result in found.values() for view in result.live_views)
    backup_views = named_once(view for result in found.values() for view in result.backup_views)
    create_views = views_to_make(live_views, backup_views, missing, replace)
    disabled = sorted(address for address, result in found.items() if not result.views_enabled)
    gone = _gone([*backup_views, *_of_standing(situation.owed_views, missing, replace)], create_views)
    if create_views and disabled:
        refusals.append(
            _refusal(
                "views_disabled",
                "the tables have materialized views, and materialized_views_enabled is false",
                nodes=disabled,
                views=[f"{view.keyspace}.{view.name}" for view in create_views],
            )
        )
    down = _down(found)
    if replace or (truncate and not situation.truncate_done):
        down |= {member.address for member in situation.down}
    if down:
        names = sorted(down)
        refusals.append(_refusal(NODES_DOWN, f"TRUNCATE needs every node; down: {', '.join(names)}", nodes=names))
    refusals += _coverage(situation, emptied=bool(truncate or replace))
    refusals += _skewed(situation)
    refusals = [refusal for refusal in distinct(refusals) if not _lifted(refusal, situation)]
    return Verdict(
        refusals=refusals,
        warnings=_warnings(situation, found, emptied=bool(truncate or replace)) + _gone_told(gone, disabled),
        truncate=truncate,
        replace=replace,
        make_schema=bool(missing or replace),
        drop_views=_merged({view.keyspace: [view.name]} for view in live_views),
        live_views=live_views,
        create_views=create_views if disabled else named_once([*create_views, *gone]),
        force=situation.force,
        force_schema=situation.force_schema,
        without_snapshots=_without_snapshots(found),
    )


def views_to_make(
    live: Sequence[ViewCql], backup: Sequence[ViewCql], missing: Tables, replaced: Tables
) -> list[ViewCql]:
    """All views that were live, plus those of tables that the restore makes. Of a table that is made anew the backup's
    own definition counts: the live one was of other columns."""

    def made(view: ViewCql) -> bool:
        return view.base in missing.get(view.keyspace, []) or view.base in replaced.get(view.keyspace, [])

    chosen = {(view.keyspace, view.name): view for view in live}
    chosen |= {(view.keyspace, view.name): view for view in backup if made(view)}
    return [chosen[key] for key in sorted(chosen)]


def _gone(wanted: Sequence[ViewCql], others: Sequence[ViewCql]) -> list[ViewCql]:
    """Views that are not there although their tables are: the backup has them, or an earlier restore never came to make
    them again. Whoever restores the table wants what is read of it."""
    known = {(view.keyspace, view.name) for view in others}
    gone = {(view.keyspace, view.name): view for view in reversed(wanted)}
    return [view for name, view in sorted(gone.items()) if name not in known]


def _of_standing(owed: Sequence[ViewCql], missing: Tables, replaced: Tables) -> list[ViewCql]:
    """Those whose tables stay as they are: of one that is made anew the backup knows the views."""
    return [
        view
        for view in owed
        if view.base not in missing.get(view.keyspace, []) and view.base not in replaced.get(view.keyspace, [])
    ]


def _gone_told(gone: Sequence[ViewCql], disabled: Sequence[str]) -> list[str]:
    if not gone:
        return []
    names = ", ".join(f"{view.keyspace}.{view.name}" for view in gone)
    whose = f"the materialized views {names}, of the backup or owed by an earlier restore,"
    if disabled:
        return [f"{whose} are not there now and stay so: materialized_views_enabled is false on {', '.join(disabled)}"]
    return [f"{whose} are not there now: they are made as they were"]


def _down(found: Mapping[str, PreflightResult]) -> set[str]:
    """Whom the nodes' own preflights refuse for being down: every one says the same, once is enough for people."""
    refused = [refusal for result in found.values() for refusal in result.refusals if refusal.get("code") == NODES_DOWN]
    fields = [refusal.get("fields") for refusal in refused]
    nodes = [each.get("nodes") for each in fields if isinstance(each, dict)]
    return {str(address) for named in nodes if isinstance(named, list) for address in named}


def _coverage(situation: Situation, *, emptied: bool) -> list[dict[str, Any]]:
    refusals = []
    restored = set(situation.restored)
    loss = {"will_be_emptied": situation.excluded} if emptied and situation.excluded else {}
    also = f" (emptied and not restored: {', '.join(situation.excluded)})" if loss else ""
    of_replication: dict[frozenset[tuple[str, str]], list[str]] = {}  # most keyspaces replicate alike
    for keyspace, replication in sorted(situation.replication.items()):
        alike = frozenset(replication.items())
        if alike not in of_replication:
            of_replication[alike] = uncovered_ranges(situation.ring, replication, restored)
        uncovered = of_replication[alike]
        if uncovered:
            refusals.append(
                _refusal(
                    "ranges_uncovered",
                    f"{len(uncovered)} ranges of {keyspace} would have no restored replica{also}",
                    keyspace=keyspace,
                    ranges=uncovered[:SHOWN_RANGES],
                    excluded_nodes=situation.excluded,
                    **loss,
                )
            )
    return refusals


def _skewed(situation: Situation) -> list[dict[str, Any]]:
    restored = {member.address for member in situation.ring if member.host_id in situation.restored}
    return [
        _refusal(
            "clock_skewed",
            f"{address}: its clock is {_told_skew(skew)}; over {situation.most_skew:.0f} s nobody can rely on a "
            "truncate being refused when its time has passed: correct the clock",
            node=address,
            skew_seconds=round(skew, 1),
        )
        for address, skew in sorted(situation.skews.items())
        if address in restored and abs(skew) > situation.most_skew
    ]


def _told_skew(skew: float) -> str:
    return f"{abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"


def _warnings(situation: Situation, found: Mapping[str, PreflightResult], *, emptied: bool) -> list[str]:
    warnings = [f"{address}: {text}" for address, result in sorted(found.items()) for text in result.warnings]
    for address, skew in sorted(situation.skews.items()):
        if abs(skew) > TOLD_SKEW:
            warnings.append(f"{address}: its clock is {_told_skew(skew)}")
    if situation.excluded and emptied:
        warnings.append(
            "excluded nodes are truncated too, and lose the tables that are dropped and made anew: "
            + ", ".join(situation.excluded)
        )
    if emptied and (bare := _without_snapshots(found)):
        warnings.append(
            f"auto_snapshot is off on {', '.join(bare)}: of what is emptied or dropped there Cassandra keeps nothing"
        )
    if any(tables and keyspace not in situation.truncated for keyspace, tables in situation.tables.items()):
        warnings.append("what isn't truncated is merged: newer writes and deletes, and counters as they are now, win")
    return warnings


def _without_snapshots(found: Mapping[str, PreflightResult]) -> list[str]:
    return sorted(address for address, result in found.items() if not result.auto_snapshot)


def _refusal(code: str, message: str, **fields: object) -> dict[str, Any]:
    return {"code": code, "message": message, "fields": fields}


def _lifted(refusal: dict[str, Any], situation: Situation) -> bool:
    lifted_by = LIFTED_BY.get(str(refusal.get("code")))
    refusal["lifted_by"] = lifted_by
    return (lifted_by == FORCE and situation.force) or (lifted_by == FORCE_SCHEMA and situation.force_schema)


def _merged(parts: Iterable[Mapping[str, Sequence[str]]]) -> Tables:
    merged: dict[str, set[str]] = {}
    for part in parts:
        for keyspace, tables in part.items():
            merged.setdefault(keyspace, set()).update(tables)
    return {keyspace: sorted(tables) for keyspace, tables in sorted(merged.items())}


def named_once(views: Iterable[ViewCql]) -> list[ViewCql]:
    """Of what several nodes tell, each view once, by name."""
    found = {(view.keyspace, view.name): view for view in views}
    return [found[key] for key in sorted(found)]


def distinct(refusals: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What several nodes refuse in the same words, once."""
    seen: list[dict[str, Any]] = []
    for refusal in refusals:
        if refusal not in seen:
            seen.append(refusal)
    return seen
