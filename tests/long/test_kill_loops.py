"""Random kill loops on a real node: agent, coordinator or both die at random moments of backups, restores, deletes and
sweeps, again and again. After each request the oracle is green, the rows are right, nothing is left behind.

HELENUS_KILLS: how many deaths at least (30). HELENUS_SEED: repeats a run, as far as time repeats itself.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.cluster.crash_site import CrashSite
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import Service

KILLS = int(os.environ.get("HELENUS_KILLS", "30"))
SEED = int(os.environ.get("HELENUS_SEED", str(time.time_ns() % 10**9)))
KINDS = ("backup", "restore", "delete")
VICTIMS = ("agent", "agent", "coordinator", "both")
MOST_DEATHS = 3
"""Of one request: an import that is interrupted more often is left to a person."""
LONGEST = {"backup": 3.0, "restore": 8.0, "delete": 2.0}
"""Seconds after which a request of the kind is probably over."""

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120 + 60 * KILLS)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CrashSite]:
    directory = tmp_path_factory.mktemp("loops")
    async with (
        ScratchCluster(directory / "cluster", nodes=1, name="loops", data_directories=2) as cluster,
        CrashSite(directory / "site", cluster) as site,
    ):
        yield site


async def test_whatever_dies_at_any_moment_every_request_ends_well(site: CrashSite) -> None:
    """The same request ends in success; oracle, rows, snapshots and staging after each."""
    print(f"HELENUS_SEED={SEED} HELENUS_KILLS={KILLS}")
    rng = random.Random(SEED)
    tags = [await site.backup()]
    kills = 0
    while kills < KILLS:
        kind = rng.choice(KINDS if len(tags) > 1 else ("backup", "restore"))
        if kind == "restore":
            await site.disaster()
            request = await site.start_restore(rng.choice(tags))
        elif kind == "delete":
            request = await site.start_delete(tags.pop(rng.randrange(len(tags))))
        else:
            request = await site.start_backup()
        for _ in range(rng.randint(1, MOST_DEATHS)):
            victim, pause = rng.choice(VICTIMS), rng.uniform(0, LONGEST[kind])
            await asyncio.sleep(pause)
            print(f"{kills}: {kind} {request}: {victim} after {pause:.3f} s, seed {SEED}")
            await _kill(site, victim)
            kills += 1
        status = await site.succeeded(request)
        if kind == "backup":
            tags.append(str(status["tag"]))
            hosts = [str(part["host_id"]) for part in status["details"]["subrequests"].values()]
            site.oracle.expect(tags[-1], hosts)
        await site.settled()
        await site.all_is_well()


async def _kill(site: CrashSite, victim: str) -> None:
    services: dict[str, list[Service]] = {"agent": [site.agent], "coordinator": [site.coordinator]}
    services["both"] = [*services["agent"], *services["coordinator"]]
    for service in services[victim]:
        await service.child.kill(group=False)
    for service in services[victim]:
        await service.start()
