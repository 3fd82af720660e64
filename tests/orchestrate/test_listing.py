"""Listings: what several agents see of a place, joined. No agents."""

from hypothesis import given
from hypothesis import strategies as st

from agent.wire.backups import BackupView, NodeRecord, Plan, PlannedNode, Record
from coordinator.model.cluster import NamedNode
from coordinator.orchestrate.listing import backup_of, is_through, join

HOSTS = ["a", "b", "c"]
TABLES = {"shop": ["orders"]}


def plan(missing: list[str] | None = None) -> Plan:
    nodes = [PlannedNode(host, f"addr-{host}", "dc", "r", [host]) for host in HOSTS if host not in (missing or [])]
    return Plan("tag", "adhoc", 5.0, "name", "id", nodes, TABLES, {}, "v", missing or [])


def record(*, state: str = "success", failed: tuple[str, ...] = (), finished: float = 9.0) -> Record:
    nodes = [
        NodeRecord(h, f"addr-{h}", "failed" if h in failed else "success", {} if h in failed else {"shop": 10})
        for h in HOSTS
    ]
    return Record("tag", "adhoc", 5.0, state, TABLES, nodes, finished)


@given(st.sets(st.sampled_from(HOSTS)), st.sets(st.sampled_from(HOSTS), min_size=1))
def test_complete_means_a_manifest_for_every_expected_host(manifests: set[str], asked: set[str]) -> None:
    """Per-node directories: each agent sees its own manifest; those not asked are unseen, never taken for there."""
    views = {
        host: [BackupView("tag", False, None, plan(), [host] if host in manifests else [])] for host in sorted(asked)
    }
    joined = join(views, shared=False)["tag"]
    assert set(joined.manifests) == manifests & asked
    assert set(joined.missing) == set(HOSTS) - (manifests & asked)
    assert set(joined.unseen) == set(HOSTS) - asked
    assert joined.complete == (set(HOSTS) == manifests & asked)


@given(st.sets(st.sampled_from(HOSTS)))
def test_without_a_record_plan_and_manifests_tell_the_state(manifests: set[str]) -> None:
    """After a crash before the record: all manifests = success, some = partial, none = failed."""
    view = BackupView("tag", False, None, plan(), sorted(manifests), whole=sorted(manifests))
    backup = backup_of(join({"a": [view]}, shared=True)["tag"], running=False)
    assert backup.state == ("success" if len(manifests) == 3 else "partial" if manifests else "failed")
    assert backup.keyspaces["shop"].nodes == [f"addr-{host}" for host in sorted(manifests)]


@given(st.sets(st.sampled_from(HOSTS)), st.booleans())
def test_without_a_final_record_each_manifest_has_to_be_whole(whole: set[str], begun: bool) -> None:
    """Promise: where no record says how a backup ended, one manifest that lacks tables, or of which nobody says that it
    doesn't, makes it partial, in a shared store as of the nodes' own directories; a final record has the last word."""
    lines = [NodeRecord(host, f"addr-{host}", "running", {}) for host in HOSTS]
    first = Record("tag", "adhoc", 5.0, "running", TABLES, lines) if begun else None
    shared = {"a": [BackupView("tag", False, first, plan(), HOSTS, whole=sorted(whole))]}
    own = {
        host: [BackupView("tag", False, first, plan(), [host], whole=[host] if host in whole else None)]
        for host in HOSTS
    }
    for views, is_shared in ((shared, True), (own, False)):
        state = backup_of(join(views, shared=is_shared)["tag"], running=False).state
        assert state == ("success" if len(whole) == 3 else "partial")
    ended = BackupView("tag", False, record(), plan(), HOSTS)
    assert backup_of(join({"a": [ended]}, shared=True)["tag"], running=False).state == "success"


def test_where_nobody_knows_which_nodes_a_backup_should_have_it_is_partial() -> None:
    """Promise: without a plan and a readable record, manifests that are whole are no proof that none is missing; the
    record that was put with the plan names the nodes as well."""
    begun = Record("tag", "adhoc", 5.0, "running", TABLES, [NodeRecord(HOSTS[0], "addr", "running", {})])
    states = [
        backup_of(
            join({"a": [BackupView("tag", False, first, None, HOSTS[:1], whole=HOSTS[:1])]}, shared=True)["tag"],
            running=False,
        ).state
        for first in (None, begun)
    ]
    assert states == ["partial", "success"]


def test_the_latest_of_the_stores_times_is_that_of_the_backup() -> None:
    """Each node's directory has its own; what was put anywhere lately isn't old."""
    views = {"a": [BackupView("tag", False, record(), stored=5.0)], "b": [BackupView("tag", False, record())]}
    views["c"] = [BackupView("tag", False, record(), stored=7.0)]
    assert backup_of(join(views, shared=False)["tag"], running=False).stored == 7.0
    assert backup_of(join({"b": views["b"]}, shared=False)["tag"], running=False).stored is None


def test_a_backup_taken_without_a_node_is_partial_even_with_every_manifest() -> None:
    """missing_nodes of the plan count."""
    view = BackupView("tag", False, None, plan(["c"]), ["a", "b"], whole=["a", "b"])
    assert backup_of(join({"a": [view]}, shared=True)["tag"], running=False).state == "partial"


def test_a_node_whose_directory_lost_the_backup_makes_it_partial() -> None:
    """The record says success, but an agent that answers no longer has its part."""
    seen = BackupView("tag", False, record())
    joined = join({"a": [seen], "b": [seen], "c": []}, shared=False)["tag"]
    listed = backup_of(joined, running=False)
    assert (joined.missing, listed.state) == (["c"], "partial")
    assert listed.missing == [NamedNode("addr-c", "c")]
    assert (listed.keyspaces["shop"].nodes, listed.keyspaces["shop"].bytes) == (["addr-a", "addr-b"], 20)


def test_a_node_that_gave_no_answer_leaves_the_records_word() -> None:
    """An agent that is down is no proof that its part is gone."""
    seen = BackupView("tag", False, record())
    joined = join({"a": [seen], "b": [seen]}, shared=False)["tag"]
    assert (joined.missing, backup_of(joined, running=False).state) == ([], "success")


def test_a_node_that_left_the_ring_took_its_part_along_unless_a_rebuilt_one_has_its_directory() -> None:
    """Promise: the part of a host id that no agent will ever answer for is missing, in listings short and long; when an
    agent of a new host id still lists the backup, the record's word stands."""
    seen = BackupView("tag", False, record())
    left = {"a": [seen], "b": [seen], "new": []}
    for ring, expected in (({"a", "b", "new"}, (["c"], "partial")), ({"a", "b", "c"}, ([], "success"))):
        joined = join(left, shared=False, ring=ring)["tag"]
        assert (joined.missing, backup_of(joined, running=False).state) == expected
    long = {host: [BackupView("tag", False, record(), plan(), [host])] for host in ("a", "b")}
    joined = join({**long, "new": []}, shared=False, ring={"a", "b", "new"})["tag"]
    assert (joined.missing, joined.unseen, backup_of(joined, running=False).state) == (["c"], [], "partial")
    joined = join({**left, "new": [seen]}, shared=False, ring={"a", "b", "new"})["tag"]
    assert (joined.missing, backup_of(joined, running=False).state) == ([], "success")


def test_one_delete_mark_deletes_and_the_newest_record_counts() -> None:
    """Any node's mark is enough; an agent that was away may still show an earlier record."""
    old, new = record(state="running", finished=0.0), record(state="partial", failed=("c",), finished=9.0)
    views = {"a": [BackupView("tag", False, old)], "b": [BackupView("tag", True, new)]}
    joined = join(views, shared=False)["tag"]
    assert joined.deleted
    assert joined.record == new
    backup = backup_of(joined, running=False)
    assert (backup.state, backup.missing) == ("partial", [NamedNode("addr-c", "c")])
    assert (backup.keyspaces["shop"].bytes, backup.keyspaces["shop"].nodes) == (20, ["addr-a", "addr-b"])


def test_a_backup_that_left_out_a_node_is_partial_once_the_others_manifests_are_there() -> None:
    """Its record still says running: what is missing was never expected."""
    nodes = [NodeRecord(h, f"addr-{h}", "missing" if h == "c" else "running", {}) for h in HOSTS]
    begun = Record("tag", "adhoc", 5.0, "running", TABLES, nodes)
    states = {}
    for manifests in ([], ["a"], ["a", "b"], ["a", "b", "c"]):
        view = BackupView("tag", False, begun, plan(["c"]), manifests, whole=manifests)
        backup = backup_of(join({"a": [view]}, shared=True)["tag"], running=False)
        states[len(manifests)] = (backup.state, [node.host_id for node in backup.missing])
    assert states == {
        0: ("unfinished", ["a", "b", "c"]),
        1: ("unfinished", ["b", "c"]),
        2: ("partial", ["c"]),
        3: ("success", []),
    }


def test_a_running_request_makes_it_running() -> None:
    """Promise: what is being written isn't judged yet, and no node is called missing but one that takes no part."""
    view = BackupView("tag", False, None, plan(), [])
    backup = backup_of(join({"a": [view]}, shared=True)["tag"], running=True)
    assert (backup.state, backup.missing) == ("running", [])
    nodes = [NodeRecord(h, f"addr-{h}", "missing" if h == "c" else "running", {}) for h in HOSTS]
    begun = BackupView("tag", False, Record("tag", "adhoc", 5.0, "running", TABLES, nodes), plan(["c"]), ["a"])
    for views, is_shared in (({"a": [begun]}, True), ({"a": [begun], "b": [begun]}, False)):
        backup = backup_of(join(views, shared=is_shared)["tag"], running=True)
        assert backup.missing == [NamedNode("addr-c", "c")]


def test_an_empty_keyspace_is_held_by_every_node_with_a_manifest() -> None:
    """Beside a keyspace with data and alone: a node that failed holds neither."""
    for sizes in ({"shop": 10}, {}):
        tables = {"shop": ["orders"], "empty": []}
        nodes = [NodeRecord(h, f"addr-{h}", "failed" if h == "c" else "success", sizes) for h in HOSTS]
        view = BackupView("tag", False, Record("tag", "adhoc", 5.0, "partial", tables, nodes, 9.0))
        backup = backup_of(join({"a": [view]}, shared=True)["tag"], running=False)
        assert backup.keyspaces["empty"].nodes == backup.keyspaces["shop"].nodes == ["addr-a", "addr-b"]


@given(st.sets(st.sampled_from(HOSTS)))
def test_a_destination_is_through_once_every_node_has_its_manifest_there(manifests: set[str]) -> None:
    """Promise: by the plan alone, for the record says until the end that the backup runs; who left a node out is
    through without it, and what a short listing says is no proof."""
    lines = [NodeRecord(host, f"addr-{host}", "running", {}) for host in HOSTS]
    begun = Record("tag", "adhoc", 5.0, "running", TABLES, lines)
    view = BackupView("tag", False, begun, plan(), sorted(manifests))
    assert is_through(join({"a": [view]}, shared=True)["tag"]) == (len(manifests) == 3)
    without = BackupView("tag", False, None, plan(["c"]), sorted(manifests))
    assert is_through(join({"a": [without]}, shared=True)["tag"]) == (manifests >= {"a", "b"})
    assert not is_through(join({"a": [BackupView("tag", False, begun)]}, shared=True)["tag"])
