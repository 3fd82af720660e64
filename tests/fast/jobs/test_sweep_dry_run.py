"""What a deletion would free, counted before anything goes."""

import pytest

from agent.commands.arguments import decode_arguments
from agent.repository.errors import IntentForeign, ManifestInvalid, ObjectDamaged
from agent.repository.keys import data_key, intent_key, manifest_key
from agent.repository.manifest import read_manifest
from agent.wire.commands import DeleteArguments, Kind, SnapshotArguments, SweepArguments
from agent.wire.results import FreedPart, FreedResult
from kit.errors import InvalidInput
from tests.fast.jobs.agent_in_memory import CLUSTER, Agent, Command, target
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup
from tests.fast.jobs.test_sweep import FOREIGN, delete, size_of, sweep
from tests.fast.repository.manifests import opened
from tests.fast.storage.memory import MemoryStorage


async def would_free(agent: Agent, *tags: str) -> FreedResult:
    """The result of a dry run in which these tags are deleted."""
    arguments = SweepArguments(target(), dry_run=True, as_deleted=list(tags))
    outcome = await agent.sweep.run(Command("look", arguments))
    assert isinstance(outcome.result, FreedResult)
    return outcome.result


async def three_backups(agent: Agent, node: Node) -> None:
    """t1 and t2 share an SSTable that t3 has no more; each has one of its own."""
    node.sstable("shop", "orders", 11, 1_500_000)
    await agent.backup.run(backup("t1"))
    _compact(node, 11)
    node.sstable("shop", "orders", 12, 1_600_000)
    await agent.backup.run(backup("t2"))
    _compact(node, 1)
    _compact(node, 12)
    await agent.backup.run(backup("t3"))


def _compact(node: Node, generation: int) -> None:
    for path in node.table("shop", "orders").glob(f"nb-{generation}-*"):
        path.unlink()


async def test_a_dry_run_tells_what_the_deletion_then_frees(agent: Agent, node: Node, store: MemoryStorage) -> None:
    """Promise: bytes and objects are those that go, without what other undeleted backups need; nothing is written."""
    await three_backups(agent, node)
    before = dict(store._objects)
    told = await would_free(agent, "t1")
    assert store._objects == before
    assert (told.dry_run, told.tags) == (True, ["t1"])
    assert told.backups == {"t1": FreedPart(told.bytes_freed, told.objects)}
    assert 1_500_000 < told.bytes_freed < 3_000_000
    await delete(agent, "t1")
    size = size_of(store)
    freed = await sweep(agent, margin=0.0)
    assert (freed.bytes_freed, freed.objects, freed.tags) == (told.bytes_freed, told.objects, told.tags)
    assert size - size_of(store) == told.bytes_freed


async def test_what_only_the_deleted_ones_share_is_in_the_sum_alone(agent: Agent, node: Node) -> None:
    """Promise: each backup is told what its own deletion frees, and the sum what all of them together do."""
    await three_backups(agent, node)
    alone = [(await would_free(agent, tag)).backups[tag] for tag in ("t1", "t2")]
    both = await would_free(agent, "t1", "t2", "never")
    assert [both.backups["t1"], both.backups["t2"]] == alone
    assert both.bytes_freed > sum(part.bytes for part in alone) + 1_000_000
    assert sorted(both.backups) == both.tags == ["t1", "t2"]


@pytest.mark.parametrize("dry_run", [True, False])
async def test_what_can_t_be_read_stops_it_by_name(
    dry_run: bool, agent: Agent, node: Node, store: MemoryStorage
) -> None:
    """Promise: a manifest that is damaged, or a list of a table that is an object of its own, is named with its backup,
    node and key by a sweep and by its dry run, and nothing goes."""
    for number in range(500):
        node.sstable("shop", "orders", 1000 + number, 300)
    await agent.backup.run(backup("t1"))
    await agent.backup.run(backup("t2"))
    await delete(agent, "t1")
    manifest = await read_manifest(opened(store), "t2", HOST)
    [frame] = [one.object for one in manifest.head.tables if one.object is not None]
    key = manifest_key(CLUSTER, "t2", HOST)
    for damaged, kinds in (
        (key, ManifestInvalid),
        (data_key(CLUSTER, HOST, bytes.fromhex(frame)), (ManifestInvalid, ObjectDamaged)),
    ):
        body, modified = store._objects[damaged]
        store._objects[damaged] = (body[:-100] + b"x" * 100, modified)
        before = dict(store._objects)
        with pytest.raises(kinds) as refused:
            await agent.sweep.run(Command("s", SweepArguments(target(), dry_run=dry_run)))
        assert (refused.value.fields["tag"], refused.value.fields["host_id"]) == ("t2", HOST)
        assert key in refused.value.message
        assert store._objects == before
        store._objects[damaged] = (body, modified)


async def test_a_dry_run_is_refused_as_the_sweep_would_be(agent: Agent, store: MemoryStorage) -> None:
    """Promise: nobody is told of space that another agent's intent keeps."""
    await agent.backup.run(backup("t1"))
    await store.put(intent_key(CLUSTER, HOST, "theirs"), [FOREIGN])
    with pytest.raises(IntentForeign, match="theirs"):
        await would_free(agent, "t1")


async def test_an_on_server_backup_is_counted_and_stays(agent: Agent, node: Node) -> None:
    """Promise: on the node a dry run tells what the snapshot alone holds, and clears nothing."""
    await agent.snapshot.run(Command("s", SnapshotArguments("t1", keep=True)))
    _compact(node, 1)
    told = await agent.delete.run(Command("d", DeleteArguments("t1", dry_run=True)))
    assert await node.exists("t1")
    freed = await agent.delete.run(Command("d", DeleteArguments("t1")))
    assert isinstance(told.result, FreedResult)
    assert isinstance(freed.result, FreedResult)
    assert (told.result.dry_run, told.result.bytes_freed) == (True, freed.result.bytes_freed)
    assert freed.result.bytes_freed > 3_000_000


@pytest.mark.parametrize(
    ("kind", "extra"),
    [(Kind.SWEEP, b'"as_deleted": ["t1"]'), (Kind.DELETE, b'"tag": "t1", "dry_run": true')],
)
def test_a_dry_run_that_would_not_be_one_is_refused(kind: Kind, extra: bytes) -> None:
    """Promise: tags that are only taken for deleted can't reach a real sweep, and a dry run of a mark, which frees
    nothing, says what to ask instead."""
    named = b'{"target": {"destination": "d1", "repository_id": "r1", "cluster_id": "c1"}, ' + extra + b"}"
    with pytest.raises(InvalidInput, match="dry_run"):
        decode_arguments(kind, named)
