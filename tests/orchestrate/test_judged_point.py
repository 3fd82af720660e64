"""The pure parts of a restore to a point: the verdict over all nodes' checks, windows, candidates, phases."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.wire.archiving import LogGap
from agent.wire.backups import Record
from agent.wire.commands import FENCED, Kind
from agent.wire.node import RingMember
from agent.wire.point_in_time import PitCheckResult, PitTable, SchemaChange
from agent.wire.results import ViewCql, VolumeNeed
from coordinator.orchestrate.listing import Joined
from coordinator.orchestrate.point_in_time.by_nodes import by_nodes
from coordinator.orchestrate.point_in_time.checking import refused
from coordinator.orchestrate.point_in_time.phases import POINT_IN_TIME, REACTIONS
from coordinator.orchestrate.point_in_time.refusals import TODO
from coordinator.orchestrate.point_in_time.refusals import refusal as refusal_of
from coordinator.orchestrate.point_in_time.snapshots import beside, candidates, may_begin
from coordinator.orchestrate.point_in_time.times import floored, intersection, told_point, told_time
from coordinator.orchestrate.point_in_time.verdict import PitSituation, PitVerdict, judge
from coordinator.orchestrate.reactions import reaction_to
from coordinator.orchestrate.restore.phases import Answer, Trouble

ERRORS = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
POINT = 1_450_143_120_123_457
AT = POINT / 1_000_000
VIEW = ViewCql("shop", "by_day", "orders", "CREATE then")


def check(**changes: Any) -> PitCheckResult:
    """What a node says with which all is well."""
    known: dict[str, Any] = {
        "taken_from": AT - 100, "taken_until": AT - 90, "floor": "CommitLog-7-1.log", "segments": 2,
        "segment_bytes": 64, "files": 1, "bytes": 10, "covered_until": AT + 1, "own_log": True,
        "windows": [[AT - 90, AT + 1]], "gaps": [], "tables": [PitTable("shop", "orders", "id", "id", "keep")],
        "schema_changes": [], "schema_doubt": [], "topology_changes": [], "lwt_tables": [], "counter_tables": [],
        "live_views": [], "views_at_pit": [], "precision": "microseconds", "volumes": [], "refusals": [],
        "warnings": [], "now": AT + 5,
    }  # fmt: skip
    return PitCheckResult(**{**known, **changes})


def member(number: int, state: str = "NORMAL") -> RingMember:
    return RingMember(f"host{number}", f"10.0.0.{number}", "dc1", "r1", state, True, [str(number)], "5.0.9", "v")


def judged(*, force: bool = False, ring: list[RingMember] | None = None, **second: Any) -> PitVerdict:
    """Two nodes, the second of which says something else."""
    situation = PitSituation("tag", POINT, {}, ring or [member(1), member(2)], {"10.0.0.2": 3.0}, 300.0, force)
    return judge(situation, {"10.0.0.1": check(), "10.0.0.2": check(**second)})


GAP = LogGap("CommitLog-7-4.log", "CommitLog-7-6.log", AT - 50, AT - 40, "the archive directory was full")
CHANGE = SchemaChange("shop", "orders", "altered", AT - 5, AT + 5)


@pytest.mark.parametrize(
    ("second", "code", "lifted_by", "told"),
    [
        ({"gaps": [GAP], "covered_until": AT - 50}, "log_gap", "force", "the archive directory was full"),
        ({"covered_until": AT - 7, "own_log": False}, "log_short", "force", "its log ends at 2015-12-15 01:31:53.123"),
        ({"covered_until": None, "own_log": True, "gaps": [GAP]}, "log_gap", "force", "CommitLog-7-4.log"),
        ({"covered_until": None, "own_log": False}, "log_short", "force", "nothing of its commit log is there"),
        (
            {"newest_write_micros": POINT + 1, "newest_write_in": "shop.orders"},
            "write_after_point",
            "force",
            "2015-12-15 01:32:00.123458 UTC (in shop.orders)",
        ),
        ({"schema_doubt": [CHANGE]}, "schema_in_doubt", "force", "shop.orders was altered between"),
        ({"topology_changes": ["10.0.0.3 left"]}, "topology_changed", None, "10.0.0.3 left"),
        ({"hosts_at_snapshot": {"host1": ["1"]}}, "topology_changed", None, "10.0.0.2 is in the ring only since"),
        ({"hosts_at_snapshot": {"host1": ["7"], "host2": ["2"]}}, "topology_changed", None, "10.0.0.1 owns other"),
        ({"volumes": [VolumeNeed("/data", 9, 8)]}, "not_enough_space", None, "/data needs 9, has 8"),
        ({"refusals": [{"code": "own", "message": "its own"}]}, "own", None, "its own"),
        ({"refusals": [{"code": "own", "message": "its own", "lifted_by": "force"}]}, "own", "force", "its own"),
    ],
)
def test_what_stands_against_a_point_is_told_with_node_and_time(
    second: dict[str, Any], code: str, lifted_by: str | None, told: str
) -> None:
    """Promise: each reason is a sentence that a person can act on; force lifts what it says, and that alone, and turns
    it into a warning."""
    [refusal] = judged(**second).refusals
    assert (refusal["code"], refusal["lifted_by"]) == (code, lifted_by)
    assert told in refusal["message"]
    forced = judged(force=True, **second)
    assert [each["code"] for each in forced.refusals] == ([] if lifted_by else [code])
    assert any(text.startswith("forced: ") and told in text for text in forced.warnings) is (lifted_by is not None)


def test_what_to_do_is_told_with_each_reason_as_the_list_has_it() -> None:
    """Promise: a refusal of the coordinator's own says what to do, in the words of docs/errors.md."""
    section = ERRORS.read_text(encoding="utf-8").partition("### Refusals of a point in time")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| .+ \| (.+) \|$", section, re.MULTILINE)
    told = [refusal_of(code, "") for code, _, _ in rows]
    assert [(each["code"], each["lifted_by"] or "nothing", each["todo"]) for each in told] == rows
    assert {code for code, _, _ in rows} == {*TODO}


def test_a_log_that_the_nodes_own_goes_on_from_is_enough_for_now() -> None:
    """Promise: what only the node has yet is no reason against the point: stopped, it is added and judged."""
    assert judged(covered_until=AT - 7, own_log=True).refusals == []


def test_coverage_is_compared_in_microseconds() -> None:
    """Promise: a log that reaches the very point reaches it, one that ends a microsecond before does not."""
    assert judged(covered_until=AT, own_log=False).refusals == []
    assert judged(covered_until=(POINT - 1) / 1_000_000, own_log=False).refusals != []


def test_a_node_that_moves_is_refused() -> None:
    """Promise: no restore begins while the ring changes."""
    [refusal] = judged(ring=[member(1), member(2, "JOINING")]).refusals
    assert refusal["message"] == "10.0.0.2 is JOINING, not NORMAL"


def test_the_coarsest_version_decides_how_exact_the_point_is() -> None:
    """Promise: no node gets what another one can't keep: the point is cut, never rounded up, and that is said."""
    verdict = judged(precision="milliseconds")
    assert verdict.pit_micros == 1_450_143_120_123_000
    assert any("10.0.0.2: its Cassandra keeps a point to milliseconds" in text for text in verdict.warnings)


def test_tables_and_views_of_the_point_are_made() -> None:
    """Promise: what any node lacks is made; a live view comes back where its table stays, the point's own one wins."""
    live = [
        ViewCql("shop", "by_day", "orders", "CREATE now"),
        ViewCql("shop", "new", "orders", "CREATE new"),
        ViewCql("shop", "of_made", "users", "CREATE of_made"),
    ]
    tables = [PitTable("shop", "orders", "id", "id", "keep"), PitTable("shop", "users", "a", "b", "recreate")]
    verdict = judged(tables=tables, live_views=live, views_at_pit=[VIEW])
    assert verdict.tables == {"shop": ["orders", "users"]}
    assert verdict.changed == verdict.recreated == {"shop": ["users"]}
    assert verdict.drop_views == {"shop": ["by_day", "new", "of_made"]}
    assert [view.statement for view in verdict.create_views] == ["CREATE then", "CREATE new"]


def test_what_can_not_come_out_right_is_warned_of() -> None:
    """Promise: lightweight transactions and counters are named by table."""
    told = " ".join(judged(lwt_tables=["shop.locks"], counter_tables=["shop.visits"]).warnings)
    assert "shop.locks: written by lightweight transactions" in told
    assert "shop.visits: counters" in told


def test_what_several_nodes_warn_of_is_told_once() -> None:
    """Promise: behind the names of the nodes; of many nodes by their number."""
    one = {f"10.0.0.{number}": ["the same", "the same"] for number in range(9)}
    assert by_nodes({**one, "10.0.0.2": ["other"]}) == [
        "10.0.0.0, 10.0.0.1, 10.0.0.3, 10.0.0.4, 10.0.0.5 and 3 more nodes: the same",
        "10.0.0.2: other",
    ]
    assert by_nodes({"b": ["x"], "a": ["x"]}) == ["a, b: x"]


def test_where_else_it_can_go_is_told_of_a_point_outside_alone() -> None:
    """Promise: a point that lies in the windows is refused for its reasons; nobody is sent to the windows for it."""
    inside = refused(judged(topology_changes=["10.0.0.3 left"]))
    assert "log reaches points" not in inside.message
    outside = refused(judged(covered_until=AT - 7, own_log=False, windows=[[AT - 90, AT - 7]]))
    points = "from 2015-12-15 01:30:30.123 UTC to 2015-12-15 01:31:53.123 UTC"
    assert outside.message.endswith(f"from the backup tag every node's log reaches points {points}")


windows = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted), max_size=4)


@given(st.lists(windows, min_size=1, max_size=4), st.integers(0, 30))
def test_a_window_of_all_is_one_of_each(nodes: list[list[list[float]]], point: int) -> None:
    """Promise: a point lies in the windows told exactly when it lies in a window of every node."""

    def inside(each: list[list[float]]) -> bool:
        return any(since <= point <= until for since, until in each)

    assert inside(intersection(nodes)) == all(inside(each) for each in nodes)


@given(st.integers(1, 4_000_000_000_000_000))
def test_a_cut_point_is_never_later(micros: int) -> None:
    """Promise: seconds and milliseconds lose what is behind them, microseconds nothing."""
    assert floored(micros, "microseconds") == micros
    assert floored(micros, "seconds") <= floored(micros, "milliseconds") <= micros
    assert told_point(micros).startswith(told_point(floored(micros, "seconds")).removesuffix(" UTC"))


def listed(tag: str, time: float, keyspaces: dict[str, list[str]], state: str = "success") -> tuple[str, Joined]:
    record = Record(tag, "adhoc", time, state, keyspaces, [], time + 5)
    return tag, Joined(tag, False, record, None, ["host1"], [], [])


def test_the_newest_backup_before_the_point_that_has_what_is_asked_comes_first() -> None:
    """Promise: later ones never, deleted and running ones never, those without the table last."""
    shop = {"shop": ["orders"]}
    backups = dict(
        [
            listed("old", AT - 300, shop),
            listed("newer", AT - 200, shop),
            listed("other", AT - 100, {"many": ["t1"]}),
            listed("running", AT - 50, shop, "running"),
            listed("later", AT + 1, shop),
        ]
    )
    backups |= dict([listed("nothing", AT - 40, shop, "failed")])
    gone = listed("gone", AT - 60, shop)[1]
    backups["gone"] = msgspec.structs.replace(gone, deleted=True)
    tags, passed_over = candidates(backups, POINT, {"shop": ["orders"]})
    assert tags == ["newer", "old", "other"]
    assert passed_over == {"running": "it has not ended", "nothing": "it failed"}


@pytest.mark.parametrize("state", ["success", "partial", "failed", "running"])
@pytest.mark.parametrize("deleted", [False, True])
def test_the_log_is_kept_for_whatever_a_check_may_begin_with(state: str, deleted: bool) -> None:
    """Promise: no backup that a check looks into, now or once it has ended, is one for which retention keeps no log."""
    tag, joined = listed("tag", AT - 100, {"shop": ["orders"]}, state)
    joined = msgspec.structs.replace(joined, deleted=deleted)
    tags, _ = candidates({tag: joined}, POINT, {})
    later, _ = candidates({tag: msgspec.structs.replace(joined, record=None)}, POINT, {})
    assert may_begin(joined) or not tags
    assert may_begin(msgspec.structs.replace(joined, record=None)) is not deleted
    assert later == []  # when it began is not known yet
    assert may_begin(joined) is (not deleted and state != "failed")


def test_a_few_other_backups_are_told_of() -> None:
    """Promise: three before the chosen one, the next three and the newest two, whatever there are; none that lacks what
    is asked, runs or is deleted."""
    backups = dict(listed(f"b{number:02}", AT + number, {"shop": ["orders"]}) for number in range(20))
    for number, state in ((3, "running"), (9, "running")):
        backups |= dict([listed(f"b{number:02}", AT + number, {"shop": ["orders"]}, state)])
    backups |= dict([listed("other", AT + 4.5, {"many": ["t1"]})])
    asked = {"shop": ["orders"]}
    assert beside(backups, "b05", asked) == ["b01", "b02", "b04", "b06", "b07", "b08", "b18", "b19"]
    assert beside(backups, "b19", {"shop": []})[-1] == "b18"
    assert beside(backups, "b18", {"shop": []})[-1] == "b19"
    assert beside(backups, "gone", asked) == []


def test_every_phase_has_a_reaction_and_the_document_prints_it() -> None:
    """Promise: phase × trouble → answer for every phase; what may not be undone by itself is never aborted, and
    docs/restore.md says what the code does."""
    text = (Path(__file__).parents[2] / "docs" / "restore.md").read_text()
    kinds = {phase.kind for phase in POINT_IN_TIME} - {Kind.CREATE_VIEWS} | {Kind.RESTART, Kind.PIT_UNDO}
    assert set(REACTIONS) == {(kind, trouble) for kind in kinds for trouble in Trouble}
    for kind in kinds:
        cells = [cell(kind, trouble) for trouble in Trouble]
        assert f"| {kind.value} | {' | '.join(cells)} |" in text
    for phase in POINT_IN_TIME:
        answers = {reaction_to(phase.kind, code).then for code in ("agent_unreachable", "disk_full", "whatever")}
        if phase.irrevocable:
            assert Answer.ABORT not in answers
        elif phase.kind in FENCED and phase.kind is not Kind.CREATE_VIEWS:
            assert Answer.STOP not in answers


def cell(kind: Kind, trouble: Trouble) -> str:
    """A reaction in words."""
    reaction = REACTIONS[kind, trouble]
    words = ["wait for the node" if reaction.patient else ""]
    words.append(
        f"retry {reaction.retries} times" if reaction.retries > 1 else "retry once" if reaction.retries else ""
    )
    words.append(reaction.then.value)
    return ", ".join(word for word in words if word)


def test_a_change_that_several_nodes_saw_is_told_once() -> None:
    """Promise: within the time that all of them leave; the same change at another time is another one."""

    def dropped(after: float, before: float) -> SchemaChange:
        return SchemaChange("shop", "t", "dropped", AT + after, AT + before)

    situation = PitSituation("tag", POINT, {}, [member(1), member(2)], {}, 300.0, False)
    first, second = [dropped(0, 10), dropped(50, 60)], [dropped(4, 14)]
    verdict = judge(situation, {"10.0.0.1": check(schema_changes=first), "10.0.0.2": check(schema_changes=second)})
    told = [warning for warning in verdict.warnings if "was dropped" in warning]
    assert len(told) == 2
    assert f"between {told_time(AT + 4)} and {told_time(AT + 10)}" in told[0]


def test_what_several_nodes_refuse_is_said_once() -> None:
    """Promise: behind their addresses; what names its node itself is left as it is."""
    same = {"code": "restored_since_snapshot", "message": "restored since", "lifted_by": None}
    room = {"code": "not_enough_space", "message": "10.0.0.3: too little room", "lifted_by": None, "node": "10.0.0.3"}
    refusals = [{**same, "node": "10.0.0.1"}, room, {**same, "node": "10.0.0.2"}]
    error = refused(msgspec.structs.replace(judged(), refusals=refusals))
    assert "10.0.0.3: too little room; 10.0.0.1, 10.0.0.2: restored since" in error.message
    assert error.fields["refusals"] == refusals
