"""What a person reads: refusals that say what is allowed, and what a running request is at."""

import ast
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.wire.commands import Counts
from coordinator import orchestrate
from coordinator.model.requests import NodePart, Request, RequestKind, RequestState
from coordinator.opscenter.shapes import request_status
from coordinator.opscenter.under_way import in_words, under_way
from tests.fast.coordinator.conftest import Client

C = "/Test_Cluster"
TAG = "opscenter_adhoc_2017-03-17-15-06-09-UTC"
ANY_OF_THREE = "must be a JSON list, an object or a text, not a number"
ONE_NAME = 'is one name when it is a text; several are a list, ["one", "two"]'
UNITS = "one of minutes, hours, days, weeks"
RATE = "must be a number of MB/s from 0 (none) to 1000000"
DAILY = {"first_run_time": "12:00:00", "interval": 1, "interval_unit": "days"}


@pytest.mark.parametrize(
    ("method", "path", "body", "told"),
    [
        ("POST", "/backups/run", {"keyspaces": 5}, f"«keyspaces» {ANY_OF_THREE}"),
        ("POST", "/backups/run", {"keyspaces": {"shop": 5}}, f"«keyspaces.shop» {ANY_OF_THREE}"),
        ("POST", "/backups/run", {"destinations": 5}, f"«destinations» {ANY_OF_THREE}"),
        ("POST", f"/backups/restore/{TAG}", {"keyspaces": 5}, f"«keyspaces» {ANY_OF_THREE}"),
        (
            "POST",
            f"/backups/restore/{TAG}",
            {"excluded-nodes": 5},
            "«excluded-nodes» must be a JSON list or a text, not a number",
        ),
        (
            "POST",
            "/backups/sync",
            {"tag": TAG, "destinations": ["OPSC_ON_SERVER"]},
            "«destinations» can't name OPSC_ON_SERVER: a sync copies to destinations",
        ),
        ("POST", "/backups/run", {"keyspaces": "shop, users"}, f"«keyspaces» {ONE_NAME}: shop, users"),
        ("POST", "/backups/run", {"keyspaces": '["shop"]'}, f'«keyspaces» {ONE_NAME}: ["shop"]'),
        ("POST", "/backups/run", {"keyspaces": {"shop": "a,b"}}, f"«keyspaces.shop» {ONE_NAME}: a,b"),
        ("POST", f"/backups/restore/{TAG}", {"keyspaces": "shop users"}, f"«keyspaces» {ONE_NAME}: shop users"),
        (
            "POST",
            "/backups/sync",
            {"Tags": TAG},
            "«Tags» is no option here (did you mean «tag»?); allowed: destinations, force, source, tag, throttle",
        ),
        (
            "POST",
            "/backups/destinations",
            {"provider": "Local"},
            "«provider» must be one of local, s3, gcs, azure, not Local (did you mean «local»?)",
        ),
        (
            "POST",
            "/backups/destinations",
            {"provider": "local", "path": "x", "bucket": "y"},
            "«bucket» is no option here; allowed: cleanup_age, cleanup_age_unit, cleanup_count, cleanup_floor,"
            " compressed, delete_this, encryption, id, path, provider, shared, throttle,"
            " throttle_bytes_per_second",
        ),
        ("POST", "/job-schedules", {}, "«first_run_time» is missing: hh:mm:ss, 00:00:00 to 23:59:59"),
        (
            "POST",
            "/job-schedules",
            {"first_run_time": ""},
            "«first_run_time» must be hh:mm:ss, 00:00:00 to 23:59:59, not an empty text",
        ),
        (
            "POST",
            "/job-schedules",
            {"first_run_time": "12:00:00", "timezone": "europe/berlin"},
            "«timezone» is no zone's name as Europe/Berlin or UTC: europe/berlin (did you mean «Europe/Berlin»?)",
        ),
        (
            "POST",
            "/job-schedules",
            {"first_run_time": "12:00:00", "timezone": "utc"},
            "«timezone» is no zone's name as Europe/Berlin or UTC: utc (did you mean «UTC»?)",
        ),
        (
            "POST",
            "/job-schedules",
            {"first_run_time": "12:00:00", "timezone": "Mars/Olympus"},
            "«timezone» is no zone's name as Europe/Berlin or UTC: Mars/Olympus",
        ),
        ("POST", "/job-schedules", {**DAILY, "interval_unit": None}, f"«interval_unit» is missing; it is {UNITS}"),
        (
            "POST",
            "/job-schedules",
            {**DAILY, "interval_unit": "Day"},
            f"«interval_unit» must be {UNITS}, not Day (did you mean «days»?)",
        ),
        ("POST", "/job-schedules", {**DAILY, "job_params": {"a": 1}}, "«job_params.type» is missing; it is backup"),
        (
            "POST",
            "/job-schedules",
            {**DAILY, "job_params": {"type": "backups"}},
            "«job_params.type» must be backup, not backups (did you mean «backup»?)",
        ),
        ("POST", "/backups/run", {"force": []}, "«force» must be true or false, not []"),
        ("POST", "/backups/run", {"throttle": True}, f"«throttle» {RATE}, not true"),
        (
            "GET",
            "/backups/run",
            {},
            "there is no keyspace 'run' and no backup of one here; to run a backup send a POST to this path",
        ),
        ("PUT", "/backups", {}, "PUT is not served at this path; it takes DELETE, GET"),
    ],
)
async def test_a_refusal_says_what_is_allowed(
    client: Client, method: str, path: str, body: dict[str, Any], told: str
) -> None:
    """Promise: whoever sent a wrong kind of value or method reads which ones are taken there."""
    status, answer = await client.ask(method, C + path, json=body)
    assert status in (400, 405)
    assert answer["message"] == told


def part(number: int, phase: str, done: int, total: int, state: RequestState = RequestState.RUNNING) -> Any:
    """A node's part with its files."""
    return NodePart(f"127.0.70.{number}", f"host-{number}", f"id-{number}", state, phase=phase), (done, total)


DONE = RequestState.SUCCESS


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([], ""),
        ([part(1, "fetch", 1, 8), part(2, "fetch", 2, 8), part(3, "fetch", 0, 8)], "fetching, 3 of 24 files"),
        ([part(1, "upload", 8, 8, DONE), part(2, "upload", 2, 8)], "uploading, 10 of 16 files"),
        ([part(1, "upload", 8, 8), part(2, "snapshot", 2, 8)], "taking snapshots"),
        ([part(1, "truncate", 8, 8), part(2, "fetch", 8, 8)], "emptying tables"),
        ([part(1, "fetch", 8, 8), part(2, "fetch", 8, 8)], "fetching, 16 of 16 files"),
        ([part(1, "import", 1, 8), part(2, "check", 8, 8)], "importing, 9 of 16 files; checking what was imported"),
        (
            [part(1, "upload", 1, 8), part(2, "upload-clear", 8, 8), part(3, "upload", 8, 8, DONE)],
            "uploading, 17 of 24 files; clearing snapshots",
        ),
        ([part(1, "upload", 0, 0)], "uploading"),
        ([part(1, "undo-clear", 1, 8)], "undoing: clearing snapshots"),
        ([part(1, "snapshot", 1, 8), part(2, "snapshot-2", 1, 8)], "taking snapshots"),
        ([part(1, "snapshot-2-clear", 1, 8)], "clearing snapshots"),
        (
            [part(1, "undo-mark-here-2", 1, 8), part(2, "undo-mark-there", 1, 8)],
            "undoing: marking what was copied as deleted",
        ),
        ([part(1, "of-a-later-release", 1, 8)], "of-a-later-release"),
        ([part(1, "clean", 8, 8, DONE)], ""),
    ],
)
def test_a_running_request_says_what_it_is_at(parts: Any, told: str) -> None:
    """Promise: the step and the files of all nodes in it; what an earlier step counted isn't told as this one's."""
    assert under_way(parts) == told


@pytest.mark.parametrize("phase", ["upload", "upload-clear"])
def test_a_node_that_begins_to_wait_still_counts(phase: str) -> None:
    """Promise: the files of all nodes stay in the sum, in whichever step a node waits."""
    assert under_way([part(1, "upload", 1, 8)], 2, [part(2, phase, 8, 8)]) == "uploading, 9 of 16 files"


def at(number: int, phase: str, *, rests: bool = False) -> Any:
    """A node's part of a restore to a point."""
    part = NodePart(f"127.0.70.{number}", f"host-{number}", f"id-{number}", RequestState.RUNNING, phase=phase)
    return msgspec.structs.replace(part, rests=rests), (0, 0)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (
            [at(1, "pit_stop", rests=True), at(2, "pit_stop"), at(3, "pit_stop")],
            "stopping Cassandra, done on 1 of 3 nodes",
        ),
        (
            [at(1, "pit_start", rests=True), at(2, "pit_start-2"), at(3, "pit_place", rests=True)],
            "starting Cassandra, which replays the commit log, done on 1 of 3 nodes",
        ),
        ([at(1, "pit_cover", rests=True)] * 3, "adding the node's own commit log, done on 3 of 3 nodes"),
        (
            [at(1, "pre_script", rests=True), at(2, "pre_script")],
            "running the script before the snapshot, done on 1 of 3 nodes",
        ),
        ([at(1, "pit_tables"), *[at(2, "pit_fetch", rests=True)] * 2], "making tables as they were"),
    ],
)
def test_a_restore_to_a_point_says_on_how_many_nodes_its_step_is_done(parts: Any, told: str) -> None:
    """Promise: of a step that stops or starts nodes people see how far it is, whichever nodes still wait for their
    turn in it."""
    assert under_way(parts, 3) == told


def phases_posted() -> set[str]:
    """Every phase that the coordinator's flows give a command, with an example for what is filled in."""
    found: set[str] = set()
    for path in Path(orchestrate.__path__[0]).rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and names_a_phase(node):
                found |= texts(node.args[0])
            elif isinstance(node, ast.Assign) and any(ast.unparse(target) in NAMED for target in node.targets):
                found |= texts(node.value)
    return found


NAMED = frozenset(
    {
        "phase",
        "UNDO_CLEAN",
        "UNDO_VIEWS",
        "STOPPED_VIEWS",
        "UNDO_PIT",
        "UNDO_PIT_CLEAN",
        "ADOPT",
        "FOR_OTHERS",
        "SCRUB_FOR_OTHERS",
        "TRIM_FOR_OTHERS",
        "PRE_SCRIPT",
        "POST_SCRIPT",
    }
)
"""Names of variables and constants that hold a phase."""


def names_a_phase(call: ast.Call) -> bool:
    """Whether it posts commands: its first argument is the phase then."""
    name = ast.unparse(call.func).rpartition(".")[2]
    kinds = [argument for argument in call.args[1:] if ast.unparse(argument).startswith(("Kind.", "kind"))]
    return (name in ("ask", "_ask", "_one") and bool(kinds)) or (name == "_clear" and len(call.args) == 2)


def texts(value: ast.expr) -> set[str]:
    """The texts that an expression can be; of a known name none, for they are found where it is set."""
    match value:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.IfExp():
            return texts(value.body) | texts(value.orelse)
        case ast.JoinedStr():
            filled_in = {
                "phase": "snapshot-2",
                "place.id": "there",
                "ADOPT": "adopt",
                "FOR_OTHERS": "sync-gone",
                "SCRUB_FOR_OTHERS": "scrub-gone",
                "TRIM_FOR_OTHERS": "trim-gone",
            }
            parts = [
                part.value if isinstance(part, ast.Constant) else filled_in.get(ast.unparse(part.value), "2")  # type: ignore[attr-defined]
                for part in value.values
            ]
            return {"".join(map(str, parts))}
        case ast.Name(id=name) if name in NAMED:
            return set()
        case ast.Call(func=ast.Name(id="_numbered")):  # a phase with the number of its round
            return set()
    raise AssertionError(f"which phases {ast.unparse(value)} can be isn't known: teach it to this test")


def test_every_phase_has_words() -> None:
    """Promise: no person reads a phase's bare name, whichever command of whichever flow is under way, numbered and
    undoing ones among them."""
    phases = phases_posted()
    assert phases >= {"snapshot-2", "snapshot-2-clear", "upload-clear", "undo-mark-there", "undo-clean", "import"}
    assert {phase for phase in phases if in_words(phase) == phase} == set()


@pytest.mark.parametrize(
    ("state", "message", "waiting", "told"),
    [
        (RequestState.RUNNING, "", "", "fetching, 3 of 8 files"),
        (RequestState.RUNNING, "waits for keys", "", "waits for keys"),
        (RequestState.RUNNING, "", "waits for its agent", "127.0.70.1: fetching waits for its agent"),
        (RequestState.SUCCESS, "", "", ""),
    ],
)
def test_what_a_request_waits_for_goes_before_its_step(
    state: RequestState, message: str, waiting: str, told: str
) -> None:
    """Promise: a healthy running request's `message` is of what its nodes work at; trouble is told instead."""
    request = Request("id", RequestKind.RESTORE, "Test_Cluster", state, 5.0, {}, message=message)
    progress = {"there": {"shop": {"orders": Counts(3, 8, 30, 80, [])}}}
    node = NodePart("127.0.70.1", "host", "id", state, phase="fetch", progress=progress, waiting=waiting)
    assert request_status(request, [node])["details"]["message"] == told


@pytest.mark.parametrize("message", ["", "waits for keys"])
@pytest.mark.parametrize("cancel", ["asked", "force"])
def test_a_request_that_is_being_cancelled_says_so_first(message: str, cancel: str) -> None:
    """Promise: who cancelled something that goes on for a while reads in its message that the cancel came; of one that
    has ended its end is told."""
    running = Request("r", RequestKind.BACKUP, "c", RequestState.RUNNING, 1.0, {}, message=message, cancel=cancel)
    node = NodePart("127.0.70.1", "host-1", "id-1", RequestState.RUNNING, phase="upload")
    told = request_status(running, [node])["details"]["message"]
    assert told == f"being cancelled; {message or 'uploading'}"
    ended = msgspec.structs.replace(running, state=RequestState.CANCELLED)
    assert request_status(ended, [])["details"]["message"] == message


def test_who_waits_does_not_hide_what_the_others_do() -> None:
    """Promise: beside the node that is waited for, the message goes on telling how far all are, and its numbers
    don't fall."""
    counts = {"there": {"shop": {"orders": Counts(2, 8, 20, 80, [])}}}
    running = RequestState.RUNNING
    parts = [
        NodePart("127.0.70.1", "host-1", "id-1", running, phase="upload", progress=counts),
        NodePart(
            "127.0.70.2", "host-2", "id-2", running, phase="upload", waiting="waits for its agent", progress=counts
        ),
    ]
    request = Request("r", RequestKind.BACKUP, "c", running, 1.0, {}, destinations=["there"])
    told = request_status(request, parts)["details"]["message"]
    assert told == "127.0.70.2: uploading waits for its agent; uploading, 4 of 16 files"


@pytest.mark.parametrize(
    ("states", "told"),
    [
        ([], "begun; no node tells of its work yet"),
        ([RequestState.RUNNING, RequestState.RUNNING], "begun; no node tells of its work yet"),
        ([DONE, RequestState.RUNNING], "1 of 2 nodes are done"),
        ([DONE, RequestState.ERROR], "2 of 2 nodes are done"),
    ],
)
def test_a_running_request_is_never_without_a_word(states: list[RequestState], told: str) -> None:
    """Promise: before the first node works, and after the last one has, a person reads that too."""
    request = Request("r", RequestKind.BACKUP, "c", RequestState.RUNNING, 1.0, {}, destinations=["there"])
    parts = [NodePart(f"127.0.70.{n}", f"host-{n}", f"id-{n}", state) for n, state in enumerate(states, 1)]
    assert request_status(request, parts)["details"]["message"] == told


def test_a_store_that_is_away_for_a_hundred_nodes_is_told_for_a_few() -> None:
    """Promise: a message stays readable in a large cluster; each node's own word is in its subrequest."""
    parts = [
        NodePart(f"127.0.71.{n}", f"host-{n}", f"id-{n}", RequestState.RUNNING, phase="upload", waiting="waits")
        for n in range(1, 101)
    ]
    request = Request("r", RequestKind.BACKUP, "c", RequestState.RUNNING, 1.0, {}, destinations=["there"])
    details = request_status(request, parts)["details"]
    named = "; ".join(f"127.0.71.{n}: uploading waits" for n in (1, 2, 3))
    assert details["message"].startswith(f"{named}; 97 more nodes wait as well")
    assert details["subrequests"]["127.0.71.100"]["details"]["waiting"] == "waits"
    few = request_status(request, parts[:4])["details"]["message"]
    assert "127.0.71.4: uploading waits" in few
    assert "as well" not in few
