"""What a scrub tells of manifests that are not there, or can't be read."""

from collections.abc import Sequence

import msgspec
import pytest

from agent.jobs.scrub.notes import ScrubNotes
from agent.model.job import Outcome
from agent.repository import marks
from agent.repository.keys import deleted_key, manifest_key, plan_key, record_key
from agent.wire.backups import NodeRecord, Plan, PlannedNode, Record
from agent.wire.commands import State
from agent.wire.results import ScrubResult
from tests.fast.jobs.agent_in_memory import CLUSTER, Agent
from tests.fast.jobs.node import HOST
from tests.fast.jobs.test_backup import backup
from tests.fast.jobs.test_scrub import change, flipped, scrub
from tests.fast.storage.memory import MemoryStorage

OTHER = "22222222-2222-2222-2222-222222222222"
MANIFEST = manifest_key(CLUSTER, "t1", HOST)


def planned(store: MemoryStorage, tag: str) -> None:
    """Put the plan of a backup of this node and another."""
    nodes = [PlannedNode(host, "127.0.0.1", "dc1", "r1", []) for host in (HOST, OTHER)]
    plan = Plan(tag, "adhoc", 5.0, "Test", CLUSTER, nodes, {}, {}, "s1")
    store._objects[plan_key(CLUSTER, tag)] = (msgspec.json.encode(plan), 1.0)


def recorded(store: MemoryStorage, tag: str, state: str, nodes: Sequence[tuple[str, str]], number: int = 0) -> None:
    """Put a listing record: `nodes` are host ids with their states."""
    lines = [NodeRecord(host, "127.0.0.1", each, {}) for host, each in nodes]
    record = Record(tag, "adhoc", 5.0, state, {}, lines)
    store._objects[record_key(CLUSTER, tag, number)] = (msgspec.json.encode(record), 1.0)


async def ended(agent: Agent, store: MemoryStorage, *tags: str) -> None:
    """Take backups that end well on this node and another."""
    for tag in tags:
        planned(store, tag)
        recorded(store, tag, "running", [(HOST, "running"), (OTHER, "running")])
        await agent.backup.run(backup(tag))
        recorded(store, tag, "success", [(HOST, "success"), (OTHER, "success")], 1)


def told(outcome: Outcome) -> str:
    """The message of its error."""
    assert outcome.error is not None
    return str(outcome.error["message"])


def found(result: ScrubResult) -> list[tuple[str, str, str]]:
    return [(place.tag, place.key, place.reason) for place in result.places]


@pytest.mark.parametrize("whole", [True, False])
async def test_a_manifest_that_is_gone_is_told(agent: Agent, store: MemoryStorage, whole: bool) -> None:
    """Promise: of a backup that ended well here every scrub misses the manifest, names backup and node, counts it, and
    tells the backup for no good one, whatever share it reads; another node's manifest is not its business."""
    await ended(agent, store, "t1", "t2")
    assert (await scrub(agent, whole=whole))[0].state is State.SUCCESS
    del store._objects[MANIFEST]
    outcome, result = await scrub(agent, whole=whole, command="after")
    assert outcome.state is State.PARTIAL
    assert (result.damaged, result.missing, result.backups) == (0, 1, ["t1"])
    assert found(result) == [("t1", MANIFEST, "missing")]
    assert f"the manifest of {HOST} of t1 is not there" in told(outcome)
    [note] = agent.scrub_notes.all()
    assert (note.damaged, note.missing) == (0, 1)


async def test_the_record_alone_tells_that_a_manifest_is_gone(agent: Agent, store: MemoryStorage) -> None:
    """Promise: with the plan and the manifest gone, and of a backup that only another node failed, it is missed too."""
    await ended(agent, store, "t1", "t2")
    recorded(store, "t1", "partial", [(HOST, "success"), (OTHER, "failed")], 2)
    del store._objects[MANIFEST], store._objects[plan_key(CLUSTER, "t1")]
    assert (await scrub(agent))[1].backups == ["t1"]


@pytest.mark.parametrize(
    ("state", "nodes"),
    [
        ("running", [(HOST, "running"), (OTHER, "running")]),
        ("partial", [(HOST, "failed"), (OTHER, "success")]),
        ("partial", [(HOST, "missing"), (OTHER, "success")]),
        ("failed", [(HOST, "failed"), (OTHER, "failed")]),
        ("success", [(OTHER, "success")]),
        ("", []),
    ],
)
async def test_what_a_node_never_had_is_not_missed(
    agent: Agent, store: MemoryStorage, state: str, nodes: list[tuple[str, str]]
) -> None:
    """Promise: a backup that runs, has no record yet, failed here, or was taken before the node came lacks nothing."""
    planned(store, "t1")
    if state:
        recorded(store, "t1", state, nodes)
    outcome, result = await scrub(agent)
    assert (outcome.state, result.missing, result.backups) == (State.SUCCESS, 0, [])


async def test_a_deleted_backup_lacks_nothing(agent: Agent, store: MemoryStorage) -> None:
    """Promise: what a sweep has removed, and what it hasn't yet, is nobody's damage."""
    await ended(agent, store, "t1")
    del store._objects[MANIFEST]
    store._objects[deleted_key(CLUSTER, "t1")] = (marks.encoded("t1"), 1.0)
    assert (await scrub(agent))[0].state is State.SUCCESS


@pytest.mark.parametrize("swept", [False, True])
async def test_a_backup_that_is_deleted_meanwhile_is_not_missed(
    agent: Agent, store: MemoryStorage, monkeypatch: pytest.MonkeyPatch, swept: bool
) -> None:
    """Promise: a manifest that a sweep removes between two looks, its records with it or not yet, is no damage; nor is
    one that comes back in between."""
    await ended(agent, store, "t1")
    kept = store._objects.pop(MANIFEST)
    head = store.head
    looked: list[str] = []

    async def go(key: str) -> object:
        entry = await head(key)
        if key == MANIFEST and not looked:
            looked.append(key)
            if swept:
                for number in (0, 1):
                    del store._objects[record_key(CLUSTER, "t1", number)]
            else:
                store._objects[deleted_key(CLUSTER, "t1")] = (b"{}", 1.0)
        return entry

    monkeypatch.setattr(store, "head", go)
    assert (await scrub(agent))[0].state is State.SUCCESS
    assert looked
    assert kept


async def test_a_backup_that_ends_meanwhile_is_not_missed(
    agent: Agent, store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a manifest that is put after the manifests were listed, and before the record is read, isn't missed."""
    await ended(agent, store, "t1")
    kept = store._objects.pop(MANIFEST)
    head = store.head
    looked: list[str] = []

    async def put(key: str) -> object:
        entry = await head(key)
        if key == MANIFEST:
            looked.append(key)
            store._objects[MANIFEST] = kept
        return entry

    monkeypatch.setattr(store, "head", put)
    assert (await scrub(agent))[0].state is State.SUCCESS
    assert looked


async def test_without_its_manifest_a_backup_whose_record_is_damaged_is_told(
    agent: Agent, store: MemoryStorage
) -> None:
    """Promise: where nobody can tell any more whether the node had a part, the record is named in every scrub."""
    await ended(agent, store, "t1", "t2")
    del store._objects[MANIFEST]
    key = record_key(CLUSTER, "t1", 1)
    store._objects[key] = (b"{not a record", 1.0)
    _, result = await scrub(agent, whole=False)
    assert found(result) == [("t1", key, "manifest_invalid")]
    assert (result.damaged, result.missing, result.backups) == (1, 0, ["t1"])


async def test_a_manifest_that_cannot_be_read_is_counted(agent: Agent, store: MemoryStorage) -> None:
    """Promise: a damaged manifest is counted, tells its backup for no good one, and the message says what is wrong with
    what, without empty names."""
    await ended(agent, store, "t1", "t2")
    change(store, MANIFEST, flipped(store._objects[MANIFEST][0], 100))
    outcome, result = await scrub(agent, whole=False)
    assert (result.damaged, result.missing, result.backups) == (1, 0, ["t1"])
    assert told(outcome) == (
        "1 objects or manifests are damaged and 0 missing in d1, which concerns 1 files or manifests of backups: "
        f"{MANIFEST} of t1 can't be read ({result.places[0].reason})"
    )
    [note] = agent.scrub_notes.all()
    assert (note.damaged, note.missing) == (1, 0)


@pytest.mark.parametrize("key", [plan_key(CLUSTER, "t1"), record_key(CLUSTER, "t1", 1)])
async def test_a_plan_or_record_that_was_damaged_is_so_until_it_is_mended(
    agent: Agent, store: MemoryStorage, key: str
) -> None:
    """Promise: what one scrub found wrong the next ones look at again, whatever share they read: the backup stays no
    good one and the count above 0, also after a restart; once it can be read, neither."""
    await ended(agent, store, "t1", "t2")
    right = store._objects[key]
    store._objects[key] = (b"{not json", 1.0)
    assert (await scrub(agent, command="whole"))[1].backups == ["t1"]
    assert ScrubNotes(agent.scrub_notes._directory.parent).all() == agent.scrub_notes.all()
    _, later = await scrub(agent, whole=False, command="a share")
    assert later.slices < 12
    assert (found(later), later.backups) == ([("t1", key, "manifest_invalid")], ["t1"])
    assert [note.damaged for note in agent.scrub_notes.all()] == [1]
    store._objects[key] = right
    outcome, mended = await scrub(agent, whole=False, command="mended")
    assert (outcome.state, mended.backups) == (State.SUCCESS, [])
    assert [note.damaged for note in agent.scrub_notes.all()] == [0]
