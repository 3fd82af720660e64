"""The commit log of a real Cassandra 5.0 on its way to an S3 server and a local directory: nothing lost, nothing twice,
byte by byte, while a destination is away and the agent is killed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.cassandra.commit_log.sections import segment_state
from agent.plan.log_windows import gaps, runs
from tests.cluster.moments import ARCHIVE, TRIM_LOGS
from tests.real.archiving.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with Site(tmp_path_factory.mktemp("archiving")) as site:
        yield site


async def test_segments_arrive_byte_by_byte(site: Site, tmp_path: Path) -> None:
    """Promise: ordered on a running node it says that a restart is needed; then every closed segment is in both
    destinations with the bytes that Cassandra wrote, without a gap from the restart on."""
    result = await site.order(keep=True)
    assert result["restart_needed"]
    await site.until(lambda view: view["state"] == "restart_needed")
    await site.restart()
    await site.until(lambda view: view["state"] == "on")
    await site.write(6)
    await site.until(lambda _: len(list(site.archive.glob("CommitLog-*"))) >= 5)
    kept = _held(site)
    await site.until(lambda view: all(place["newest"] >= max(kept) for place in view["places"].values()))
    await site.until(lambda view: all(place["waiting_segments"] == 0 for place in view["places"].values()))
    for name in site.targets:
        before = (await site.view())["places"][name]["safe_until"]
        stored = await site.stored(name, tmp_path / name)
        arrived = {record.name: body for record, body in stored}
        assert kept.items() <= arrived.items() <= _held(site).items()  # Cassandra may close another one at any time
        assert all(record.whole for record, _ in stored)
        (run,) = runs([record for record, _ in stored])
        assert before <= run.until <= (await site.view())["places"][name]["safe_until"]
    assert (await site.view())["gaps"] == []


def _held(site: Site) -> dict[str, bytes]:
    """The segments in the archive's directory, by name."""
    return {path.name: path.read_bytes() for path in site.archive.glob("CommitLog-*")}


async def test_a_destination_that_is_away_under_load_loses_nothing(site: Site, tmp_path: Path) -> None:
    """Promise: while S3 is away and rows are written the files wait on the node, the other destination goes on; the
    agent is killed meanwhile; afterwards each segment is in both once, and off the node."""
    await site.order(keep=False)
    await site.until(lambda _: not list(site.archive.glob("CommitLog-*")))
    await site.s3.stop()
    await site.write(4)
    await site.until(lambda view: view["places"]["s3"]["waiting_segments"] >= 3 and view["places"]["s3"]["error"])
    await site.until(lambda view: view["places"]["here"]["waiting_segments"] == 0)
    waiting = _held(site)
    assert waiting
    await site.agent.kill()
    await site.write(2)
    await site.agent.start()
    await site.s3.start()
    await site.until(lambda view: not list(site.archive.glob("CommitLog-*")) and view["state"] == "on", 180.0)
    here = {record.name: body for record, body in await site.stored("here", tmp_path / "here")}
    there = await site.stored("s3", tmp_path / "s3")
    assert waiting.items() <= here.items() <= {record.name: body for record, body in there}.items()
    assert gaps([record for record, _ in there]) == []


async def test_a_tail_covers_what_was_written_seconds_ago(site: Site, tmp_path: Path) -> None:
    """Promise: with a live tail the newest write is safe within seconds, in a copy that Cassandra would replay; the
    whole segment takes its place."""
    await site.order(tail_seconds=1.0)
    await site.write(0)
    session = await site.cluster.session()
    session.execute("INSERT INTO k.t (id, body) VALUES (-1, 0xfeedfacefeedface)")
    written_at = (await site.agent.ask("GET", "/v1/node"))["now"]
    await site.until(lambda view: (view["places"]["here"]["safe_until"] or 0) > written_at)
    stored = await site.stored("here", tmp_path / "here")
    record, body = stored[-1]
    assert not record.whole
    assert bytes.fromhex("feedfacefeedface") in body
    state = segment_state(tmp_path / "here" / record.name)
    assert state.damage == ""
    await site.write(2)
    await site.until(lambda view: view["places"]["here"]["newest"] > record.name)
    again = {one.name: one for one, _ in await site.stored("here", tmp_path / "again")}
    assert again[record.name].whole


async def test_no_file_is_deleted_before_a_flush(site: Site) -> None:
    """Promise: with an archive directory that takes nothing Cassandra goes on writing; when it takes segments again all
    are archived by the agent and nothing is missing; Cassandra's directory is tidied."""
    await site.order()
    program_target = site.archive
    moved = program_target.with_name("archive-away")
    program_target.rename(moved)
    program_target.write_text("in the way")
    await site.write(4)
    view = await site.until(lambda view: view["unarchived_bytes"] > 2**20)
    assert view["state"] == "on"
    program_target.unlink()
    moved.rename(program_target)
    await site.until(lambda view: view["unarchived_bytes"] == 0 and not list(site.archive.glob("CommitLog-*")))
    assert (await site.view())["gaps"] == []


async def test_order_and_trim_outlive_their_agents_deaths(site: Site, tmp_path: Path) -> None:
    """Promise: killed with -9 at each stage, an order and a trim end in success by themselves; what was closed before
    the time is gone from the destination, and all later segments are one run."""
    await site.order()
    await site.write(3)
    await site.until(lambda view: all(place["waiting_segments"] == 0 for place in view["places"].values()))
    targets = [{"target": target} for target in site.targets.values()]
    await site.live_through("archive", {"enabled": True, "targets": targets, "tail_seconds": 0.0}, ARCHIVE)
    assert (await site.until(lambda view: view["state"] != "unknown"))["state"] == "on"
    before = [record for record, _ in await site.stored("here", tmp_path / "before")]
    cut = before[len(before) // 2]
    trim = {"before": cut.closed_at, "target": site.targets["here"]}
    would = await site.agent.do("trim_logs", {**trim, "dry_run": True})
    assert would["objects"] > 0
    await site.live_through("trim_logs", trim, TRIM_LOGS)
    after = [record for record, _ in await site.stored("here", tmp_path / "after")]
    assert after
    assert [one.name for one in after] == [one.name for one in before][-len(after) :]
    assert all(one.closed_at >= cut.closed_at for one in after[:1])
    assert len(runs(after)) == 1
    assert (await site.agent.do("trim_logs", trim))["objects"] == 0
    assert (await site.agent.do("trim_logs", {**trim, "dry_run": True}))["objects"] == 0
