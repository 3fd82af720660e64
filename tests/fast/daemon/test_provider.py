"""Openings of destinations: what hangs for one holds up no other, nor the agent."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from agent.daemon.measures import StorageMeasures
from agent.daemon.provider import Provider
from agent.daemon.settings import DestinationSettings
from agent.repository.destination_files import DestinationFiles
from agent.repository.destinations import Destinations
from agent.repository.limits import Limits
from agent.storage.own_threads import OwnThreads
from agent.storage.protocol import BadSettings, Transient
from agent.wire.destinations import LocalSettings, PutDestination

MANY = 100


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """While the event is clear every look at a directory named `nfs` hangs."""
    mounted = threading.Event()
    real = Path.resolve

    def resolve(path: Path, strict: bool = False) -> Path:
        if path.name == "nfs":
            mounted.wait(10)
        return real(path, strict)

    monkeypatch.setattr(Path, "resolve", resolve)
    yield mounted
    mounted.set()


async def test_a_file_system_that_hangs_holds_up_only_its_own_destination(
    tmp_path: Path, hanging: threading.Event
) -> None:
    """A hung network mount must not freeze the agent, take its threads, or keep other destinations from opening."""
    limits = Limits()
    threads = OwnThreads(patience=1.5)
    settings = DestinationSettings(local_roots=[str(tmp_path)])
    provider = Provider(settings, limits, StorageMeasures(CollectorRegistry()), tmp_path / "state", threads)
    destinations = Destinations(DestinationFiles(tmp_path / "state"), provider, limits)
    for name in ("nfs", "disk"):
        (tmp_path / name).mkdir()

    async def put(name: str, revision: int) -> None:
        await destinations.put(name, PutDestination(revision, LocalSettings(name)))

    async def use(name: str) -> None:
        async with destinations.borrowed(name) as borrowed:
            await borrowed.storage.put(f"of-{name}", [b"x"])

    hanging.set()
    await put("nfs", 1)
    hanging.clear()
    before = threading.active_count()
    tries = [asyncio.create_task(use("nfs")) for _ in range(MANY)] + [asyncio.create_task(put("nfs", 2))]
    await asyncio.sleep(0)
    await put("disk", 1)
    await use("disk")
    assert threading.active_count() - before < MANY / 2
    assert not any(task.done() and task.exception() is None for task in tries)
    hanging.set()
    async with asyncio.timeout(30):
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {Transient, type(None)}
    await put("nfs", 3)
    await use("nfs")
    await destinations.close()


@pytest.mark.parametrize(
    ("path", "refused"),
    [("state", True), ("state/destinations", True), (".", True), ("link", True), ("statement", False), ("b", False)],
)
@pytest.mark.parametrize("shared", [False, True])
async def test_a_directory_with_the_agents_own_state_is_no_destination(
    tmp_path: Path, path: str, refused: bool, shared: bool
) -> None:
    """Promise: backups never lie in what may be lost with the agent's state, nor the state among backups that somebody
    removes; a link leads to neither."""
    (tmp_path / "state").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "state")
    limits = Limits()
    settings = DestinationSettings(local_roots=[str(tmp_path)])
    provider = Provider(settings, limits, StorageMeasures(CollectorRegistry()), tmp_path / "state")
    destinations = Destinations(DestinationFiles(tmp_path / "state" / "destinations"), provider, limits)
    putting = destinations.put("d", PutDestination(1, LocalSettings(path, shared=shared)))
    if refused:
        with pytest.raises(BadSettings, match="the agent's own state"):
            await putting
    else:
        await putting
    await destinations.close()


async def _answer(threads: OwnThreads, name: str) -> str:
    """What the name answers at last: a busy machine may be slower than the little patience of a test."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await threads.run(name, lambda: "there")
            except Transient:
                continue


async def test_what_hangs_is_told_in_time_and_tried_again_when_it_answers() -> None:
    """Promise: a hung mount costs its own destination alone, and no thread for each try."""
    threads = OwnThreads(patience=0.05)
    hung = threading.Event()
    for _ in range(3):
        with pytest.raises(Transient):
            await threads.run("nfs", lambda: hung.wait(10))
    assert [thread.name for thread in threading.enumerate()].count("open-nfs") == 1
    assert await _answer(threads, "disk") == "there"
    hung.set()
    assert await _answer(threads, "nfs") == "there"
    with pytest.raises(KeyError):
        await threads.run("disk", lambda: dict[str, str]()["nothing"])
