"""Promise: on two real servers, backups under object lock hold what they reuse, and sweeps free what has had its time.

The jobs are the agent's own, over a node's files without Cassandra; the store's and the agent's clock are set back to
let days pass.
"""

import asyncio
import io
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from agent.cli.main import run
from agent.cli.screen import Screen
from agent.repository.attach import attach
from agent.repository.control_keys import SIDES
from agent.repository.hold_notes import HoldNotes
from agent.repository.holding import Lock
from agent.repository.keys import REPOSITORY as REPOSITORY_FILE
from agent.repository.keys import cluster_key, deleted_key, manifest_key, named_key
from agent.repository.opened import OpenedRepository
from agent.storage.divided import Divided
from agent.storage.protocol import OPEN, Buffer, Gate, Put
from agent.wire.commands import SweepArguments
from agent.wire.destinations import S3Settings, object_lock_of, place_of
from agent.wire.object_lock import DAY
from agent.wire.results import FreedResult
from tests.cluster.stores import S3Server
from tests.fast.cli.conftest import recorded
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Agent, Command, Crash, Repositories, target
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup
from tests.fast.jobs.test_sweep import delete, sweep
from tests.fast.repository.needed import needed_by
from tests.real.storage.locked_servers import DAYS, locked_settings, locked_store, versions_in


class Mortal(Divided):
    """A store whose agent dies before its manifest is put, or before so many batches are held."""

    def __init__(self, store: Divided) -> None:
        super().__init__(store._locked, store._control, SIDES)
        self.before_manifest = False
        self.holds_left: int | None = None

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        if self.before_manifest and key.endswith(".manifest"):
            raise Crash
        return await super().put(key, body, replace=replace, gate=gate)

    async def hold(self, keys: Sequence[str], until: float) -> None:
        if self.holds_left is not None:
            keys, self.holds_left = keys[: self.holds_left], max(0, self.holds_left - len(keys))
            await super().hold(keys, until)
            if not self.holds_left:
                raise Crash
        await super().hold(keys, until)


class Site:
    """A node, a locked destination with a repository, and agents that die and come back. `ago`: seconds by which their
    clock is set back."""

    def __init__(self, server: S3Server, settings: S3Settings, root: Path) -> None:
        self.ago = 0.0
        self.server = server
        self.settings = settings
        self.counts = Counter[str]()
        self.store = Mortal(locked_store(settings, self.clock, lambda operation: self.counts.update([operation])))
        self.node = Node(root / "node")
        self.node.sstable("shop", "orders", 1, 1_500_000)
        self.node.sstable("shop", "orders", 2, 40_000)
        self.state = root / "state"
        lock = object_lock_of(settings)
        assert lock is not None
        locks = {"d1": Lock(lock, HoldNotes(self.state / "holds"), place_of(settings), self.clock)}
        self._repositories = Repositories({"d1": self.store}, locks=locks)
        self.agent = Agent(self.node, {}, self.state, repositories=self._repositories)

    def clock(self) -> float:
        return time.time() - self.ago

    def restart(self) -> None:
        self.agent.close()
        self.store.before_manifest, self.store.holds_left = False, None
        self.agent = Agent(self.node, {}, self.state, repositories=self._repositories)
        self.counts.clear()

    async def backup(self, tag: str) -> None:
        await self.agent.backup.run(backup(tag))

    async def held(self) -> dict[str, float]:
        """Days for which each object under lock is held from now on."""
        found = {}
        async for entry in self.store._locked.list(""):
            one = await self.store._locked.head(entry.key)
            assert one is not None
            found[entry.key] = ((one.held_until or 0.0) - time.time()) / DAY
        return found

    async def needed(self, tag: str) -> set[str]:
        """The keys under lock without which the backup can't be restored."""
        opened = OpenedRepository("d1", self.store, REPOSITORY, CLUSTER, OPEN, 4)
        found = await needed_by(opened, tag, HOST)
        return found | {REPOSITORY_FILE, cluster_key(CLUSTER), named_key("n", CLUSTER)}

    async def least(self, tag: str) -> float:
        """Days for which all is held that the backup needs."""
        held, needed = await self.held(), await self.needed(tag)
        return min(held[key] for key in needed)

    async def would_free(self, tag: str) -> FreedResult:
        arguments = SweepArguments(target(), dry_run=True, as_deleted=[tag])
        outcome = await self.agent.sweep.run(Command("look", arguments))
        assert isinstance(outcome.result, FreedResult)
        return outcome.result


@pytest_asyncio.fixture
async def site(lockable: S3Server, tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(lockable, await locked_settings(lockable), tmp_path)
    await attach(site.store, keys=None, initialise=True, repository_id=REPOSITORY, cluster_id=CLUSTER, cluster_name="n")
    yield site
    site.agent.close()
    await site.store.close()


async def test_what_a_backup_reuses_is_held_for_its_days(site: Site) -> None:
    """Promise: everything that a backup needs, the repository's own files included, is held for the days of the
    settings when its manifest is there; an extension costs a request for each object, and the next backups cost none.
    """
    site.ago = 3 * DAY
    await site.backup("t1")
    assert min((await site.held()).values()) < 2.1
    site.ago = 0.0
    site.node.sstable("shop", "orders", 3, 5_000)
    site.counts.clear()
    await site.backup("t2")
    needed = await site.needed("t2")
    assert await site.least("t2") >= DAYS
    extended = {key for key in await site.needed("t1") & needed if "/data/" in key}
    assert site.counts["PutObjectRetention"] == len(extended) > 3
    site.counts.clear()
    await site.backup("t3")
    assert site.counts["PutObjectRetention"] == 0
    assert await site.least("t3") >= DAYS


async def test_a_lost_note_costs_requests_and_no_protection(site: Site) -> None:
    """Promise: an agent that lost its state holds everything anew."""
    await site.backup("t1")
    for note in (site.state / "holds").iterdir():
        note.unlink()
    site.counts.clear()
    await site.backup("t2")
    shared = await site.needed("t1") & await site.needed("t2")
    assert site.counts["PutObjectRetention"] == len([key for key in shared if "/data/" in key])


@pytest.mark.parametrize("place", ["before the manifest", "amid the objects"])
async def test_a_kill_while_objects_are_held_leaves_them_held_for_the_next_run(site: Site, place: str) -> None:
    """Promise: killed between the extension and the manifest, or within the extension, there is no backup that isn't
    held: the command, run again, holds what is still owed and then publishes."""
    site.ago = 3 * DAY
    await site.backup("t1")
    site.ago = 0.0
    if place == "before the manifest":
        site.store.before_manifest = True
    else:
        site.store.holds_left = 5
    with pytest.raises((Crash, BaseExceptionGroup)):
        await site.backup("t2")
    assert await site.store.head(manifest_key(CLUSTER, "t2", HOST)) is None
    site.restart()
    await site.backup("t2")
    assert await site.least("t2") >= DAYS


async def test_a_sweep_leaves_what_is_locked_and_goes_on(site: Site) -> None:
    """Promise: of a deleted backup nothing goes before its time; that is told with its bytes and until when, by a dry
    run too, and is no failure. When the time has come a sweep frees it, versions included, down to the mark."""
    site.ago = 1.25 * DAYS * DAY - 12
    await site.backup("t1")
    ends = site.clock() + 1.25 * DAYS * DAY
    site.ago = 0.0
    for path in site.node.table("shop", "orders").glob("nb-1-*"):
        path.unlink()
    await site.backup("t2")
    told = await site.would_free("t1")
    assert told.locked.bytes == told.bytes_freed > 1_500_000
    assert told.all_unlocked_at is not None
    assert abs(told.all_unlocked_at - ends) < 15
    await delete(site.agent, "t1")
    kept = await sweep(site.agent, margin=0.0)
    assert (kept.bytes_freed, kept.tags) == (0, [])
    assert kept.locked == told.locked
    assert await site.store.head(manifest_key(CLUSTER, "t1", HOST)) is not None
    assert await site.store.head(deleted_key(CLUSTER, "t1")) is not None
    await asyncio.sleep(max(0.0, ends + 3 - time.time()))
    freed = await sweep(site.agent, margin=0.0)
    assert (freed.bytes_freed, freed.objects, freed.tags) == (told.bytes_freed, told.objects, ["t1"])
    assert freed.locked.objects == 0
    assert await site.store.head(deleted_key(CLUSTER, "t1")) is None
    left = {version["Key"].removeprefix("some/prefix/") for version in versions_in(site.server, site.settings.path)}
    assert left == set(await site.held()) == await site.needed("t2")


async def test_a_backup_after_a_theft_is_whole(site: Site) -> None:
    """Promise: a thief who hides every object of the bucket costs the next backup its puts, and nobody a byte: what
    the node still has is visible again, and of everything else the locked version is there."""
    await site.backup("t1")
    bucket, prefix = site.settings.path.split("/", 1)
    with closing(site.server.client()) as thief:
        for key in [key for key in await site.held() if "/data/" in key]:
            thief.delete_object(Bucket=bucket, Key=f"{prefix}/{key}")
    site.restart()
    await site.backup("t2")
    assert await site.least("t2") >= DAYS
    shared = [key for key in await site.needed("t1") if "/data/" in key]
    versions = [version["Key"] for version in versions_in(site.server, site.settings.path) if version.get("Size")]
    assert {f"{prefix}/{key}" for key in shared} <= set(versions)


async def test_a_check_from_the_bucket_alone_tells_what_is_hidden(site: Site, tmp_path: Path) -> None:
    """Promise: `helenus-repository check` names what a thief hid, and says that it is still there, also where that is
    the repository's own file, and ends so though nothing else is wrong; once the marks are removed, nothing is."""
    await site.backup("t1")
    await recorded(OpenedRepository("d1", site.store, REPOSITORY, CLUSTER, OPEN, 4), "t1", 1_700_000_000.0)
    file = tmp_path / "destination.json"
    file.write_bytes(msgspec.json.encode(site.settings))
    file.chmod(0o600)

    def checked() -> tuple[int, str]:
        out = io.StringIO()
        code = run(["--destination", str(file), "check"], Screen(out, io.StringIO()))
        return code, out.getvalue()

    sound, before = await asyncio.to_thread(checked)
    assert (sound, "hidden" in before) == (0, False), before
    bucket, prefix = site.settings.path.split("/", 1)
    with closing(site.server.client()) as thief:
        thief.put_object(Bucket=bucket, Key=f"{prefix}/what nobody needs", Body=b"")
        thief.delete_object(Bucket=bucket, Key=f"{prefix}/what nobody needs")
        code, told = await asyncio.to_thread(checked)
        assert (code, "1 objects are hidden" in told, "nothing is wrong" in told) == (3, True, True), told
        for key in (REPOSITORY_FILE, manifest_key(CLUSTER, "t1", HOST)):
            thief.delete_object(Bucket=bucket, Key=f"{prefix}/{key}")
        code, told = await asyncio.to_thread(checked)
        assert code != 0
        assert "3 objects are hidden" in told
        assert REPOSITORY_FILE in told
        assert manifest_key(CLUSTER, "t1", HOST) in told
        for mark in thief.list_object_versions(Bucket=bucket)["DeleteMarkers"]:
            thief.delete_object(Bucket=bucket, Key=mark["Key"], VersionId=mark["VersionId"])
    assert await asyncio.to_thread(checked) == (sound, before)
