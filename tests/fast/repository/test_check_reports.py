"""What the check of a bucket answers, what it leaves in it, and what the agent remembers of it."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.repository.attach import attach
from agent.repository.check import NONCE_SECONDS, NONCES, DestinationChecks
from agent.repository.destination_files import StoredDestination
from agent.repository.keys import CHECKS, REPOSITORY, slot_key
from agent.storage.protocol import BucketMissing, Denied, DestinationFull, Storage, StorageError
from agent.wire.destinations import CheckDestination, CheckReport, Encryption, PutDestination, S3Settings
from tests.fast.repository.test_check import Agent
from tests.fast.storage.memory import MemoryStorage

BUCKET = S3Settings(path="bucket")
ATTACH = CheckDestination(initialise=True, cluster_name="test", conformance=False)


class Bucket(MemoryStorage):
    """`refuse`: verbs and beginnings of keys that end with an error. Notes what is put and how often it was closed.
    `ahead`: seconds that its clock has gone on."""

    def __init__(self) -> None:
        begun, self.ahead = time.time(), 0.0
        self.refuse: dict[tuple[str, str], Exception] = {}
        self.puts: list[str] = []
        self.closed = 0
        super().__init__(clock=lambda: begun + self.ahead, hook=self._ask)

    async def _ask(self, verb: str, key: str) -> None:
        for (refused, prefix), error in self.refuse.items():
            if verb == refused and key.startswith(prefix):
                raise error
        if verb == "put":
            self.puts.append(key)

    async def close(self) -> None:
        self.closed += 1


class Forgetful(Bucket):
    """Deletes nothing, as if it were done."""

    async def delete(self, keys: Sequence[str]) -> None:
        return None


class Filling(Bucket):
    """On a volume that is full after so many objects."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    async def _ask(self, verb: str, key: str) -> None:
        await super()._ask(verb, key)
        if len(self.puts) > self._room:
            self.refuse["put", ""] = DestinationFull("/mnt is full (0 bytes free)")
            await super()._ask(verb, key)


class Site:
    """An agent with the destination «store», a bucket. `opened_with`: whether each opening was to create only if
    absent; `prepared`: whether the place was to be made."""

    def __init__(self, directory: Path, store: Bucket | None = None) -> None:
        self.store = store or Bucket()
        self.opened_with: list[bool] = []
        self.prepared: list[bool] = []
        self.agent = Agent(directory, directory)
        self.checks = DestinationChecks(self.agent.destinations, self, self.agent.keyrings, new_name=lambda: "new")

    async def prepare(self, record: StoredDestination, *, make: bool) -> bool:
        self.prepared.append(make)
        return False

    async def discard(self, record: StoredDestination, *, made: bool) -> None:
        return None

    async def open(self, record: StoredDestination, conditional_create: bool) -> Storage:
        self.opened_with.append(conditional_create)
        return self.store

    async def put(self, settings: S3Settings = BUCKET, revision: int = 1) -> None:
        await self.agent.destinations.put("store", PutDestination(revision, settings))

    async def check(self, request: CheckDestination) -> CheckReport:
        return await self.checks.check("store", request)

    @property
    def record(self) -> StoredDestination:
        return self.agent.destinations.record("store")


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    await made.put()
    return made


def _fields(report: CheckReport) -> dict[str, object]:
    assert report.error is not None
    fields = report.error["fields"]
    assert isinstance(fields, dict)
    return fields


async def test_a_look_puts_nothing_and_finds_nothing_out(site: Site) -> None:
    """Promise: who only looks at an empty bucket learns that it answers, and leaves no trace there, nor a place that
    would be made; every storage that was opened is closed."""
    report = await site.check(CheckDestination(conformance=False))
    assert report == CheckReport(True, [], False)
    assert (site.store.puts, site.prepared, site.record.probed) == ([], [False], False)
    assert site.store.closed == len(site.opened_with) > 0


async def test_whoever_attaches_finds_out_once_how_the_store_creates(site: Site) -> None:
    """Promise: the agent remembers repository, cluster and how this store creates, and opens it so from then on."""
    report = await site.check(ATTACH)
    assert (report.ok, report.made, report.nonce_found, report.conditional_create) == (True, True, None, True)
    assert [result.outcome for result in report.results] == ["ok"]
    assert (site.record.repository_id, site.record.cluster_id) == (report.repository_id, report.cluster_id)
    assert (site.record.conditional_create, site.record.probed) == (True, True)
    assert site.opened_with[:2] == [False, False]
    assert [key for key in site.store._objects if key.startswith(CHECKS)] == []
    site.opened_with.clear()
    again = await site.check(ATTACH)
    assert (again.results, again.conditional_create, again.made) == ([], True, False)
    assert site.opened_with == [True, True]
    look = await site.check(CheckDestination(conformance=False))
    assert (look.repository_id, look.cluster_id, look.made) == (report.repository_id, None, False)


@pytest.mark.parametrize("room", [0, 1, 40])
async def test_a_full_volume_is_told_as_that(tmp_path: Path, room: int) -> None:
    """Promise: who adds a destination on a volume that is full, or becomes so while it is tried out, reads that it is
    full, not which checks of the store failed for it; what was put is removed again."""
    site = Site(tmp_path, Filling(room))
    await site.put()
    report = await site.check(CheckDestination(initialise=True))
    assert report.error is not None
    told = (report.ok, report.error["code"], report.error["message"], report.error["todo"])
    assert told == (False, "destination_full", "/mnt is full (0 bytes free)", DestinationFull.todo)
    assert [entry.key async for entry in site.store.list("")] == []


async def test_a_probe_that_fails_stops_nobody_and_is_made_again(site: Site) -> None:
    """Promise: a fault during the trial of how the store creates costs nothing but a slower put, until the next check
    tries it again."""
    site.store.refuse["put", CHECKS] = StorageError("an odd answer")
    report = await site.check(ATTACH)
    assert (report.ok, report.conditional_create) == (True, False)
    assert [result.outcome for result in report.results] == ["failed"]
    assert (site.record.probed, site.record.repository_id) == (False, report.repository_id)
    site.store.refuse.clear()
    assert (await site.check(ATTACH)).conditional_create
    assert site.record.probed


async def test_a_bucket_with_other_content_is_refused_after_what_was_found_out(site: Site) -> None:
    """Promise: the error names the setting that leads there and what lies there; what the store can do was found out
    all the same, is in the report and is remembered."""
    await site.store.put("photo.jpg", [b""])
    report = await site.check(CheckDestination(initialise=True))
    assert not report.ok
    assert _fields(report) == {"key": "photo.jpg", "setting": "path"}
    assert {result.outcome for result in report.results} <= {"ok", "skipped"}
    assert len(report.results) > 1
    assert report.conditional_create
    assert (site.record.conditional_create, site.record.repository_id) == (True, None)
    assert set(site.store._objects) == {"photo.jpg"}
    refused = await site.check(CheckDestination(conformance=False, cluster_name="test"))
    assert (refused.ok, refused.conditional_create, refused.results) == (False, True, [])


@pytest.mark.parametrize("find", [None, "n1"])
async def test_what_a_bucket_answers_is_told_with_its_setting(site: Site, find: str | None) -> None:
    """Promise: a bucket that isn't there is an error of the path, and holds no nonce; keys that are refused are no
    matter of the path, and tell nothing of a nonce."""
    request = CheckDestination(initialise=True, nonce_find=find, conformance=False)
    site.store.refuse["head", ""] = BucketMissing("no such bucket")
    missing = await site.check(request)
    assert (_fields(missing), missing.nonce_found) == ({"setting": "path"}, None if find is None else False)
    site.store.refuse["head", ""] = Denied("wrong keys")
    denied = await site.check(request)
    assert (denied.ok, _fields(denied), denied.nonce_found) == (False, {}, None)
    assert site.prepared == [find is None] * 2


async def test_the_first_small_object_is_put_and_removed(site: Site) -> None:
    """Promise: a place that takes nothing is found out by one small object, before all else; it goes at once."""
    site.store.refuse["delete", f"{CHECKS}new/first"] = Denied("no right to delete")
    report = await site.check(CheckDestination(initialise=True))
    assert (report.ok, report.results) == (False, [])
    assert report.error is not None
    assert report.error["code"] == Denied.code
    assert {key: body for key, (body, _) in site.store._objects.items()} == {f"{CHECKS}new/first": b"first"}


async def test_an_unfit_store_is_told_with_all_that_failed(tmp_path: Path) -> None:
    """Promise: the report names each failed check, in its words and in its fields, and the agent remembers no
    repository."""
    site = Site(tmp_path, Forgetful())
    await site.put()
    report = await site.check(CheckDestination(initialise=True, cluster_name="test"))
    failed = [result.name for result in report.results if result.outcome == "failed"]
    assert len(failed) > 1
    assert report.error is not None
    assert report.error["message"] == f"the store failed: {', '.join(failed)}"
    assert _fields(report) == {"failed": failed, "destination": "store"}
    assert (report.ok, report.conditional_create, report.repository_id) == (False, True, None)
    assert REPOSITORY not in site.store._objects


async def test_what_was_begun_is_told_as_not_made(site: Site) -> None:
    """Promise: a look at an encrypted repository whose keys were never made tells its id, that it made nothing, and
    remembers it."""
    await site.put(S3Settings(path="bucket", encryption=Encryption("a long enough passphrase")), 2)
    await site.agent.destinations.remember("store", 2, conditional_create=True)  # else the first slot is claimed
    first = await site.check(CheckDestination(initialise=True, conformance=False))
    await site.store.delete([slot_key(0)])
    look = await site.check(CheckDestination(conformance=False))
    assert (look.ok, look.repository_id, look.cluster_id, look.made) == (True, first.repository_id, None, False)


@pytest.mark.parametrize("asked", [{"repository_id": "r1"}, {"cluster_id": "c1"}, {"cluster_name": "test"}])
async def test_whoever_names_something_is_told_that_it_is_not_there(site: Site, asked: dict[str, str]) -> None:
    """Promise: an empty bucket is fine for a look, and not for who says what should be there."""
    report = await site.check(CheckDestination(conformance=False, **asked))  # type: ignore[arg-type]
    assert not report.ok
    assert _fields(report)["setting"] == "path"
    assert site.store._objects == {}


async def test_whoever_finds_no_nonce_makes_nothing(site: Site) -> None:
    """Promise: that the place isn't shared is an answer and no failure, and leaves it as it was."""
    find = CheckDestination(initialise=True, cluster_name="test", nonce_find="n1", conformance=False)
    assert await site.check(find) == CheckReport(True, [], False, nonce_found=False)
    assert site.store.puts == []


async def test_a_nonce_lies_for_an_hour(site: Site) -> None:
    """Promise: the nonces of other checks stay as long as those may look for them, by the store's clock; older ones go
    when the next is put, and nothing else with them."""
    for name in ("old", "young"):
        await site.store.put(f"{NONCES}{name}", [b"nonce"])
        site.store.ahead += 1.0
    await attach(
        site.store, keys=None, initialise=True, repository_id=None, cluster_id=None, cluster_name="test", locked=False
    )
    site.store.ahead += NONCE_SECONDS - 1.0
    before = set(site.store._objects)
    request = CheckDestination(initialise=True, cluster_name="test", nonce_put="mine", conformance=False)
    assert (await site.check(request)).nonce_found is None
    left = {f"{NONCES}young", f"{NONCES}mine"} | {key for key in before if not key.startswith(NONCES)}
    assert set(site.store._objects) == left
    assert site.store._objects[f"{NONCES}mine"][0] == b"nonce"
