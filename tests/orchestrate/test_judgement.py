"""The pure parts of a restore: mapping, replicas, scope, verdict, phases. No agents."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.wire.backups import PlannedNode
from agent.wire.commands import FENCED, Kind
from agent.wire.node import KeyspaceView, RingMember
from agent.wire.replication import replication_differences
from agent.wire.results import PreflightResult, TableDifference, ViewCql, VolumeNeed
from coordinator.model.errors import InvalidArguments, UnknownKeyspace, UnknownTable
from coordinator.orchestrate.errors import KeyspaceRefused
from coordinator.orchestrate.restore.mapping import map_topology
from coordinator.orchestrate.restore.phases import REACTIONS, RESTORE, Answer, Trouble, reaction_to, trouble_of
from coordinator.orchestrate.restore.replicas import uncovered_ranges
from coordinator.orchestrate.restore.verdict import Situation, judge
from coordinator.orchestrate.scope import backup_scope, named_nodes, restore_scope

SIMPLE = {"class": "SimpleStrategy", "replication_factor": "2"}


def member(number: int, *, dc: str = "dc1", rack: str = "r1", tokens: list[str] | None = None) -> RingMember:
    tokens = tokens if tokens is not None else [str(number * 100), str(number * 100 + 50)]
    return RingMember(f"host{number}", f"10.0.0.{number}", dc, rack, "NORMAL", True, tokens, "5.0", "v")


def planned(live: RingMember) -> PlannedNode:
    return PlannedNode(live.host_id, live.address, live.dc, live.rack, list(live.tokens))


rings = st.integers(1, 8).flatmap(
    lambda count: st.tuples(
        *[
            st.builds(
                lambda dc, rack, number=number: member(number, dc=dc, rack=rack),
                st.sampled_from(["dc1", "dc2"]),
                st.sampled_from(["r1", "r2", "r3"]),
            )
            for number in range(count)
        ]
    )
)


@settings(max_examples=40, deadline=None)
@given(rings, st.randoms(use_true_random=False))
def test_any_ring_maps_onto_its_own_backup_whatever_the_host_ids_became(
    ring: tuple[RingMember, ...], random: object
) -> None:
    """Same tokens, dc and rack: one to one, rebuilt nodes (new host ids, addresses) included."""
    backup = [PlannedNode(f"old-{n.host_id}", "10.9.9.9", n.dc, n.rack, sorted(n.tokens)) for n in ring]
    random.shuffle(backup)  # type: ignore[attr-defined]
    mapping = map_topology(backup, [], ring)
    assert mapping.misfits == []
    assert mapping.sources == {live.host_id: f"old-{live.host_id}" for live in ring}


@settings(max_examples=40, deadline=None)
@given(rings, st.data())
def test_one_changed_node_is_always_noticed_and_named(ring: tuple[RingMember, ...], data: st.DataObject) -> None:
    """Another token, dc or rack, a node more or a node less: never mapped, always a reason."""
    backup = [planned(live) for live in ring]
    index = data.draw(st.integers(0, len(ring) - 1))
    change = data.draw(st.sampled_from(["tokens", "dc", "rack", "more", "less"]))
    live = list(ring)
    if change == "more":
        live.append(member(99))
    elif change == "less":
        live.pop(index)
    else:
        value = {"tokens": [*live[index].tokens, "7"], "dc": "elsewhere", "rack": "elsewhere"}[change]
        fields = {"tokens": live[index].tokens, "dc": live[index].dc, "rack": live[index].rack, change: value}
        changed = member(0, **fields)  # type: ignore[arg-type]
        old = live[index]
        live[index] = RingMember(
            old.host_id, old.address, changed.dc, changed.rack, "NORMAL", True, changed.tokens, "5.0", "v"
        )
    mapping = map_topology(backup, [], live)
    assert mapping.misfits
    assert all(misfit.node and misfit.reason for misfit in mapping.misfits)


def test_a_member_that_the_backup_calls_missing_has_no_source_and_is_no_misfit() -> None:
    """A partial backup restores onto the ring it was taken of; the missing node gets nothing."""
    ring = [member(1), member(2)]
    mapping = map_topology([planned(ring[0])], ["host2"], ring)
    assert (mapping.sources, mapping.unsourced, mapping.misfits) == ({"host1": "host1"}, ["host2"], [])


def test_replication_is_compared_by_what_it_means() -> None:
    """Long and short class names are the same; another factor is not."""
    long = {"class": "org.apache.cassandra.locator.SimpleStrategy", "replication_factor": "2"}
    assert replication_differences({"a": SIMPLE}, {"a": long}, ["a", "gone"]) == {}
    other = {**SIMPLE, "replication_factor": "3"}
    assert replication_differences({"a": SIMPLE}, {"a": other}, ["a"]) == {"a": [SIMPLE, other]}


@settings(max_examples=40, deadline=None)
@given(rings, st.integers(1, 4), st.data())
def test_ranges_are_covered_exactly_when_a_replica_of_each_is_restored(
    ring: tuple[RingMember, ...], factor: int, data: st.DataObject
) -> None:
    """All nodes cover all; none covers none; more nodes never cover less; at least n - rf + 1 nodes cover all."""
    replication = {"class": "SimpleStrategy", "replication_factor": str(factor)}
    hosts = [live.host_id for live in ring]
    some = set(data.draw(st.lists(st.sampled_from(hosts), unique=True)))
    uncovered = uncovered_ranges(ring, replication, some)
    assert uncovered_ranges(ring, replication, set(hosts)) == []
    assert len(uncovered_ranges(ring, replication, set())) == sum(len(live.tokens) for live in ring)
    assert set(uncovered_ranges(ring, replication, {*some, hosts[0]})) <= set(uncovered)
    if len(some) > len(hosts) - min(factor, len(hosts)):
        assert uncovered == []


def test_network_topology_puts_replicas_in_distinct_racks_first() -> None:
    """Two racks, factor two: each range has a replica in each rack, so one whole rack covers everything."""
    ring = [member(1, rack="a"), member(2, rack="a"), member(3, rack="b"), member(4, rack="b")]
    replication = {"class": "NetworkTopologyStrategy", "dc1": "2"}
    assert uncovered_ranges(ring, replication, {"host1", "host2"}) == []
    assert uncovered_ranges(ring, replication, {"host1"}) != []
    two = [*ring, member(5, dc="dc2")]
    assert uncovered_ranges(two, {"class": "NetworkTopologyStrategy", "dc1": "2", "dc2": "1"}, {"host5"}) == []


def test_what_all_means() -> None:
    """Design §3.11, for a backup and for a restore."""
    view = KeyspaceView(SIMPLE, True, {"t": "id"}, {})
    live = dict.fromkeys(["shop", "system", "system_schema", "system_auth", "system_traces", "system_views"], view)
    assert sorted(backup_scope({}, live)) == ["shop", "system", "system_auth", "system_schema"]
    backup = {name: ["t"] for name in ("shop", "system", "system_schema", "system_auth", "system_distributed")}
    assert restore_scope({}, backup) == {"shop": ["t"]}
    assert restore_scope({"system_auth": []}, backup) == {"system_auth": ["t"]}
    for refused in ("system", "system_schema", "system_views"):
        with pytest.raises(KeyspaceRefused, match=refused):
            restore_scope({refused: []}, backup)
    with pytest.raises(UnknownKeyspace):
        restore_scope({"Shop": []}, backup)
    with pytest.raises(UnknownTable):
        restore_scope({"shop": ["T"]}, backup)
    with pytest.raises(InvalidArguments):
        restore_scope({}, {"system": ["t"]})


def test_nodes_are_named_by_address_or_host_id() -> None:
    """excluded-nodes: both forms; an unknown one is an error."""
    ring = [member(1), member(2)]
    assert named_nodes(["10.0.0.1", "host1", "host2"], ring) == ["host1", "host2"]
    with pytest.raises(InvalidArguments, match=r"10\.0\.0\.9"):
        named_nodes(["10.0.0.9"], ring)


def found(**changes: object) -> PreflightResult:
    """A preflight that finds nothing wrong."""
    facts: dict[str, object] = {
        "files": 1, "bytes": 1, "sstables": 1, "tables_in_backup": {"shop": ["orders"]}, "missing_keyspaces": [],
        "missing_tables": {}, "differences": [], "replication_differs": {}, "live_views": [], "backup_views": [],
        "views_enabled": True, "volumes": [], "refusals": [], "warnings": [], "now": 0.0,
    }  # fmt: skip
    return PreflightResult(**(facts | changes))  # type: ignore[arg-type]


def situation(**changes: object) -> Situation:
    ring = [member(1), member(2)]
    facts: dict[str, object] = {
        "tables": {"shop": ["orders", "users"]}, "truncated": ["shop"], "ring": ring, "down": [],
        "restored": ["host1", "host2"], "excluded": [], "replication": {"shop": SIMPLE}, "skews": {},
        "force": False, "force_schema": False, "most_skew": 300.0,
    }  # fmt: skip
    return Situation(**(facts | changes))  # type: ignore[arg-type]


VIEW = ViewCql("shop", "by_day", "orders", "live")


def test_every_nodes_findings_are_joined() -> None:
    """What one node lacks is made; what is made anew isn't truncated; views of what is made, and those
    that are gone, come from the backup."""
    verdict = judge(
        situation(),
        {
            "n1": found(missing_tables={"shop": ["users"]}, live_views=[VIEW]),
            "n2": found(
                backup_views=[
                    ViewCql("shop", "by_name", "users", "backup"),
                    ViewCql("shop", "by_day", "orders", "as it was"),
                    ViewCql("shop", "gone", "orders", "gone"),
                ]
            ),
        },
    )
    assert verdict.refusals == []
    assert (verdict.make_schema, verdict.truncate) == (True, {"shop": ["orders"]})
    assert verdict.drop_views == {"shop": ["by_day"]}
    assert [view.statement for view in verdict.create_views] == ["live", "backup", "gone"]
    [told] = [text for text in verdict.warnings if "view" in text]
    assert told.startswith("the materialized views shop.gone, ")
    assert told.endswith(" are not there now: they are made as they were")


def test_what_an_earlier_restore_owes_is_made_unless_its_table_is_made_anew() -> None:
    """Promise: the backup's own definition counts where both know the view, and where the table is another one now."""
    owed = [
        ViewCql("shop", "of_both", "orders", "owed"),
        ViewCql("shop", "of_none", "orders", "owed"),
        ViewCql("shop", "of_new", "users", "owed"),
    ]
    verdict = judge(
        situation(owed_views=owed),
        {
            "n1": found(
                missing_tables={"shop": ["users"]}, backup_views=[ViewCql("shop", "of_both", "orders", "as backed up")]
            )
        },
    )
    assert [(view.name, view.statement) for view in verdict.create_views] == [
        ("of_both", "as backed up"),
        ("of_none", "owed"),
    ]


def test_views_that_are_gone_stay_so_where_cassandra_makes_none() -> None:
    """Promise: a table whose views somebody dropped, and whose nodes make none any more, comes back without them."""
    verdict = judge(situation(), {"n1": found(backup_views=[VIEW], views_enabled=False)})
    assert (verdict.refusals, verdict.create_views) == ([], [])
    assert any(
        "shop.by_day, of the backup or owed by an earlier restore, are not there now and stay so" in text
        for text in verdict.warnings
    )


@pytest.mark.parametrize(
    ("facts", "finding", "code", "lifted_by"),
    [
        ({}, {"differences": [TableDifference("shop", "orders", "a", "b")]}, "schema_differs", "force_schema"),
        ({}, {"replication_differs": {"shop": [SIMPLE, {}]}}, "replication_differs", None),
        ({}, {"live_views": [VIEW], "views_enabled": False}, "views_disabled", None),
        ({}, {"volumes": [VolumeNeed("/data", 2, 1)]}, "not_enough_space", None),
        ({}, {"refusals": [{"code": "staging_refused", "message": "x"}]}, "staging_refused", None),
        ({"down": [member(2)]}, {}, "nodes_down", None),
        ({"skews": {"10.0.0.1": 301.0}}, {}, "clock_skewed", None),
        ({"skews": {"10.0.0.2": -301.0}}, {}, "clock_skewed", None),
        ({"restored": [], "excluded": ["10.0.0.1", "10.0.0.2"]}, {}, "ranges_uncovered", "force"),
    ],
)
def test_each_reason_stops_a_restore_and_only_its_own_force_lifts_it(
    facts: dict[str, object], finding: dict[str, object], code: str, lifted_by: str | None
) -> None:
    """Every refusal by its code, and what lifts it."""
    for force in (None, "force", "force_schema"):
        forced = {force: True} if force else {}
        verdict = judge(situation(**facts, **forced), {"n1": found(**finding)})
        codes = {refusal["code"]: refusal["lifted_by"] for refusal in verdict.refusals}
        assert codes == ({} if force is not None and force == lifted_by else {code: lifted_by})


def test_a_node_that_is_down_is_named_once_whoever_found_it() -> None:
    """The coordinator's view and every node's own preflight say the same sentence: one is told, with all the names."""
    refusal = {"code": "nodes_down", "message": "TRUNCATE needs every node", "fields": {"nodes": ["10.0.0.2"]}}
    other = {"code": "nodes_down", "message": "TRUNCATE needs every node", "fields": {"nodes": ["10.0.0.3"]}}
    verdict = judge(situation(down=[member(2)]), {"n1": found(refusals=[refusal]), "n3": found(refusals=[other])})
    assert [each["message"] for each in verdict.refusals] == ["TRUNCATE needs every node; down: 10.0.0.2, 10.0.0.3"]
    assert verdict.refusals[0]["fields"] == {"nodes": ["10.0.0.2", "10.0.0.3"]}


def test_skewed_clocks_are_warned_about() -> None:
    """More than a minute apart: said, by node; the clock of a node that takes no part is only told about."""
    verdict = judge(situation(skews={"n1": 61.0, "n2": -400.0, "n3": 30.0}), {"n1": found()})
    assert [warning for warning in verdict.warnings if "clock" in warning] == [
        "n1: its clock is 61 s ahead",
        "n2: its clock is 400 s behind",
    ]
    assert verdict.refusals == []


def test_excluded_nodes_are_said_to_lose_what_is_emptied_or_made_anew() -> None:
    """Also when tables are only replaced by force_schema; never when nothing is taken away."""
    difference = TableDifference("shop", "orders", "a", "b")
    excluding = situation(truncated=[], excluded=["10.0.0.2"], restored=["host1", "host2"], force_schema=True)
    for findings, said in (([difference], True), ([], False)):
        verdict = judge(excluding, {"n1": found(differences=findings)})
        assert any("excluded nodes are truncated too" in warning for warning in verdict.warnings) == said


def test_a_node_that_keeps_no_snapshots_is_named_before_anything_is_emptied() -> None:
    """auto_snapshot: false means that what is truncated there is gone for good."""
    for truncated in ([], ["shop"]):
        verdict = judge(situation(truncated=truncated), {"n1": found(auto_snapshot=False), "n2": found()})
        assert verdict.without_snapshots == ["n1"]
        assert any("auto_snapshot is off on n1" in warning for warning in verdict.warnings) == bool(truncated)


@pytest.mark.parametrize(("truncated", "merges"), [(["shop"], False), ([], True)])
def test_a_merge_is_warned_about_only_where_nothing_is_truncated(truncated: list[str], merges: bool) -> None:
    """Without truncate newer writes and deletes win: said, but not of tables that are empty or made anew."""
    verdict = judge(
        situation(truncated=truncated, tables={"shop": ["orders"], "empty": []}),
        {"n1": found(missing_tables={"shop": ["orders"]})},
    )
    assert any("merged" in warning for warning in verdict.warnings) == merges


def test_every_phase_has_a_reaction_to_every_trouble() -> None:
    """phase × trouble → answer; schema work of unknown outcome always waits, nothing irrevocable is aborted."""
    assert set(REACTIONS) == {(phase.kind, trouble) for phase in RESTORE for trouble in Trouble}
    for phase in RESTORE:
        if phase.kind in FENCED and phase.kind is not Kind.IMPORT:
            assert REACTIONS[phase.kind, Trouble.AGENT_LOST].then is Answer.WAIT
        if phase.irrevocable:
            assert Answer.ABORT not in {REACTIONS[phase.kind, trouble].then for trouble in Trouble}
    order = [phase.kind for phase in RESTORE]
    assert order.index(Kind.FETCH) < order.index(Kind.TRUNCATE) < order.index(Kind.IMPORT) < order.index(Kind.CHECK)


def test_the_document_prints_the_table_of_reactions() -> None:
    """docs/restore.md says what the code does."""
    text = (Path(__file__).parents[2] / "docs" / "restore.md").read_text()
    for phase in RESTORE:
        cells = [cell(phase.kind, trouble) for trouble in Trouble]
        assert f"| {phase.kind.value} | {' | '.join(cells)} |" in text


def cell(kind: Kind, trouble: Trouble) -> str:
    """A reaction in words."""
    reaction = REACTIONS[kind, trouble]
    words = ["wait for the node" if reaction.patient else ""]
    words.append(
        f"retry {reaction.retries} times" if reaction.retries > 1 else "retry once" if reaction.retries else ""
    )
    words.append(reaction.then.value)
    return ", ".join(word for word in words if word)


def test_known_codes_of_the_agents_stand_for_their_trouble() -> None:
    """Codes are a contract: a renamed one would silently get another reaction."""
    assert trouble_of("agent_unreachable") is trouble_of("interrupted") is Trouble.AGENT_LOST
    assert trouble_of("cassandra_unavailable") is Trouble.CASSANDRA_DOWN
    assert trouble_of("not_enough_space") is Trouble.DISK_FULL
    assert {trouble_of(code) for code in ("object_damaged", "sstable_damaged", "snapshot_damaged")} == {
        Trouble.DIGEST_WRONG
    }
    assert reaction_to(Kind.SNAPSHOT, "whatever").then is Answer.CONTINUE


def test_a_schema_that_differs_is_told_by_its_columns() -> None:
    """The message names them; the fields show both texts."""
    told = [f"the column c{number} int is missing" for number in range(12)]
    difference = TableDifference("shop", "orders", "a", "b", told)
    verdict = judge(situation(), {"n1": found(differences=[difference])})
    [refusal] = verdict.refusals
    assert refusal["message"].startswith("shop.orders differs from the backup: the column c0 int is missing; the")
    assert refusal["message"].endswith("the column c9 int is missing and 2 more")
    assert (refusal["fields"]["backup"], refusal["fields"]["live"]) == ("a", "b")
