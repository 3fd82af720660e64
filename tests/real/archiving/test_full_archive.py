"""An archive directory that is full, on a file system of its own, until leftovers go beyond their bound."""

import contextlib
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cluster.small_volume import SmallVolume
from tests.real.archiving.site import Site

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
LEFTOVERS = 64 * 1024 * 1024
SEGMENTS_MIB = 16
"""What Cassandra keeps of its own, whatever the agent does: what is not flushed yet, and what it writes next."""


async def test_cassandra_goes_on_and_the_gap_is_told(tmp_path: Path) -> None:
    """Promise: with an archive directory that is full Cassandra goes on, its commit-log directory stays under the
    bound, the loss is recorded and told by view, metric and log; afterwards a check shows two windows, one of the
    backup before the gap that ends at it, and one of the backup behind it."""
    archiving = {"cassandra": {"archiving": {"leftover_bytes": LEFTOVERS}}}
    async with Site(tmp_path, changes=archiving) as site, SmallVolume(site.archive, megabytes=24) as volume:
        await site.write(0)
        await site.order()
        await site.restart()
        await site.until(lambda view: view["state"] == "on")
        await back_up(site, "before")
        await site.write(4)
        # What is shipped and not removed yet would make room again.
        await site.until(lambda view: not view["places"]["here"]["waiting_segments"] and not archived(site))

        volume.fill()
        largest = 0
        for _ in range(12):
            await site.write(10)
            await site.node.nodetool("flush")
            largest = max(largest, in_commit_log(site))
        view = await site.until(lambda view: view["gaps"])
        assert view["state"] == "on"
        assert largest < LEFTOVERS + 2 * SEGMENTS_MIB * 2**20
        assert "commit_log_gap" in site.agent.log.read_text()
        assert await metric(site, "helenus_agent_commitlog_gaps") >= 1

        volume.empty()
        await site.until(lambda view: view["unarchived_bytes"] == 0, 180.0)
        await back_up(site, "behind")
        await site.write(4)
        await site.until(lambda view: view["places"]["here"]["waiting_segments"] == 0)
        now = (await site.agent.ask("GET", "/v1/node"))["now"]
        found = await check(site, "behind", now, ["before"])
        ((began, ended),) = found["other_windows"]["before"]
        ((since, until),) = found["windows"]
        (gap,) = (await check(site, "before", now, []))["gaps"]
        assert began <= ended <= gap["until"]
        assert gap["since"] <= since < until
        assert ended <= since
        assert found["gaps"] == []


async def back_up(site: Site, tag: str) -> None:
    await site.agent.do("backup", {"snapshot": {"tag": tag, "keyspaces": {"k": []}}, "targets": [site.targets["here"]]})


def archived(site: Site) -> list[Path]:
    """The segments in the archive directory."""
    return [*site.archive.glob("CommitLog-*")]


def in_commit_log(site: Site) -> int:
    """Bytes of the segments in Cassandra's own directory."""
    size = 0
    for path in (site.node.directory / "commitlog").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was deleted just now
            size += path.stat().st_size
    return size


async def metric(site: Site, name: str) -> float:
    """The highest value of a metric."""
    headers = {"Authorization": f"Bearer {site.agent.token}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.get(site.agent.url + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return max(float(line.split()[-1]) for line in lines if line.startswith(name))


async def check(site: Site, tag: str, now: float, others: list[str]) -> Any:
    here = site.targets["here"]
    point = int(now * 1_000_000) - 1
    arguments = {"tag": tag, "pit_micros": point, "tables": {}, "source": here, "logs": here, "others": others}
    return await site.agent.do("pit_check", arguments)
