"""Scrubs of a destination read the commit log's archive too."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from agent.jobs.point_in_time.seen_logs import read_logs
from agent.jobs.scrub.notes import ScrubNotes
from agent.jobs.scrub.scrub import ScrubJob
from agent.model.job import Outcome
from agent.pipeline.log_source import StoredLogs
from agent.plan.log_windows import gaps
from agent.wire.commands import ScrubArguments, State, Target
from agent.wire.results import ScrubResult
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Command
from tests.fast.jobs.archiving_site import ArchivingSite
from tests.fast.storage.memory import MemoryStorage


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[ArchivingSite]:
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage()})
    yield site
    await site.stop()


async def _scrub(site: ArchivingSite, *, whole: bool = True, adopt: str | None = None) -> tuple[Outcome, ScrubResult]:
    async def host_id() -> str:
        return "h1" if adopt is None else "h2"

    async def ring() -> dict[str, str]:
        return {"127.0.0.2": "h2"}

    job = ScrubJob(
        site.repositories,
        ScrubNotes(site.directory / "scrubs"),
        host_id,
        ring,
        lambda _: False,
        lambda: site.log.now,
        period=30 * 86_400.0,
        sample=8,
    )
    outcome = await job.run(Command("s", ScrubArguments(Target("d1", REPOSITORY, CLUSTER), whole, adopt)))
    assert isinstance(outcome.result, ScrubResult)
    return outcome, outcome.result


def _object_of(site: ArchivingSite, name: str) -> str:
    (key,) = [key for key in site.stores["d1"]._objects if "/commitlogs/data/" in key and f"{int(name[12:-4])}/" in key]
    return key


async def test_damage_to_segments_is_named_and_is_a_gap(site: ArchivingSite) -> None:
    """Promise: a flipped byte, a missing object and a record that can't be read are named by segment; a check of a
    point takes each for a gap and the rest as ever; what reads right again is let go."""
    await site.begin()
    names = [site.segment(b"row %d" % number) for number in range(8)]
    await site.shipped(*names)
    outcome, result = await _scrub(site)
    assert (outcome.state, result.damaged_segments) == (State.SUCCESS, [])
    assert result.segments >= len(names)
    assert result.objects >= len(names)
    objects = site.stores["d1"]._objects
    flipped, missing = _object_of(site, names[1]), _object_of(site, names[3])
    kept = objects[flipped]
    objects[flipped] = kept[0][:40] + bytes([kept[0][40] ^ 1]) + kept[0][41:], kept[1]
    del objects[missing]
    (record,) = [key for key in objects if "/segments/" in key and names[5][12:-4] in key]
    objects[record] = b"damaged", objects[record][1]
    outcome, result = await _scrub(site)
    assert outcome.state is State.PARTIAL
    assert {one.segment for one in result.damaged_segments} == {names[1], names[3], names[5]}
    assert outcome.error is not None
    assert set(outcome.error["fields"]["segments"]) == {names[1], names[3], names[5]}

    async def told() -> list[tuple[str, str]]:
        logs = StoredLogs(site.logs("d1"), None)  # type: ignore[arg-type]
        seen = await read_logs(names[0], logs, site.archiver.kept)
        return [(gap.after, gap.before) for gap in gaps(seen.archived, seen.losses)]

    assert await told() == [(names[at - 1], names[at + 1]) for at in (1, 3, 5)]
    objects[flipped] = kept
    _, result = await _scrub(site, whole=False)
    assert {one.segment for one in result.damaged_segments} == {names[3], names[5]}
    assert await told() == [(names[at - 1], names[at + 1]) for at in (3, 5)]


async def test_the_log_of_a_node_that_left_is_read_by_another(site: ArchivingSite) -> None:
    """Promise: with `adopt` the other node's segments are read, and the damage noted with them."""
    await site.begin()
    name = site.segment()
    await site.shipped(name)
    key = _object_of(site, name)
    body, at = site.stores["d1"]._objects[key]
    site.stores["d1"]._objects[key] = body[:-1], at
    _, result = await _scrub(site, adopt="h1")
    assert [one.segment for one in result.damaged_segments] == [name]
