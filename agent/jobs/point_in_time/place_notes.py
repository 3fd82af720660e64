"""What a restore to a point in time notes of its work on a node whose Cassandra is stopped: `<state>/restores/<job>/`.

facts.json       the node as it was while it was up: directories, table ids, indexes (PIT_QUIESCE)
drained          Cassandra was drained and has ended (PIT_STOP): what its commit-log directory held then
aside.json       every file that is set aside, before the first one is; never changed until all is back
settings.json    what the properties file was before the restore's took its place
placed.json      PIT_PLACE's result, when all of it is done
started          Cassandra is about to be, or was, started with what was placed (PIT_START)
replayed.json    what was seen of the replay when it had ended, whole or not (PIT_START): it is not done again
verified.json    PIT_VERIFY's result, when the replay was seen to be whole
undoing          PIT_UNDO has begun: from then on only it goes on, until nothing is left of what was placed
opened           PIT_OPEN is done: clients have been let in, nothing is undone any more
"""

import asyncio
import os
from pathlib import Path

import msgspec

from agent.cassandra.live_directories import IndexFact, NodeFacts
from agent.cassandra.set_aside import Aside
from agent.jobs.point_in_time.place_errors import NotQuiesced
from agent.jobs.restore.errors import JobMissing
from agent.plan.segment_names import parse_segment
from agent.wire.names import check_name
from agent.wire.point_in_time import PitPlaceResult, PitVerifyResult
from kit.atomic_files import make_directory, remove_durably, write_atomically

_FACTS, _DRAINED, _ASIDE, _SETTINGS, _PLACED, _STARTED, _REPLAYED, _VERIFIED, _UNDOING, _OPENED = (
    "facts.json",
    "drained",
    "aside.json",
    "settings.json",
    "placed.json",
    "started",
    "replayed.json",
    "verified.json",
    "undoing",
    "opened",
)


class KeptSettings(msgspec.Struct, frozen=True):
    """`properties`: the file's text before, None where there was none; `mode`: its mode; `written`: what took its
    place. `log_inode`, `log_size`: Cassandra's log then, 0 when there was none."""

    properties: str | None
    mode: int
    written: str
    log_inode: int = 0
    log_size: int = 0


class Placed(msgspec.Struct, frozen=True):
    """What PIT_PLACE did. `rebuild`: indexes that PIT_VERIFY has to have rebuilt."""

    result: PitPlaceResult
    rebuild: tuple[IndexFact, ...]


class Replayed(msgspec.Struct, frozen=True):
    """What was seen of the replay. `segments`: how many of the job's were replayed; `mutations`: None where Cassandra's
    log doesn't tell. `missing`: segments that were not given back; `passed_over`: those that Cassandra was given and
    did not replay. `errors`: lines of Cassandra's log, or sentences."""

    segments: int
    mutations: int | None
    missing: tuple[str, ...]
    passed_over: tuple[str, ...]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether all of it came through."""
        return not (self.missing or self.passed_over or self.errors)


class PlaceNotes:
    """One job's notes. Every write is durable when it returns."""

    def __init__(self, state: Path, job: str | None) -> None:
        if job is None:
            raise JobMissing("a phase of a restore needs a job")
        self.job = check_name("job", job)
        self._directory = state / "restores" / self.job

    async def put_facts(self, facts: NodeFacts) -> None:
        """Note the node's directories, tables and indexes."""
        await self._write(_FACTS, msgspec.json.encode(facts))

    async def facts(self) -> NodeFacts | None:
        """What was noted of the node."""
        text = await self._read(_FACTS)
        return None if text is None else msgspec.json.decode(text, type=NodeFacts)

    async def must_facts(self) -> NodeFacts:
        """As `facts`. Raises `NotQuiesced`."""
        facts = await self.facts()
        if facts is None:
            raise NotQuiesced(f"nothing is noted of the node for the job {self.job}", job=self.job)
        return facts

    async def put_drained(self) -> None:
        """Note that Cassandra was drained, and that its process is gone, with what its commit-log directory holds.
        Raises `NotQuiesced`."""
        await self._write(_DRAINED, msgspec.json.encode(await self._log_names()))

    async def forget_drained(self) -> None:
        """Cassandra is about to be started: what it writes is in its commit log alone."""
        await self._remove(_DRAINED)

    async def is_drained(self) -> bool:
        """Whether everything that the node acknowledged is in SSTables. Not when there is a segment now that was not
        there when it was drained: each start of Cassandra makes new ones, whoever starts it."""
        text = await self._read(_DRAINED)
        if text is None:
            return False
        return set(await self._log_names()) <= set(msgspec.json.decode(text, type=list[str]))

    async def put_plan(self, plan: list[Aside]) -> None:
        """Note what is going to be set aside."""
        await self._write(_ASIDE, msgspec.json.encode(plan))

    async def plan(self) -> list[Aside] | None:
        """What is, or is going to be, set aside."""
        text = await self._read(_ASIDE)
        return None if text is None else msgspec.json.decode(text, type=list[Aside])

    async def put_settings(self, kept: KeptSettings) -> None:
        """Note how the properties file was, before it is replaced."""
        await self._write(_SETTINGS, msgspec.json.encode(kept))

    async def settings(self) -> KeptSettings | None:
        """How the properties file was before."""
        text = await self._read(_SETTINGS)
        return None if text is None else msgspec.json.decode(text, type=KeptSettings)

    async def put_placed(self, placed: Placed) -> None:
        """Note that all is placed, and Cassandra may be started with it."""
        await self._write(_PLACED, msgspec.json.encode(placed))

    async def placed(self) -> Placed | None:
        """What was placed, None before all of it was, and after it was undone."""
        text = await self._read(_PLACED)
        return None if text is None or await self.undoing() else msgspec.json.decode(text, type=Placed)

    async def put_started(self) -> None:
        """Note that Cassandra is about to be started with what was placed."""
        await self.forget_drained()
        await self._write(_STARTED, b"")

    async def started(self) -> bool:
        """Whether Cassandra may have run with what was placed."""
        return await self._read(_STARTED) is not None

    async def put_replayed(self, seen: Replayed) -> None:
        """Note that the replay is over, with what was seen of it."""
        await self._write(_REPLAYED, msgspec.json.encode(seen))

    async def replayed(self) -> Replayed | None:
        """What was seen of the replay, None before it was over."""
        text = await self._read(_REPLAYED)
        return None if text is None else msgspec.json.decode(text, type=Replayed)

    async def put_verified(self, result: PitVerifyResult) -> None:
        """Note that the replay was judged whole, or let pass by `force`."""
        await self._write(_VERIFIED, msgspec.json.encode(result))

    async def verified(self) -> PitVerifyResult | None:
        """What PIT_VERIFY saw, None before all was well."""
        text = await self._read(_VERIFIED)
        return None if text is None else msgspec.json.decode(text, type=PitVerifyResult)

    async def put_undoing(self) -> None:
        """Note that all is put back from now on."""
        await self._write(_UNDOING, b"")

    async def undoing(self) -> bool:
        """Whether it is being put back."""
        return await self._read(_UNDOING) is not None

    async def put_undone(self) -> None:
        """Note that nothing is placed or set aside any more: the job may place again. The list of what was set aside
        goes first, with which nothing could be told apart any more, and last that it was being undone: a cut here is
        gone on with."""
        for name in (_ASIDE, _SETTINGS, _PLACED, _STARTED, _REPLAYED, _VERIFIED, _UNDOING):
            await self._remove(name)

    async def put_opened(self) -> None:
        """Note that clients are let in."""
        await self._write(_OPENED, b"")

    async def opened(self) -> bool:
        """Whether clients were let in to what was restored."""
        return await self._read(_OPENED) is not None

    async def _log_names(self) -> list[str]:
        live = (await self.must_facts()).commitlog.data_directory
        return sorted(filter(parse_segment, await asyncio.to_thread(os.listdir, live)))

    async def _write(self, name: str, content: bytes) -> None:
        def write() -> None:
            make_directory(self._directory)
            write_atomically(self._directory / name, content)

        await asyncio.to_thread(write)

    async def _remove(self, name: str) -> None:
        if await self._read(name) is not None:
            await asyncio.to_thread(remove_durably, self._directory / name)

    async def _read(self, name: str) -> bytes | None:
        def read() -> bytes | None:
            try:
                return (self._directory / name).read_bytes()
            except FileNotFoundError:
                return None

        return await asyncio.to_thread(read)
