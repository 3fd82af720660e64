"""Wrong or rotated keys make a command wait for newer settings; it goes on with them, or fails after a bounded time."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.repository.destination_files import DestinationFiles, StoredDestination
from agent.repository.destinations import Destinations
from agent.repository.errors import RepositoryMismatch
from agent.repository.hold_notes import HoldNotes
from agent.repository.limits import Limits
from agent.repository.live_storage import LiveStorage, Patience
from agent.repository.opening import OpenDestinations
from agent.storage.protocol import Denied, DirectoryDenied, DirectoryReadOnly, Storage, StorageError, Transient
from agent.wire.commands import Target
from agent.wire.destinations import PutDestination, S3Settings
from tests.fast.storage.memory import MemoryStorage

GOOD = "good-key"


class Store:
    """A store that takes one key only, and a registry that opens it."""

    def __init__(self, directory: Path) -> None:
        self.good = GOOD
        self.memory = MemoryStorage(hook=self._ask)
        self._used = ""
        self.asked: list[tuple[str, str]] = []
        self.away: Callable[[str], bool] = lambda key: False
        self.shown: list[dict[str, Any] | None] = []
        self.told = asyncio.Event()
        self.limits = Limits()
        self.destinations = Destinations(DestinationFiles(directory), self._open, self.limits)

    async def _open(self, record: StoredDestination) -> Storage:
        assert isinstance(record.settings, S3Settings)
        return Keyed(self, record.settings.access_key)

    async def _ask(self, verb: str, key: str) -> None:
        self.asked.append((verb, key))

    def waiting(self, error: dict[str, Any] | None) -> None:
        self.shown.append(error)
        self.told.set()

    async def put_key(self, revision: int, key: str) -> None:
        settings = S3Settings(path="bucket", access_key=key, access_secret="s")
        await self.destinations.put("store", PutDestination(revision, settings))

    def live(self, patience: Patience, verify: Any = None) -> LiveStorage:
        async def fine(storage: Storage) -> None:
            return None

        return LiveStorage(self.destinations, "store", verify or fine, waiting=self.waiting, patience=patience)


class Keyed(MemoryStorage):
    """The shared objects, seen with one key."""

    def __init__(self, store: Store, key: str) -> None:
        async def check(verb: str, name: str) -> None:
            await asyncio.sleep(0)  # others have their turn while a request is on its way
            if store.away(name):
                raise Transient("no answer", key=name)
            if key != store.good:
                raise Denied("wrong key", key=name)

        super().__init__(hook=check)
        self._objects = store.memory._objects


LONG = Patience(seconds=60, poll_seconds=60)


@pytest.fixture
async def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


async def test_a_command_with_wrong_keys_waits_says_so_and_goes_on_with_new_ones(store: Store) -> None:
    """Promise: every stream waits once, said once, and goes on with new keys."""
    await store.put_key(1, "bad")
    live = store.live(LONG)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        puts = [group.create_task(live.put(f"k{number}", [b"x"])) for number in range(16)]
        await store.told.wait()
        assert not any(task.done() for task in puts)
        await store.put_key(2, GOOD)
    assert all(task.result().created for task in puts)
    assert [error and error["code"] for error in store.shown] == ["waiting_for_credentials", None]
    shown = store.shown[0]
    assert shown is not None
    assert shown["fields"]["destination"] == "store"


async def test_keys_that_change_in_the_middle_of_a_listing_repeat_and_lose_nothing(store: Store) -> None:
    """Promise: a listing goes on behind the key it had come to."""
    await store.put_key(1, GOOD)
    live = store.live(LONG)
    for number in range(1500):
        store.memory._objects[f"k{number:04}"] = (b"", 0.0)
    seen = []
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        async for entry in live.list("k"):
            seen.append(entry.key)
            if len(seen) == 10:
                store.good = "rotated"  # the next page is refused
                group.create_task(put_when_told(store))
    assert seen == [f"k{number:04}" for number in range(1500)]
    assert [error and error["code"] for error in store.shown] == ["waiting_for_credentials", None]


async def put_when_told(store: Store) -> None:
    await store.told.wait()
    await store.put_key(2, "rotated")


async def test_the_same_settings_are_opened_anew_now_and_then(store: Store) -> None:
    """Promise: keys that change behind the settings (a file, a role) are noticed."""
    await store.put_key(1, GOOD)
    store.good = "for a moment"
    live = store.live(Patience(seconds=60, poll_seconds=0.01))
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(live.put("k", [b"x"]))
        await store.told.wait()
        store.good = GOOD  # such as a file of credentials that was replaced
    assert store.shown[-1] is None


async def test_after_the_patience_it_fails_with_storage_denied(store: Store) -> None:
    """Promise: nobody waits for keys for ever."""
    await store.put_key(1, "bad")
    live = store.live(Patience(seconds=0.05, poll_seconds=0.01))
    async with asyncio.timeout(20):
        with pytest.raises(Denied) as caught:
            await live.get("k")
    assert caught.value.code == "storage_denied"


async def test_a_store_that_goes_away_in_the_middle_of_a_command_is_waited_for(store: Store) -> None:
    """An outage of minutes doesn't undo an upload or a fetch of hours: the command says that it waits, and goes on."""
    await store.put_key(1, GOOD)
    live = store.live(Patience(seconds=60, poll_seconds=0.01))
    for number in range(8):
        await live.put(f"k{number}", [b"x"])
    store.away = lambda key: True
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        gets = [group.create_task(live.get(f"k{number}")) for number in range(8)]
        listed = group.create_task(_listed(live))
        await store.told.wait()
        assert not any(task.done() for task in (*gets, listed))
        store.away = lambda key: False
    assert [task.result() for task in gets] == [b"x"] * 8
    assert listed.result() == [f"k{number}" for number in range(8)]
    assert [error and error["code"] for error in store.shown][::2] == ["waiting_for_destination"] * (
        len(store.shown) // 2
    )
    assert store.shown[-1] is None


async def _listed(live: LiveStorage) -> list[str]:
    return [entry.key async for entry in live.list("k")]


async def test_waiting_for_a_store_ends_with_patience_or_a_cancel(store: Store) -> None:
    """Bounded, and a person's cancel needs no store."""
    await store.put_key(1, GOOD)
    live = store.live(Patience(seconds=0.05, poll_seconds=0.01))
    await live.put("k", [b"x"])
    store.away = lambda key: True
    async with asyncio.timeout(20):
        with pytest.raises(Transient):
            await live.get("k")
    patient = store.live(LONG)
    store.away = lambda key: False
    await patient.get("k")
    store.away = lambda key: True
    store.told.clear()
    waiting = asyncio.create_task(patient.get("k"))
    async with asyncio.timeout(20):
        await store.told.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_a_store_that_never_answered_or_answers_others_is_not_waited_for(store: Store) -> None:
    """A wrong endpoint is told at once, and one object that the store can't give is no outage."""
    await store.put_key(1, GOOD)
    store.away = lambda key: True
    with pytest.raises(Transient):
        await store.live(LONG).get("k")
    assert store.shown == []
    live = store.live(Patience(seconds=60, poll_seconds=0.01))
    store.away = lambda key: key == "lost"
    await live.put("k", [b"x"])

    async def others() -> None:
        while True:
            await live.get("k")

    async with asyncio.timeout(20):
        answered = asyncio.create_task(others())
        with pytest.raises(Transient):
            await live.get("lost")
        answered.cancel()


async def test_a_store_that_comes_and_goes_does_not_end_a_call(store: Store) -> None:
    """That another request was answered between two tries is no reason to give one up: patience is for this, too."""
    await store.put_key(1, GOOD)
    live = store.live(Patience(seconds=60, poll_seconds=0.01))
    await live.put("k", [b"x"])
    await live.put("other", [b"x"])
    asked = asyncio.Event()
    tries = 0

    def flapping(key: str) -> bool:
        nonlocal tries
        if key == "other":
            return False
        tries += 1
        asked.set()
        return tries <= 4

    store.away = flapping
    async with asyncio.timeout(20):
        waiting = asyncio.create_task(live.get("k"))
        while not waiting.done():
            await asyncio.wait([waiting, told := asyncio.create_task(asked.wait())], return_when="FIRST_COMPLETED")
            told.cancel()
            asked.clear()
            if not waiting.done():
                await store.told.wait()  # the failed try has ended
                store.told.clear()
                await live.get("other")
        assert await waiting == b"x"
    assert tries == 5


async def test_patience_is_one_for_all_calls_and_is_had_again_after_an_answer(store: Store) -> None:
    """A store that is gone for good costs a command its patience once, whatever the number of requests."""
    await store.put_key(1, GOOD)
    live = store.live(Patience(seconds=0.05, poll_seconds=0.01))
    await live.put("k", [b"x"])
    store.away = lambda key: True
    async with asyncio.timeout(20):
        with pytest.raises(Transient):
            await live.get("k")
    assert store.shown[-1] is None
    shown = len(store.shown)
    for _ in range(3):
        with pytest.raises(Transient):
            await live.get("k")
        with pytest.raises(Transient):
            await _listed(live)
    assert len(store.shown) == shown  # none of them waited
    store.away = lambda key: False
    await live.get("k")
    store.away = lambda key: True
    with pytest.raises(Transient):
        await live.get("k")
    assert len(store.shown) == shown + 2


@pytest.mark.parametrize("kind", [DirectoryDenied, DirectoryReadOnly])
async def test_a_directory_that_lets_nobody_in_is_not_waited_for(store: Store, kind: type[StorageError]) -> None:
    """Promise: no newer keys mend a mount or rights: the command ends at once and holds up nobody."""
    await store.put_key(1, GOOD)
    live = store.live(LONG)
    await live.put("before", [b"x"])

    def refuse(name: str) -> bool:
        raise kind("no writing here")

    store.away = refuse
    async with asyncio.timeout(20):
        with pytest.raises(kind):
            await live.put("k", [b"x"])
    assert store.shown == []


async def test_new_settings_must_hold_the_same_repository(store: Store) -> None:
    """Promise: a command never goes on in another repository than it began in."""
    await store.put_key(1, GOOD)
    verified = 0

    async def verify(storage: Storage) -> None:
        nonlocal verified
        verified += 1
        if verified > 1:
            raise RepositoryMismatch("another repository")

    live = store.live(LONG, verify)
    await live.put("k", [b"x"])
    await live.get("k")
    assert verified == 1
    await store.put_key(2, GOOD)
    with pytest.raises(RepositoryMismatch):
        await live.get("k")


async def test_an_opened_repository_is_in_use(store: Store) -> None:
    """Promise: its destination can't be forgotten meanwhile."""
    await store.put_key(1, GOOD)

    async def verify(storage: Storage, target: Target, record: StoredDestination) -> None:
        assert target.repository_id == "r"

    repositories = OpenDestinations(store.destinations, verify, LONG, HoldNotes(Path("none")))
    async with repositories.opened(Target("store", "r", "c")) as free:
        assert store.destinations.view("store").in_use
        assert free.streams == 16
    assert not store.destinations.view("store").in_use
