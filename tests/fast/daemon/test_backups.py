"""Requests about backups to a destination whose keys are refused."""

from pathlib import Path
from typing import Any, cast

import pytest

from agent.daemon.backups import Backups
from agent.daemon.compose import verifying
from agent.repository.attach import attach
from agent.repository.catalogue import RecordCache
from agent.repository.destination_files import DestinationFiles, StoredDestination
from agent.repository.destinations import Destinations
from agent.repository.errors import RepositoryGone
from agent.repository.hold_notes import HoldNotes
from agent.repository.keyrings import Keyrings
from agent.repository.limits import Limits
from agent.repository.live_storage import Patience
from agent.repository.on_server import OnServer
from agent.repository.opening import OpenDestinations
from agent.storage.protocol import Denied, Storage
from agent.wire.backups import Plan, Record
from agent.wire.commands import Target
from agent.wire.destinations import LocalSettings, PutDestination, S3Settings
from tests.fast.storage.memory import MemoryStorage


async def test_refused_keys_are_an_error_at_once_that_says_how_long_to_try_again(tmp_path: Path) -> None:
    """The plan is put by a request, which waits for nothing; a coordinator waits, by the agent's own setting. The next
    request reads files of credentials anew."""
    store = MemoryStorage()
    keys = {"file": "wrong"}

    async def opened(record: StoredDestination) -> Storage:
        used = keys["file"]

        async def ask(verb: str, key: str) -> None:
            if used != "good":
                raise Denied("wrong key", key=key)

        storage = MemoryStorage(hook=ask)
        storage._objects = store._objects
        return storage

    async def verify(storage: Storage, target: Target, record: StoredDestination) -> None:
        await storage.head("helenus/v1/repository.json")

    limits = Limits()
    destinations = Destinations(DestinationFiles(tmp_path / "destinations"), opened, limits)
    await destinations.put("there", PutDestination(1, S3Settings(path="bucket", credentials_file="/keys")))
    found = await attach(store, keys=None, initialise=True, repository_id=None, cluster_id=None, cluster_name="test")
    await destinations.remember("there", 1, repository_id=found.repository_id, cluster_id=found.cluster_id)
    now, holds = Patience(0.0, 0.0), HoldNotes(tmp_path / "holds")
    listed = OpenDestinations(destinations, verify, now, holds, once=True)
    written = OpenDestinations(destinations, verify, now, holds)
    on_server, nobody = OnServer(tmp_path / "on-server"), cast("Any", None)
    backups = Backups(
        destinations,
        listed,
        written,
        Keyrings(destinations, nobody),
        on_server,
        RecordCache(),
        nobody,
        nobody,
        patience=42.0,
    )
    plan = Plan("tag", "adhoc", 1.0, "test", found.cluster_id or "", [], {}, {}, "v")
    with pytest.raises(Denied) as refused:
        await backups.put_plan("tag", "there", plan)
    assert (refused.value.fields["patience_seconds"], refused.value.fields["destination"]) == (42.0, "there")
    keys["file"] = "good"
    await backups.put_plan("tag", "there", plan)
    view = await backups.get("tag", "there")
    assert (view.plan, view.whole) == (plan, [])  # told, as no record says how it ended


async def test_nothing_is_put_into_a_place_that_was_emptied(tmp_path: Path) -> None:
    """Promise: what was looked at once for listings is looked at again before a plan or a record goes there: those
    alone in an empty directory would pass for a repository that lost its first file."""
    store = MemoryStorage()

    async def opened(record: StoredDestination) -> Storage:
        return store

    destinations = Destinations(DestinationFiles(tmp_path / "destinations"), opened, Limits())
    await destinations.put("there", PutDestination(1, LocalSettings(path="/backups")))
    found = await attach(store, keys=None, initialise=True, repository_id=None, cluster_id=None, cluster_name="test")
    await destinations.remember("there", 1, repository_id=found.repository_id, cluster_id=found.cluster_id)
    now, holds, nobody = Patience(0.0, 0.0), HoldNotes(tmp_path / "holds"), cast("Any", None)
    keyrings = Keyrings(destinations, nobody)
    listed = OpenDestinations(destinations, verifying(keyrings), now, holds, once=True)
    written = OpenDestinations(destinations, verifying(keyrings), now, holds)
    on_server = OnServer(tmp_path / "on-server")
    backups = Backups(destinations, listed, written, keyrings, on_server, RecordCache(), nobody, nobody)
    await backups.put_plan("t1", "there", Plan("t1", "adhoc", 1.0, "test", found.cluster_id or "", [], {}, {}, "v"))
    assert [*await backups.list("there")] == []
    store._objects.clear()
    with pytest.raises(RepositoryGone, match="/backups is empty"):
        await backups.put_plan("t2", "there", Plan("t2", "adhoc", 1.0, "test", found.cluster_id or "", [], {}, {}, "v"))
    with pytest.raises(RepositoryGone, match="/backups is empty"):
        await backups.put_record("t2", "there", Record("t2", "adhoc", 1.0, "running", {}, []))
    assert store._objects == {}


@pytest.mark.parametrize(("shared", "complete"), [(False, False), (True, None)])
async def test_a_nodes_own_directory_tells_where_it_has_no_manifest(
    shared: bool, complete: bool | None, tmp_path: Path
) -> None:
    """Promise: the record alone, which every node's directory has, is not taken for the node's part; of a directory
    that all nodes share nothing is said, for others may have theirs there."""
    store = MemoryStorage()

    async def opened(record: StoredDestination) -> Storage:
        return store

    destinations = Destinations(DestinationFiles(tmp_path / "destinations"), opened, Limits())
    await destinations.put("there", PutDestination(1, LocalSettings(path="/backups", shared=shared)))
    found = await attach(store, keys=None, initialise=True, repository_id=None, cluster_id=None, cluster_name="test")
    await destinations.remember("there", 1, repository_id=found.repository_id, cluster_id=found.cluster_id)
    now, holds, nobody = Patience(0.0, 0.0), HoldNotes(tmp_path / "holds"), cast("Any", None)
    keyrings = Keyrings(destinations, nobody)
    once = OpenDestinations(destinations, verifying(keyrings), now, holds, once=True)
    on_server = OnServer(tmp_path / "on-server")
    backups = Backups(destinations, once, once, keyrings, on_server, RecordCache(), nobody, nobody)
    await backups.put_record("t1", "there", Record("t1", "adhoc", 1.0, "success", {}, []))
    [view] = await backups.list("there")
    assert view.complete is complete
