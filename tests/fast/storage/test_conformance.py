"""Promise: memory and a local directory keep the whole storage protocol, and the suite notices stores that don't."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from agent.storage.conformance import NAMES, conform
from agent.storage.conformance_checks import PUTS, REPEATS, ROUNDS
from agent.storage.local.storage import LocalStorage
from agent.storage.opened import check_store
from agent.storage.protocol import (
    OPEN,
    BucketMissing,
    Buffer,
    Denied,
    DirectoryDenied,
    DirectoryReadOnly,
    Entry,
    Gate,
    Put,
    Storage,
    StorageError,
    Transient,
)
from tests.fast.storage.memory import MemoryStorage


async def test_memory_keeps_the_protocol() -> None:
    """Promise: the tests' store keeps the protocol, every check was run, nothing is left behind."""
    store = MemoryStorage()
    results = await conform(store, "scratch/", big=True)
    assert [(result.name, result.detail) for result in results if result.outcome != "ok"] == []
    assert {result.name for result in results} == NAMES
    assert [entry async for entry in store.list("")] == []


async def test_a_local_directory_keeps_the_protocol(tmp_path: Path) -> None:
    """Promise: a directory keeps the whole protocol and nothing is left behind."""
    store = LocalStorage(tmp_path)
    results = await conform(store, "scratch/", big=True)
    assert [(result.name, result.detail) for result in results if result.outcome != "ok"] == []
    assert [entry async for entry in store.list("")] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [".helenus-tmp"]
    assert list((tmp_path / ".helenus-tmp").iterdir()) == []
    await store.close()


class Overwriting(MemoryStorage):
    """Ignores «only if absent», as some stores do."""

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        await super().put(key, body, replace=True, gate=gate)
        return Put(created=True, size=sum(len(part) for part in body))


class Short(MemoryStorage):
    """Answers a range with a byte less."""

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        return (await super().get(key, start, length, gate=gate))[: -1 if start else None]


class FirstPage(MemoryStorage):
    """Lists 1,000 keys and forgets the rest."""

    async def list(self, prefix: str) -> AsyncIterator[Entry]:
        count = 0
        async for entry in super().list(prefix):
            count += 1
            if count <= 1000:
                yield entry


class Folding(MemoryStorage):
    """Knows no difference between upper and lower case."""

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        return await super().put(key.lower(), body, replace=replace, gate=gate)


class Undeleting(MemoryStorage):
    """Says that it deleted."""

    async def delete(self, keys: Sequence[str]) -> None:
        return None


@pytest.mark.parametrize(
    ("store", "broken"),
    [
        (Overwriting(), "existing_key"),
        (Short(), "range_reads"),
        (FirstPage(), "past_1000_keys"),
        (Folding(), "exact_keys"),
        (Undeleting(), "delete_many"),
        (MemoryStorage(clock=lambda: 0.0), "clock"),
    ],
)
async def test_a_store_that_breaks_a_promise_fails_that_check(store: Storage, broken: str) -> None:
    """Promise: each breach of the protocol is noticed by the check that is named for it."""
    results = {result.name: result for result in await conform(store, "scratch/", big=True)}
    assert results[broken].outcome == "failed"
    assert results[broken].detail
    assert not [sign for sign in ("['", "b'", "Entry(", "Put(") if sign in results[broken].detail], "for people"


async def test_double_creation_is_a_missing_capability_and_no_failure() -> None:
    """The probe of design §3.3: one double success = no."""
    [probe] = await conform(Overwriting(), "scratch/", big=False, names={"conditional_create"})
    assert probe.outcome == "skipped"
    assert "concurrent puts" in probe.detail


class Silent(MemoryStorage):
    """Answers the first `lost` puts with nothing, then as it should."""

    def __init__(self, lost: int) -> None:
        super().__init__()
        self.lost = lost
        self.puts = 0

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        self.puts += 1
        if self.puts <= self.lost:
            raise Transient("no answer")
        return await super().put(key, body, replace=replace, gate=gate)


@pytest.mark.parametrize(("lost", "outcome"), [(3 * PUTS, "ok"), (10_000, "skipped")])
async def test_a_round_that_nobody_won_proves_nothing(lost: int, outcome: str) -> None:
    """It is run again, a few times: a store that never showed one winner isn't taken for one that can."""
    store = Silent(lost)
    [probe] = await conform(store, "scratch/", big=False, names={"conditional_create"})
    assert probe.outcome == outcome
    assert store.puts <= (ROUNDS + REPEATS) * PUTS


async def test_the_store_is_checked_as_it_will_be_used() -> None:
    """After a failed probe the remaining checks run on a store that asks first, and pass."""
    opened: list[bool] = []

    async def open_with(conditional_create: bool) -> Storage:
        opened.append(conditional_create)
        return Overwriting() if conditional_create else MemoryStorage()

    results, capable = await check_store(open_with, "scratch/")
    assert not capable
    assert opened == [True, False]
    assert {result.name for result in results} == NAMES
    assert {result.name for result in results if result.outcome != "ok"} == {"conditional_create", "large_object"}


@pytest.mark.parametrize("kind", [Denied, BucketMissing, DirectoryDenied, DirectoryReadOnly])
async def test_a_store_that_refuses_everything_is_asked_once(kind: type[StorageError]) -> None:
    """No twelve time-outs for wrong keys: the first answer names the reason, the rest is skipped."""

    async def hook(verb: str, key: str) -> None:
        raise kind("no")

    results = await conform(MemoryStorage(hook=hook), "scratch/", big=True)
    assert results[0].outcome == "failed"
    assert kind.code in results[0].detail
    assert {result.outcome for result in results[1:]} == {"skipped"}
