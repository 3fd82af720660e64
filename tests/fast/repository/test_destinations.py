"""The registry of destinations: the newest settings win, secrets stay inside, nothing in use goes away."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.repository.destination_files import DestinationFileDamaged, DestinationFiles, StoredDestination
from agent.repository.destinations import DestinationInUse, Destinations, RevisionTooOld
from agent.repository.errors import UnknownDestination
from agent.repository.limits import Limits
from agent.storage.protocol import BadSettings, Storage
from agent.wire.destinations import MASK, LocalSettings, PutDestination, S3Settings, Settings, lies_in, place_of
from agent.wire.names import InvalidName
from agent.wire.throttle import PatchThrottle
from kit.errors import InvalidInput
from tests.fast.storage.memory import MemoryStorage

SECRET = "canary-access-secret"


class CountedStorage(MemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    async def close(self) -> None:
        self.closed = True


class Opener:
    """Opens a new memory store for each record; paths that start with `refused` can't be opened."""

    def __init__(self) -> None:
        self.opened: list[tuple[StoredDestination, CountedStorage]] = []
        self.meanwhile: Callable[[], None] = lambda: None
        """what happens while a record is tried"""

    async def __call__(self, record: StoredDestination) -> Storage:
        self.meanwhile()
        if record.settings.path.startswith("refused"):
            raise BadSettings("not here", setting="path")
        storage = CountedStorage()
        self.opened.append((record, storage))
        return storage


class Registry:
    """A registry over a directory, and what it told others."""

    def __init__(self, directory: Path) -> None:
        self.opener = Opener()
        self.secrets: list[str] = []
        self.destinations = Destinations(
            DestinationFiles(directory), self.opener, Limits(), register_secret=self.secrets.append
        )


@pytest.fixture
async def registry(tmp_path: Path) -> Registry:
    made = Registry(tmp_path / "destinations")
    await made.destinations.load()
    return made


def s3(path: str = "bucket", secret: str = SECRET, **more: object) -> Settings:
    return S3Settings(path=path, access_key="key", access_secret=secret, **more)  # type: ignore[arg-type]


async def test_settings_survive_a_restart_with_mode_0600_and_answers_are_masked(
    registry: Registry, tmp_path: Path
) -> None:
    """Promise: I9: settings are kept privately and shown without secrets."""
    view = await registry.destinations.put("store", PutDestination(3, s3()))
    assert isinstance(view.settings, S3Settings)
    assert view.settings.access_secret == MASK
    assert view.settings.session_token == ""
    assert SECRET in registry.secrets
    path = tmp_path / "destinations" / "store.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Registry(tmp_path / "destinations")
    await again.destinations.load()
    assert again.destinations.record("store").settings == s3()
    assert again.secrets == registry.secrets[-len(again.secrets) :]


async def test_an_older_revision_is_refused_and_the_same_one_is_idempotent(registry: Registry) -> None:
    """Promise: the newest settings win, whatever order requests come in."""
    await registry.destinations.put("store", PutDestination(3, s3()))
    await registry.destinations.put("store", PutDestination(3, s3()))
    for request in (PutDestination(2, s3()), PutDestination(3, s3("other"))):
        with pytest.raises(RevisionTooOld) as caught:
            await registry.destinations.put("store", request)
        assert caught.value.fields["revision"] == 3
        assert caught.value.status == 409
    assert registry.destinations.record("store").settings == s3()


async def test_a_mask_in_an_update_means_unchanged_and_nothing_else(registry: Registry) -> None:
    """Promise: what was shown masked may be sent back; the secret stays."""
    with pytest.raises(InvalidInput, match="masked"):
        await registry.destinations.put("store", PutDestination(1, s3(secret=MASK)))
    await registry.destinations.put("store", PutDestination(1, s3()))
    await registry.destinations.put("store", PutDestination(2, s3("bucket/elsewhere", MASK)))
    assert registry.destinations.record("store").settings == s3("bucket/elsewhere")


@pytest.mark.parametrize("moved", [s3("other", MASK), s3(secret=MASK, endpoint="https://elsewhere.example")])
async def test_a_masked_secret_does_not_follow_to_another_store(registry: Registry, moved: Settings) -> None:
    """Who may change settings, but does not know the secret, can't have it sent to a store of their own."""
    await registry.destinations.put("store", PutDestination(1, s3()))
    with pytest.raises(InvalidInput, match="send the secret itself"):
        await registry.destinations.put("store", PutDestination(2, moved))
    assert registry.destinations.record("store").settings == s3()


async def test_settings_that_can_not_work_are_refused_before_they_are_kept(registry: Registry, tmp_path: Path) -> None:
    """Promise: nothing is kept that can't work."""
    with pytest.raises(BadSettings):
        await registry.destinations.put("store", PutDestination(1, LocalSettings("refused")))
    with pytest.raises(InvalidInput):
        await registry.destinations.put("store", PutDestination(1, LocalSettings("a", throttle_bytes_per_second=-1)))
    assert list((tmp_path / "destinations").iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "a\0b", "x" * 300, "OPSC_ON_SERVER"])
async def test_a_name_that_could_leave_the_directory_is_refused(registry: Registry, name: str) -> None:
    """Promise: a destination's name reaches no file of others."""
    with pytest.raises((InvalidName, InvalidInput)):
        await registry.destinations.put(name, PutDestination(1, LocalSettings("a")))


async def test_a_destination_that_a_command_needs_stays_at_its_place(registry: Registry) -> None:
    """Its keys and limits may change meanwhile, also when they are spelt with the same place in other words."""
    destinations = registry.destinations
    await destinations.put("store", PutDestination(1, s3("bucket/backups", endpoint="https://store.example")))
    destinations.wanted = lambda destination_id: True
    for moved in (s3("other/backups", endpoint="https://store.example"), s3("bucket/backups"), LocalSettings("bucket")):
        with pytest.raises(DestinationInUse):
            await destinations.put("store", PutDestination(2, moved))
    same = s3("bucket/backups/", "new secret", endpoint="https://STORE.example:443/", throttle_bytes_per_second=7)
    await destinations.put("store", PutDestination(2, same))
    assert destinations.record("store").settings == same
    destinations.wanted = lambda destination_id: False
    await destinations.put("store", PutDestination(3, s3("other")))


async def test_a_command_that_comes_while_another_place_is_tried_keeps_the_place(
    registry: Registry, tmp_path: Path
) -> None:
    """The command was accepted for the place that it knew; on disk it stays too."""
    destinations, opener = registry.destinations, registry.opener
    await destinations.put("store", PutDestination(1, s3("bucket")))
    opener.meanwhile = lambda: setattr(destinations, "wanted", lambda destination_id: True)
    with pytest.raises(DestinationInUse):
        await destinations.put("store", PutDestination(2, s3("other")))
    assert destinations.record("store").settings == s3("bucket")
    again = Registry(tmp_path / "destinations")
    await again.destinations.load()
    assert again.destinations.record("store") == destinations.record("store")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (LocalSettings("/backups/a"), LocalSettings("//backups/./a/", shared=True)),
        (LocalSettings("a"), LocalSettings("./a")),
        (s3("bucket/a"), s3("/bucket/a/", "another secret", region="eu-1")),
        (s3(endpoint="http://store.example:80"), s3(endpoint="http://Store.example/")),
    ],
)
def test_a_place_is_the_same_however_it_is_spelt(one: Settings, other: Settings) -> None:
    """Who compares two destinations isn't led astray by a slash."""
    assert place_of(one) == place_of(other)


def test_places_that_differ_are_told_apart() -> None:
    """Provider, endpoint, bucket, prefix; absolute and relative paths."""
    places = [
        LocalSettings("a"),
        LocalSettings("/a"),
        s3("a"),
        s3("a/b"),
        s3("a/B"),
        s3("a", endpoint="https://store.example"),
        s3("a", endpoint="http://store.example"),
        s3("a", endpoint="https://store.example:80"),
    ]
    assert len({place_of(settings) for settings in places}) == len(places)


@pytest.mark.parametrize(
    ("outer", "inner", "inside"),
    [
        (LocalSettings("a"), LocalSettings("./a//b/c", shared=True), True),
        (LocalSettings("."), LocalSettings("a"), True),
        (LocalSettings("/"), LocalSettings("/a"), True),
        (s3("bucket"), s3("bucket/a"), True),
        (s3("bucket/a"), s3("bucket/a/b", region="eu-1"), True),
        (LocalSettings("a"), LocalSettings("a/"), False),
        (LocalSettings("a"), LocalSettings("ab"), False),
        (LocalSettings("a"), LocalSettings("/a/b"), False),
        (LocalSettings("."), LocalSettings("/a"), False),
        (s3("bucket"), s3("bucket2/a"), False),
        (s3("bucket/a"), s3("bucket/ab"), False),
        (s3("bucket"), s3("bucket/a", endpoint="https://store.example"), False),
        (LocalSettings("bucket"), s3("bucket/a"), False),
    ],
)
def test_a_place_inside_another_is_known(outer: Settings, inner: Settings, inside: bool) -> None:
    """By whole names, and never across stores; the outer one is not inside of the inner."""
    assert lies_in(inner, outer) == inside
    assert not lies_in(outer, inner)


async def test_what_is_in_use_or_wanted_by_a_command_can_not_be_deleted(registry: Registry, tmp_path: Path) -> None:
    """Promise: settings that a command needs stay."""
    destinations = registry.destinations
    await destinations.put("store", PutDestination(1, LocalSettings("a")))
    with destinations.used("store"):
        assert destinations.view("store").in_use
        with pytest.raises(DestinationInUse):
            await destinations.delete("store")
    destinations.wanted = lambda destination_id: True
    with pytest.raises(DestinationInUse):
        await destinations.delete("store")
    destinations.wanted = lambda destination_id: False
    await destinations.delete("store")
    assert list((tmp_path / "destinations").iterdir()) == []
    with pytest.raises(UnknownDestination):
        destinations.view("store")
    with pytest.raises(UnknownDestination):
        await destinations.delete("store")


async def test_a_storage_is_opened_once_and_closed_when_its_last_user_has_gone(registry: Registry) -> None:
    """Promise: users share a store; new settings open another, the old one is closed after its last user."""
    destinations, opener = registry.destinations, registry.opener
    await destinations.put("store", PutDestination(1, LocalSettings("a")))
    opener.opened.clear()
    async with destinations.borrowed("store") as first, destinations.borrowed("store") as second:
        assert first.storage is second.storage
        await destinations.put("store", PutDestination(2, LocalSettings("a", throttle_bytes_per_second=5)))
        async with destinations.borrowed("store") as third:
            assert third.storage is not first.storage
            assert third.generation > first.generation
        old = opener.opened[0][1]
        still_open = not old.closed
    assert still_open
    assert old.closed
    await destinations.close()
    assert all(storage.closed for _, storage in opener.opened)


async def test_what_a_check_found_is_kept_for_the_same_place_only(registry: Registry) -> None:
    """Promise: what is known of a store is forgotten when the settings lead elsewhere."""
    destinations = registry.destinations
    await destinations.put("store", PutDestination(1, s3()))
    await destinations.remember("store", 1, conditional_create=True, repository_id="r", cluster_id="c")
    await destinations.put("store", PutDestination(2, s3(secret="new")))
    assert destinations.record("store").conditional_create
    assert destinations.view("store").repository_id == "r"
    await destinations.remember("store", 1, conditional_create=False)  # of settings that are gone
    assert destinations.record("store").conditional_create
    await destinations.put("store", PutDestination(3, s3("another-bucket")))
    assert not destinations.record("store").conditional_create
    assert destinations.view("store").repository_id is None


async def test_live_limits_hold_until_the_settings_name_another(registry: Registry) -> None:
    """Promise: a limit set live holds until settings name a new one; a wrong one changes nothing."""
    destinations = registry.destinations
    await destinations.put("store", PutDestination(1, LocalSettings("a", throttle_bytes_per_second=100)))
    view = destinations.set_throttle(PatchThrottle(node_bytes_per_second=7, destinations={"store": 50}))
    assert (view.node_bytes_per_second, view.destinations) == (7, {"store": 50})
    await destinations.put("store", PutDestination(2, LocalSettings("b", throttle_bytes_per_second=100)))
    assert destinations.throttle().destinations == {"store": 50}
    await destinations.put("store", PutDestination(3, LocalSettings("b", throttle_bytes_per_second=200)))
    assert destinations.throttle().destinations == {"store": 200}
    with pytest.raises(UnknownDestination):
        destinations.set_throttle(PatchThrottle(node_bytes_per_second=9, destinations={"nothing": 1}))
    with pytest.raises(InvalidInput):
        destinations.set_throttle(PatchThrottle(destinations={"store": -1}))
    assert destinations.throttle().node_bytes_per_second == 7


async def test_a_damaged_file_is_an_error_that_names_it_and_not_its_content(tmp_path: Path) -> None:
    """Promise: I9: a damaged file is named, and none of it quoted."""
    directory = tmp_path / "destinations"
    directory.mkdir()
    (directory / "store.json").write_text(f'{{"id":"store","revision":"{SECRET}"}}')
    with pytest.raises(DestinationFileDamaged, match=r"store\.json") as caught:
        await Registry(directory).destinations.load()
    assert SECRET not in str(caught.value.as_dict())
