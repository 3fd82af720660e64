"""Promise: on two real servers, what is put under object lock stays until its time, and goes afterwards."""

import asyncio
import time
from collections import Counter
from contextlib import closing, nullcontext
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from agent.daemon.compose import verifying
from agent.daemon.measures import StorageMeasures
from agent.daemon.provider import Provider
from agent.daemon.settings import DestinationSettings
from agent.repository import keys
from agent.repository.check import DestinationChecks
from agent.repository.destination_files import DestinationFiles
from agent.repository.destinations import Destinations
from agent.repository.errors import RepositoryLockDiffers
from agent.repository.hold_notes import HoldNotes
from agent.repository.keyrings import Keyrings
from agent.repository.limits import Limits
from agent.repository.live_storage import Patience
from agent.repository.opening import OpenDestinations
from agent.storage.conformance import NAMES, conform
from agent.storage.opened import open_storage
from agent.storage.protocol import BucketLocked, BucketMissing, BucketNotLocked, Denied, NotFound, ObjectLocked
from agent.wire.commands import Target
from agent.wire.destinations import CheckDestination, CheckReport, PutDestination, S3Settings, object_lock_of
from agent.wire.object_lock import DAY
from tests.cluster.stores import BUCKET, S3Server, settings_for
from tests.real.storage.fault_proxy import FaultProxy
from tests.real.storage.locked_servers import (
    DAYS,
    ending_in,
    in_mode,
    locked_settings,
    locked_store,
    unlocked,
    versions_in,
)

HOST = "11111111-2222-3333-4444-555555555555"
DATA = [keys.data_key("c1", HOST, bytes([number]) * 32) for number in range(5)]
INTENT = keys.intent_key("c1", HOST, "tag")
MANIFEST = keys.manifest_key("c1", "tag", HOST)


async def test_data_is_locked_and_control_is_not(lockable: S3Server) -> None:
    """Promise: objects and manifests are held in the mode and for the days asked for; an intent comes and goes."""
    settings = await locked_settings(lockable)
    store = locked_store(settings)
    for key in (DATA[0], MANIFEST, INTENT):
        assert (await store.put(key, [b"some ", b"bytes"])).created
        assert not (await store.put(key, [b"other"])).created
        assert await store.get(key, 5, 5) == b"bytes"
    assert [entry.key async for entry in store.list("helenus/")] == sorted([DATA[0], MANIFEST, INTENT])
    for key in (DATA[0], MANIFEST):
        entry = await store.head(key)
        assert entry is not None
        assert entry.held_until is not None
        assert abs(entry.held_until - time.time() - 1.25 * DAYS * DAY) < 60
    intent = await store.head(INTENT)
    assert intent is not None
    assert intent.held_until is None
    await store.delete([INTENT])
    assert [entry.key async for entry in store.list("")] == sorted([DATA[0], MANIFEST])
    await store.close()


async def test_checks_leave_nothing_under_lock(lockable: S3Server) -> None:
    """Promise: the conformance suite passes on a locked destination, and leaves nothing that nobody can delete."""
    settings = await locked_settings(lockable)
    store = locked_store(settings)
    results = await conform(store, keys.CHECKS + "x/", big=False, names=NAMES - {"past_1000_keys"})
    assert [one for one in results if one.outcome == "failed"] == []
    assert versions_in(lockable, settings.path) == []
    await store.close()


@pytest.mark.parametrize("mode", ["governance", "compliance"])
async def test_a_lock_ends_when_it_should(lockable: S3Server, mode: str) -> None:
    """Promise: before its time an object is told as locked, named, and stays whole; what isn't locked goes all the
    same. Afterwards it goes, and its space with it: no version is left."""
    settings = await locked_settings(lockable, mode)
    brief, lasting = locked_store(settings, ending_in(4)), locked_store(settings)
    await brief.put(DATA[0], [b"brief"])
    await lasting.put(DATA[1], [b"lasting"])
    await lasting.put(INTENT, [b"intent"])
    with pytest.raises(ObjectLocked) as told:
        await lasting.delete([DATA[0], DATA[1], DATA[2]])
    assert told.value.keys == {DATA[0], DATA[1]}
    assert await lasting.get(DATA[0]) == b"brief"
    await asyncio.sleep(6)
    with pytest.raises(ObjectLocked) as told:
        await lasting.delete([DATA[0], DATA[1]])
    assert told.value.keys == {DATA[1]}
    assert [version["Key"] for version in versions_in(lockable, settings.path)] == [f"some/prefix/{DATA[1]}"]
    assert told.value.fields["held_until"] is not None
    await brief.close()
    await lasting.close()


async def test_a_hold_reaches_further_never_less(lockable: S3Server) -> None:
    """Promise: an extension holds every object until then at least; one that is held for longer keeps that, and one
    that is locked in the other mode is held on in that."""
    settings = await locked_settings(lockable)
    store = locked_store(settings)
    governed = locked_store(in_mode(settings, "governance"))
    await store.put(DATA[0], [b"x"])
    await governed.put(DATA[1], [b"x"])
    until = time.time() + 20 * DAY
    await store.hold(DATA[:2], until)
    await store.hold(DATA[:2], until - 5 * DAY)
    for key in DATA[:2]:
        entry = await store.head(key)
        assert entry is not None
        assert entry.held_until is not None
        assert abs(entry.held_until - until) <= 1
    with pytest.raises(NotFound):
        await store.hold([DATA[2]], until)
    await store.close()
    await governed.close()


async def test_a_hold_is_one_request_for_each_object(lockable: S3Server) -> None:
    """Promise: what an extension costs is what docs/object-lock.md says."""
    counts = Counter[str]()
    store = locked_store(await locked_settings(lockable), on_request=lambda operation: counts.update([operation]))
    for key in DATA:
        await store.put(key, [b"x"])
    counts.clear()
    await store.hold(DATA, time.time() + 20 * DAY)
    assert counts == {"PutObjectRetention": len(DATA)}
    await store.close()


async def test_a_deletion_is_two_requests_for_a_thousand(lockable: S3Server) -> None:
    """Promise: going for versions costs one listing and one deletion for a batch, however many keys are around it."""
    counts = Counter[str]()
    store = locked_store(
        await locked_settings(lockable), ending_in(3), on_request=lambda operation: counts.update([operation])
    )
    for key in DATA:
        await store.put(key, [b"x"])
    await asyncio.sleep(5)
    counts.clear()
    await store.delete(DATA[1:4])
    assert counts == {"ListObjectVersions": 1, "DeleteObjects": 1}
    assert [entry.key async for entry in store.list("")] == [DATA[0], DATA[4]]
    await store.close()


async def test_what_a_thief_hides_or_covers_is_still_there(lockable: S3Server) -> None:
    """Promise: a deletion mark or other bytes put over a locked object destroy nothing, and a put makes a hidden one
    visible again."""
    settings = await locked_settings(lockable)
    store = locked_store(settings)
    await store.put(DATA[0], [b"mine"])
    await store.put(DATA[1], [b"mine"])
    bucket, prefix = settings.path.split("/", 1)
    with closing(lockable.client()) as thief:
        thief.delete_object(Bucket=bucket, Key=f"{prefix}/{DATA[0]}")
        thief.put_object(Bucket=bucket, Key=f"{prefix}/{DATA[1]}", Body=b"not yours")
        assert await store.head(DATA[0]) is None
        assert (await store.put(DATA[0], [b"mine"])).created
        assert await store.get(DATA[0]) == b"mine"
        name = f"{prefix}/{DATA[1]}"
        [first] = [one for one in versions_in(lockable, bucket) if one["Key"] == name and one["Size"] == 4]
        body = thief.get_object(Bucket=bucket, Key=name, VersionId=first["VersionId"])["Body"]
        assert body.read() == b"mine"
    await store.close()


async def test_a_bucket_without_lock_is_refused_before_anything_is_put(lockable: S3Server) -> None:
    """Promise: settings that ask for lock never put anything where there is none."""
    settings = settings_for(
        lockable, path=f"{BUCKET}/p", object_lock={"mode": "compliance", "days": DAYS, "control": f"{BUCKET}/c"}
    )
    store = open_storage(settings, roots=[], conditional_create=True)
    with pytest.raises(BucketNotLocked):
        await store.put(DATA[0], [b"x"])
    with pytest.raises(BucketNotLocked):
        await store.examine()
    assert [entry.key async for entry in store.list("")] == []
    await store.close()


class NoVersions(FaultProxy):
    """Lists no versions, as for keys that lack the right."""

    async def own_answer(self, request: web.BaseRequest) -> web.Response | None:
        if "versions" in request.query:
            return web.Response(
                status=403, text="<Error><Code>AccessDenied</Code></Error>", content_type="application/xml"
            )
        return None


async def test_keys_that_may_not_list_versions_are_refused_by_the_check(lockable: S3Server) -> None:
    """Promise: the right that only sweeps need is missed when the destination is added, not by the first sweep."""
    settings = await locked_settings(lockable)
    async with NoVersions(lockable.endpoint, "127.0.20.3") as proxy:
        for endpoint in (lockable.endpoint, proxy.endpoint):
            store = locked_store(msgspec.structs.replace(settings, endpoint=endpoint))
            with pytest.raises(Denied) if endpoint is proxy.endpoint else nullcontext():
                await store.examine()
            await store.close()


async def test_a_bucket_that_locks_by_itself_is_refused(lockable: S3Server) -> None:
    """Promise: a default retention is told by name and length, for a destination without lock and for a control
    location; a bucket that only can lock is fine without."""
    name = f"default-{time.time_ns()}"
    await lockable.make_locked_bucket(name, default_days=3)
    plain = open_storage(settings_for(lockable, path=f"{name}/p"), roots=[], conditional_create=True)
    with pytest.raises(BucketLocked, match="3 days"):
        await plain.examine()
    lock = {"mode": "compliance", "days": DAYS, "control": f"{name}/c"}
    control = locked_store(settings_for(lockable, path=f"{name}/p", object_lock=lock))
    with pytest.raises(BucketLocked, match="3 days"):
        await control.examine()
    able = open_storage(unlocked(await locked_settings(lockable)), roots=[], conditional_create=True)
    await able.examine()
    missing = open_storage(settings_for(lockable, path="no-such-bucket"), roots=[], conditional_create=True)
    with pytest.raises(BucketMissing):
        await missing.examine()
    for store in (plain, control, able, missing):
        await store.close()


async def _checked(settings: S3Settings, tmp_path: Path, name: str) -> CheckReport:
    """What an agent's check says of new settings, with the repository made or attached; the first is a whole one."""
    limits = Limits()
    provider = Provider(DestinationSettings(), limits, StorageMeasures(CollectorRegistry()), tmp_path / "state")
    destinations = Destinations(DestinationFiles(tmp_path / name), provider, limits)
    await destinations.put("store", PutDestination(1, settings))
    checks = DestinationChecks(destinations, provider, Keyrings(destinations, provider.unlocking))
    request = CheckDestination(initialise=True, cluster_name="Test", conformance=name == "first")
    report = await checks.check("store", request)
    await destinations.close()
    return report


async def test_a_check_makes_a_locked_repository_and_tells_it_from_others(lockable: S3Server, tmp_path: Path) -> None:
    """Promise: an agent's whole check passes on a locked destination and makes a repository, whose own files are
    locked; settings without the lock are refused for it, and settings with a lock for a repository made without."""
    settings = await locked_settings(lockable)
    report = await _checked(settings, tmp_path, "first")
    assert (report.ok, report.made, report.error) == (True, True, None)
    kept = sorted(version["Key"].removeprefix("some/prefix/") for version in versions_in(lockable, settings.path))
    assert report.cluster_id is not None
    cluster = [keys.cluster_key(report.cluster_id), keys.named_key("Test", report.cluster_id)]
    assert kept == sorted([keys.REPOSITORY, *cluster])
    again = await _checked(in_mode(settings, "governance"), tmp_path, "second")
    assert (again.ok, again.made, again.repository_id) == (True, False, report.repository_id)
    without = await _checked(unlocked(settings), tmp_path, "third")
    assert (without.ok, (without.error or {})["code"]) == (False, "repository_lock_differs")
    other = await locked_settings(lockable)
    assert (await _checked(unlocked(other), tmp_path, "fourth")).made
    late = await _checked(other, tmp_path, "fifth")
    assert (late.ok, (late.error or {})["code"]) == (False, "repository_lock_differs")


async def test_a_command_opens_it_with_its_lock(lockable: S3Server, tmp_path: Path) -> None:
    """Promise: through the agent's own opening, with all that is around a store, objects are locked and held longer;
    without the settings' lock a command is refused before it does anything."""
    settings = await locked_settings(lockable)
    limits = Limits()
    provider = Provider(DestinationSettings(), limits, StorageMeasures(CollectorRegistry()), tmp_path / "state")
    destinations = Destinations(DestinationFiles(tmp_path / "d"), provider, limits)
    await destinations.put("store", PutDestination(1, settings))
    keyrings = Keyrings(destinations, provider.unlocking)
    checks = DestinationChecks(destinations, provider, keyrings)
    request = CheckDestination(initialise=True, cluster_name="Test", conformance=False)
    report = await checks.check("store", request)
    assert report.repository_id is not None
    assert report.cluster_id is not None
    repositories = OpenDestinations(destinations, verifying(keyrings), Patience(0.0), HoldNotes(tmp_path / "holds"))
    target = Target("store", report.repository_id, report.cluster_id)
    async with repositories.opened(target) as opened:
        assert opened.lock is not None
        assert opened.lock.settings == object_lock_of(settings)
        put = await opened.storage.put(DATA[0], [b"x"])
        assert put.held_until is not None
        await opened.storage.hold([DATA[0]], put.held_until + DAY)
        there = await opened.storage.head(DATA[0])
        assert there is not None
        assert there.held_until is not None
        assert abs(there.held_until - put.held_until - DAY) <= 1
        with pytest.raises(ObjectLocked):
            await opened.storage.delete([DATA[0]])
    await destinations.put("store", PutDestination(2, unlocked(settings)))
    with pytest.raises(RepositoryLockDiffers):
        async with repositories.opened(target):
            pass
    await destinations.close()


async def test_a_check_names_the_bucket_that_does_not_fit(lockable: S3Server, tmp_path: Path) -> None:
    """Promise: whoever adds a destination is told the reason, not that a deletion was refused."""
    name = f"default-{time.time_ns()}"
    await lockable.make_locked_bucket(name, default_days=3)
    report = await _checked(settings_for(lockable, path=name), tmp_path, "default")
    assert (report.ok, (report.error or {})["code"]) == (False, "bucket_locked")
    lock = {"mode": "compliance", "days": DAYS, "control": f"{BUCKET}/c"}
    report = await _checked(settings_for(lockable, path=f"{BUCKET}/p", object_lock=lock), tmp_path, "none")
    assert (report.ok, (report.error or {})["code"]) == (False, "bucket_not_locked")
