"""A running command's view of a destination: what reaches the store, and how often a request is tried."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.repository.destination_files import DestinationFiles, StoredDestination
from agent.repository.destinations import Destinations
from agent.repository.limits import Limits
from agent.repository.live_storage import LiveStorage, Patience
from agent.storage.protocol import OPEN, Buffer, Denied, Gate, OpenGate, Put, Storage, Transient, Truncated
from agent.wire.destinations import PutDestination, S3Settings
from tests.fast.storage.memory import MemoryStorage

DEADLINE = 20.0


class Noted(MemoryStorage):
    """Notes what it is asked for."""

    def __init__(self, ask: Callable[[str, str], Awaitable[None]]) -> None:
        super().__init__(hook=ask)
        self.asked: list[tuple[object, ...]] = []

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        self.asked.append(("put", key, replace, gate))
        return await super().put(key, body, replace=replace, gate=gate)

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        self.asked.append(("get", key, start, length, gate))
        return await super().get(key, start, length, gate=gate)

    async def hold(self, keys: Sequence[str], until: float) -> None:
        self.asked.append(("hold", *keys, until))

    async def examine(self) -> None:
        self.asked.append(("examine",))


class Site:
    """A registry that opens one store. `ask`: awaited before each request; `openings` and `verified`: how often it was
    opened, and verified."""

    def __init__(self, directory: Path) -> None:
        self.ask: Callable[[str, str], Awaitable[None]] = _nothing
        self.memory = Noted(self._ask)
        self.openings = 0
        self.verified = 0
        self.shown: list[dict[str, Any] | None] = []
        self.told = asyncio.Event()
        self.destinations = Destinations(DestinationFiles(directory), self._open, Limits())

    async def _open(self, record: StoredDestination) -> Storage:
        self.openings += 1
        return self.memory

    async def _ask(self, verb: str, key: str) -> None:
        await self.ask(verb, key)

    async def _verify(self, storage: Storage) -> None:
        assert storage is self.memory
        self.verified += 1
        await asyncio.sleep(0)

    def _waiting(self, error: dict[str, Any] | None) -> None:
        self.shown.append(error)
        self.told.set()

    async def put(self, revision: int) -> None:
        settings = S3Settings(path="bucket", access_key=f"key{revision}", access_secret="s")
        await self.destinations.put("store", PutDestination(revision, settings))

    def live(self, seconds: float = 60.0, poll_seconds: float = 60.0, **more: int) -> LiveStorage:
        patience = Patience(seconds, poll_seconds)
        return LiveStorage(self.destinations, "store", self._verify, waiting=self._waiting, patience=patience, **more)


async def _nothing(verb: str, key: str) -> None:
    return None


async def _listed(live: LiveStorage) -> list[str]:
    return [entry.key async for entry in live.list("")]


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    await made.put(1)
    return made


async def test_each_verb_reaches_the_store_with_all_that_it_was_given(site: Site) -> None:
    """Promise: a put replaces only when it was told to, a range stays that range, and the command's own limit is kept:
    nothing that a job asks for is lost on the way to the store."""
    live, gate = site.live(), OpenGate()
    assert (await live.put("A", [b"one"])).created
    assert not (await live.put("A", [b"other"])).created
    assert (await live.put("A", [b"two"], replace=True, gate=gate)).created
    assert await live.get("A") == b"two"
    assert await live.get("A", 1, 1, gate=gate) == b"w"
    found = await live.head("A")
    assert found is not None
    assert found.size == 3
    assert await _listed(live) == ["A"]
    await live.hold(["A"], 7.0)
    await live.examine()
    await live.delete(["A"])
    assert site.memory._objects == {}
    assert site.memory.asked == [
        ("put", "A", False, OPEN),
        ("put", "A", False, OPEN),
        ("put", "A", True, gate),
        ("get", "A", 0, None, OPEN),
        ("get", "A", 1, 1, gate),
        ("hold", "A", 7.0),
        ("examine",),
    ]


async def test_an_opening_is_verified_once_for_all_that_wait_for_it(site: Site) -> None:
    """Promise: sixteen streams that begin together cost one verification of the repository, one that was verified
    before costs none, and a newer opening costs one again."""
    live = site.live()
    await asyncio.gather(*(live.put(f"k{number}", [b"x"]) for number in range(16)))
    assert (site.verified, live.verified) == (1, 1)
    known = site.live(verified=1)
    await known.ready()
    assert site.verified == 1
    await site.put(2)
    for one in (live, known):
        await one.ready()
        assert one.verified == 2
    assert site.verified == 3


@pytest.mark.parametrize("kind", [Denied, Transient])
async def test_without_patience_each_request_is_tried_once(site: Site, kind: type[Denied] | type[Transient]) -> None:
    """Promise: a request that may wait for nothing, such as a person's, is told of the first refusal or silence."""
    live = site.live(0.0, 0.0)
    await live.put("k", [b"x"])
    tries = 0

    async def refuse(verb: str, key: str) -> None:
        nonlocal tries
        tries += 1
        raise kind("no", key=key)

    site.ask = refuse
    async with asyncio.timeout(DEADLINE):
        for call in (live.get("k"), _listed(live)):
            with pytest.raises(kind):
                await call
    assert tries == 2
    assert site.shown == [] or kind is Denied
    assert [error is None for error in site.shown] in ([], [False, True])


@pytest.mark.parametrize("kind", [Denied, Transient])
async def test_a_little_patience_is_patience(site: Site, kind: type[Denied] | type[Transient]) -> None:
    """Promise: what patience there is, be it less than a second, is had before a request fails."""
    live = site.live(0.3, 0.01)
    await live.put("k", [b"x"])
    tries = 0

    async def refuse(verb: str, key: str) -> None:
        nonlocal tries
        tries += 1
        raise kind("no", key=key)

    site.ask = refuse
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(kind):
            await live.get("k")
    assert tries > 1


async def test_a_store_that_refuses_its_keys_is_opened_anew_now_and_then(site: Site) -> None:
    """Promise: a file of credentials that was replaced, or a role that was given, is read without newer settings."""
    before = site.openings

    async def ask(verb: str, key: str) -> None:
        if site.openings == before + 1:
            raise Denied("what was read then", key=key)

    site.ask = ask
    async with asyncio.timeout(DEADLINE):
        assert await site.live(60.0, 0.01).head("k") is None
    assert site.openings == before + 2


@pytest.mark.parametrize("came", ["settings", "an opening"])
async def test_keys_that_came_during_a_request_are_tried_at_once(site: Site, came: str) -> None:
    """Promise: what was asked for with the old keys and is refused is no reason to wait when newer ones are there: by
    newer settings, or because another request had them read anew."""
    begun, let_go = asyncio.Event(), asyncio.Event()

    async def once(verb: str, key: str) -> None:
        if not begun.is_set():
            begun.set()
            await let_go.wait()
            raise Denied("old keys", key=key)

    site.ask = once
    live = site.live()
    async with asyncio.timeout(DEADLINE):
        asking = asyncio.create_task(live.put("k", [b"x"]))
        await begun.wait()
        if came == "settings":
            await site.put(2)
        else:
            await site.destinations.renew("store", 1)
            await live.head("k")
        let_go.set()
        assert (await asking).created
    assert site.shown == []


async def test_an_object_that_is_too_short_is_no_silence(site: Site) -> None:
    """Promise: what the store has too little of is told at once, what came cut short is asked for again, and meanwhile
    the command shows, once, which destination and which object it waits for."""
    live = site.live(60.0, 0.01)
    await live.put("k", [b"x"])
    fields: dict[str, object] = {"size": 1}
    left = 3

    async def short(verb: str, key: str) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise Truncated("cut short", key=key, **fields)

    site.ask = short
    with pytest.raises(Truncated):
        await live.get("k")
    assert (left, site.shown) == (2, [])
    fields.clear()
    async with asyncio.timeout(DEADLINE):
        assert await live.get("k") == b"x"
    [shown, hidden] = site.shown
    assert shown is not None
    assert (shown["code"], shown["fields"]) == ("waiting_for_destination", {"key": "k", "destination": "store"})
    assert hidden is None


@pytest.mark.parametrize(
    ("others", "tries", "given_up"),
    [("yyy", 3, True), ("nyy", 4, False), ("yynyy", 6, False), ("yynyyy", 6, True), ("nnnnn", 6, False)],
)
async def test_a_request_is_given_up_when_others_were_answered_during_three_tries_in_a_row(
    site: Site, others: str, tries: int, given_up: bool
) -> None:
    """Promise: then the store lacks this object, whatever patience is left; a try during which nobody was answered
    (`n`) begins the count anew."""
    live = site.live(60.0, 0.01)
    await live.put("k", [b"x"])
    await live.put("lost", [b"found"])
    made = 0

    async def ask(verb: str, key: str) -> None:
        nonlocal made
        if key != "lost":
            return
        made += 1
        if made <= len(others):
            if others[made - 1] == "y":
                await live.head("k")
            raise Transient("no answer", key=key)

    site.ask = ask
    async with asyncio.timeout(DEADLINE):
        if given_up:
            with pytest.raises(Transient):
                await live.get("lost")
        else:
            assert await live.get("lost") == b"found"
    assert made == tries


async def test_what_shows_that_keys_are_refused_names_destination_and_request(site: Site) -> None:
    """Promise: whoever reads why a command waits knows where to look."""
    live = site.live()

    async def refuse(verb: str, key: str) -> None:
        raise Denied("wrong keys", key=key)

    site.ask = refuse
    async with asyncio.timeout(DEADLINE):
        waiting = asyncio.create_task(live.head("k"))
        await site.told.wait()
        site.ask = _nothing
        await site.put(2)
        assert await waiting is None
    [shown, hidden] = site.shown
    assert shown is not None
    assert (shown["code"], shown["fields"]) == ("waiting_for_credentials", {"key": "k", "destination": "store"})
    assert hidden is None


async def test_patience_with_one_refused_request_ends_whatever_others_are_answered(tmp_path: Path) -> None:
    """Promise: an object that a store refuses while it gives all else (a key of KMS that was disabled, say) makes
    nobody wait for ever: each call has its own end, however often others are answered meanwhile."""
    site = Site(tmp_path)
    await site.put(1)
    live = site.live(seconds=0.3, poll_seconds=0.1)
    await live.put("A", [b"one"])

    async def ask(verb: str, key: str) -> None:
        if (verb, key) == ("get", "A"):
            raise Denied("403", key=key)

    site.ask = ask
    getting = asyncio.ensure_future(live.get("A"))
    async with asyncio.timeout(DEADLINE):
        while not (await asyncio.wait({getting}, timeout=0.02))[0]:
            await live.head("A")
    with pytest.raises(Denied):
        getting.result()
