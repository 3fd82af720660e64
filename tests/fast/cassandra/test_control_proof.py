"""Promise: what changes a node is ordered from the node that answers by CQL, and from no other."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.cassandra.control_proof import ProvenControl
from agent.cassandra.errors import CassandraUnavailable, ControlOfAnotherNode, SnapshotExists
from agent.cassandra.node_view import NodeLife
from agent.cassandra.proof_notes import ProofNotes
from agent.cassandra.settings import CassandraSettings, SpaceSettings
from agent.wire.commands import SnapshotArguments
from tests.fast.cassandra.directory_control import DirectoryControl
from tests.fast.cassandra.proven_control import NOWHERE, OTHER, OWN, Site, proven
from tests.fast.cassandra.schemaless import SchemalessSnapshots

NODETOOL, JOLOKIA = "cassandra.nodetool", "cassandra.jolokia"


def with_nodetool(orders: DirectoryControl, behind: str) -> tuple[ProvenControl, Site]:
    site = Site({NODETOOL: behind})
    door = site.door(NODETOOL, dear=True)
    return ProvenControl(orders, site.life, by=door, imports_by=door, notes=ProofNotes(NOWHERE)), site


def with_jolokia(orders: DirectoryControl, jolokia: str, nodetool: str) -> tuple[ProvenControl, Site]:
    site = Site({JOLOKIA: jolokia, NODETOOL: nodetool})
    by, imports_by = site.door(JOLOKIA, dear=False), site.door(NODETOOL, dear=True)
    return ProvenControl(orders, site.life, by=by, imports_by=imports_by, notes=ProofNotes(NOWHERE)), site


@pytest.fixture
def other(tmp_path: Path) -> DirectoryControl:
    """The other node, with a table of the same name."""
    other = DirectoryControl(tmp_path / "other")
    (other.directory("shop", "orders") / "nb-1-big-Data.db").write_bytes(b"other")
    return other


def snapshots_of(control: Any, tmp_path: Path) -> SchemalessSnapshots:
    """The agent's snapshots of its own node, which has the table too."""
    (DirectoryControl(tmp_path / "own").directory("shop", "orders") / "nb-1-big-Data.db").write_bytes(b"own")

    async def data() -> tuple[str, ...]:
        return (str(tmp_path / "own"),)

    async def commitlog() -> str:
        return str(tmp_path)

    async def identity() -> None:
        return None

    places: Any = SimpleNamespace(every=data, renew=data, commitlog=commitlog)
    view: Any = SimpleNamespace(identity=identity)
    nothing: Any = None
    settings = CassandraSettings(space=SpaceSettings(backup_free=0.0), snapshot_ttl_seconds=0)
    return SchemalessSnapshots(settings, control, nothing, view, nothing, places, tmp_path / "state")


async def test_a_door_is_asked_once_in_a_life_of_cassandra(other: DirectoryControl) -> None:
    """A JVM each time is too dear; after a restart of Cassandra another node may have its port."""
    control, site = with_nodetool(other, OWN)
    await control.prove()
    await control.import_sstables("shop", "orders", [])
    assert site.asked == [NODETOOL]
    site.generation, site.behind[NODETOOL] = 2, OTHER
    with pytest.raises(ControlOfAnotherNode):
        await control.import_sstables("shop", "orders", [])
    assert [call[0] for call in other.calls] == ["import"]


async def test_an_agent_that_is_started_again_asks_no_door_anew(other: DirectoryControl, tmp_path: Path) -> None:
    """Promise: an agent that was killed, or updated, goes on without a JVM for it; another life of Cassandra, other
    settings of the door and a note that can't be read are asked, and a wrong door is never noted."""
    site, note = Site({NODETOOL: OWN}), tmp_path / "state" / "proof.json"

    async def asked(opened_with: str = "7299") -> int:
        """How often a fresh agent asks the door."""
        door = replace(site.door(NODETOOL, dear=True), opened_with=opened_with)
        site.asked.clear()
        control = ProvenControl(other, site.life, by=door, imports_by=door, notes=ProofNotes(note))
        await control.prove()
        await control.prove()
        return len(site.asked)

    assert [await asked(), await asked()] == [1, 0]
    assert [await asked("7300"), await asked("7300"), await asked()] == [1, 0, 1]
    site.generation += 1
    assert [await asked(), await asked()] == [1, 0]
    note.write_bytes(note.read_bytes()[:-3])
    assert [await asked(), await asked()] == [1, 0]
    site.own = OTHER
    for _ in range(2):
        with pytest.raises(ControlOfAnotherNode):
            await asked()
    site.own = OWN
    assert await asked() == 0


async def test_a_door_that_was_set_right_is_believed_again(other: DirectoryControl) -> None:
    """Promise: that it was wrong isn't remembered against it."""
    control, site = with_nodetool(other, OTHER)
    with pytest.raises(ControlOfAnotherNode):
        await control.prove()
    site.behind[NODETOOL] = OWN
    await control.import_sstables("shop", "orders", [])
    assert site.asked == [NODETOOL] * 2


async def test_jolokia_and_nodetool_are_proven_each(other: DirectoryControl) -> None:
    """Promise: beside Jolokia imports go by nodetool: a right Jolokia proves nothing of them."""
    control, site = with_jolokia(other, OWN, OTHER)
    await control.snapshot("t1", {"shop": ["orders"]}, None)
    assert site.asked == [JOLOKIA]
    with pytest.raises(ControlOfAnotherNode, match="nodetool"):
        await control.import_sstables("shop", "orders", [])
    with pytest.raises(ControlOfAnotherNode, match="nodetool"):
        await control.prove()
    control, _ = with_jolokia(other, OTHER, OWN)
    with pytest.raises(ControlOfAnotherNode, match="jolokia"):
        await control.snapshot("t2", {"shop": ["orders"]}, None)
    assert [call[:2] for call in other.calls] == [("snapshot", "t1")]


async def test_a_backup_starts_no_jvm_for_the_proof(other: DirectoryControl) -> None:
    """Promise: with nodetool a snapshot and its clear are two orders, and nothing beside them."""
    control, site = with_nodetool(other, OWN)
    await control.snapshot("t1", {"shop": ["orders"]}, None)
    await control.clear_snapshot("t1")
    assert site.asked == []


async def test_another_nodes_backup_of_the_same_tag_is_not_cleared(other: DirectoryControl) -> None:
    """A cluster's backup has one tag on all nodes, and one that stays on them is cleared much later, perhaps by an
    agent that was given another port since."""
    await other.snapshot("t1", {"shop": ["orders"]}, None)
    with pytest.raises(ControlOfAnotherNode):
        await proven(other, behind=OTHER).clear_snapshot("t1")
    assert [call[0] for call in other.calls] == ["snapshot"]


@pytest.mark.parametrize("there_already", [False, True])
async def test_a_snapshot_of_another_node_fails_with_the_true_reason(
    other: DirectoryControl, tmp_path: Path, there_already: bool
) -> None:
    """Promise: neither that it is missing here nor that it exists there is told, but which setting is wrong; the next
    one is refused before the other node is told anything."""
    if there_already:
        await other.snapshot("t1", {"shop": ["orders"]}, None)
    snapshots = snapshots_of(proven(other, behind=OTHER), tmp_path)
    with pytest.raises(ControlOfAnotherNode) as caught:
        await snapshots.take(SnapshotArguments("t1"), "c1")
    assert caught.value.fields == {
        "setting": NODETOOL,
        "where": "127.0.0.1:7299",
        "host_id": OWN,
        "other_host_id": OTHER,
    }
    calls = len(other.calls)
    with pytest.raises(ControlOfAnotherNode):
        await snapshots.take(SnapshotArguments("t2"), "c2")
    assert len(other.calls) == calls
    assert await snapshots.ours() == ()


async def test_a_snapshot_that_is_there_is_told_as_that(other: DirectoryControl) -> None:
    """Promise: the right node's own refusal stays what it is, also where the door can't be asked."""
    await other.snapshot("t1", {"shop": ["orders"]}, None)
    with pytest.raises(SnapshotExists):
        await proven(other).snapshot("t1", {"shop": ["orders"]}, None)

    async def silent() -> NodeLife:
        raise CassandraUnavailable("no answer")

    door = Site({NODETOOL: OTHER}).door(NODETOOL, dear=True)
    control = ProvenControl(other, silent, by=door, imports_by=door, notes=ProofNotes(NOWHERE))
    with pytest.raises(SnapshotExists):
        await control.snapshot("t1", {"shop": ["orders"]}, None)
    assert await control.astray() is None
