"""A node whose own directory of a destination is gone: removed, emptied or not mounted."""

import pytest

from agent.wire.backups import BackupView, NodeRecord, Record
from agent.wire.commands import Kind
from agent.wire.destinations import LocalSettings
from coordinator.model.cluster import Backup, NamedNode
from coordinator.model.orders import ScrubOrder
from coordinator.model.requests import Request, RequestState
from coordinator.model.retention import KeptRule, Rule
from coordinator.orchestrate.listing import join, without_parts
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene


async def only_backup(coordinator: ToyCoordinator) -> Backup:
    [backup] = await coordinator.orchestrator.list_backups(CLUSTER, "there")
    return backup


async def scrubbed(coordinator: ToyCoordinator) -> Request:
    return await coordinator.ended(await coordinator.orchestrator.start_scrub(CLUSTER, ScrubOrder("there", True)))


def holders(backup: Backup) -> set[str]:
    return {address for part in backup.keyspaces.values() for address in part.nodes}


@pytest.mark.parametrize("code", ["bucket_missing", "not_a_repository", "repository_file_lost", "repository_gone"])
async def test_a_listing_names_the_node_whose_directory_is_gone(code: str, scene: Scene) -> None:
    """Promise: a backup is partial, and the node is missing in it and holds none of it, though the others' records say
    that it was whole; once the directory is back it is whole again."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    await coordinator.backup(keep=False, copies=copies("there"))
    node = scene.nodes[1]
    node.unreadable = ToyFailure(code, "the directory isn't there")
    listed = await only_backup(coordinator)
    assert (listed.state, listed.missing) == ("partial", [NamedNode(node.address, node.host_id)])
    assert holders(listed) == {each.address for each in scene.nodes if each is not node}
    node.unreadable = None
    listed = await only_backup(coordinator)
    assert (listed.state, listed.missing) == ("success", [])


@pytest.mark.parametrize("code", ["storage_denied", "storage_unavailable"])
async def test_what_an_agent_cant_read_now_is_not_called_gone(code: str, scene: Scene) -> None:
    """Promise: keys that are refused and a store that is away are no proof: the record's word stands."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    await coordinator.backup(keep=False, copies=copies("there"))
    scene.nodes[1].unreadable = ToyFailure(code, "not now")
    assert (await only_backup(coordinator)).state == "success"


async def test_a_listing_names_the_node_whose_objects_are_gone_from_its_directory(scene: Scene) -> None:
    """Promise: also where the directory still is a repository, with plan and record of the backup, and only what the
    node put is gone."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    node = scene.nodes[1]
    place = scene.world.place(node, node.destinations["there"][1])
    assert place is not None
    del place.manifests[tag, node.host_id]
    listed = await only_backup(coordinator)
    assert (listed.state, listed.missing) == ("partial", [NamedNode(node.address, node.host_id)])
    assert node.address not in holders(listed)


async def test_of_a_shared_directory_another_agent_tells(scene: Scene) -> None:
    """Promise: where all nodes see the same directory, one that can't see it now takes no part of any backup along."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings(path="there", shared=True))
    await coordinator.backup(keep=False, copies=copies("there"))
    scene.nodes[0].unreadable = ToyFailure("bucket_missing", "the directory isn't there")
    assert (await only_backup(coordinator)).state == "success"


def test_of_a_backup_without_the_node_nothing_is_lost() -> None:
    """Promise: a node whose directory is gone is missed in no backup that it took no part in."""
    node = NodeRecord("a", "addr-a", "success", {"shop": 10})
    view = BackupView("tag", False, Record("tag", "adhoc", 0.0, "success", {"shop": ["t"]}, [node]))
    joined = join({"a": [view]}, shared=False)["tag"]
    assert without_parts(joined, {"b"}) == joined
    assert without_parts(joined, {"a"}).missing == ["a"]


async def test_a_scrub_counts_what_such_a_node_had_as_damaged(scene: Scene) -> None:
    """Promise: every backup that the node has a part in is named, is no good one for retention, and is listed with the
    node, until a scrub there can read again."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    node = scene.nodes[1]
    node.unreadable = ToyFailure("bucket_missing", "the directory isn't there")
    node.failures[Kind.SCRUB] = [ToyFailure("bucket_missing", "the directory isn't there") for _ in range(9)]
    ended = await scrubbed(coordinator)
    assert (ended.state, ended.partial) == (RequestState.ERROR, True)
    assert (ended.result["damaged_backups"], ended.result["missing_objects"]) == ([tag], 1)
    await coordinator.store.retention.put([KeptRule(CLUSTER, "there", "", Rule(count=1))])
    [verdict] = await coordinator.retention.preview(CLUSTER, "there")
    assert verdict.why == "there is no good backup of this id"
    node.unreadable = None
    node.failures.clear()
    [damaged] = (await only_backup(coordinator)).damaged
    assert damaged == NamedNode(node.address, node.host_id)
    ended = await scrubbed(coordinator)
    assert (ended.state, ended.result["damaged_backups"]) == (RequestState.SUCCESS, [])
    assert (await only_backup(coordinator)).damaged == []
