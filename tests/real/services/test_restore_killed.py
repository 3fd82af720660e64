"""kill -9 in the middle of a restore: of the agent at each phase, of the coordinator between them. The same request
ends by itself, every row is back, nothing is left in staging, and nothing was truncated or imported twice."""

import asyncio
import time
from typing import Any

import pytest

from tests.real.services.conftest import CLUSTER, ROWS, Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

PHASES = [
    "preflight:reading the backup",
    "fetch:fetching",
    "truncate:running",
    "truncate:success",
    "truncate:success:before",
    "schema:running",
    "schema:success:before",
    "import:accepted",
    "import:importing",
    "import:success:before",
    "check:checking",
    "clean:cleaning",
]


@pytest.fixture(scope="module")
def backups() -> dict[str, str]:
    """The one backup that this module restores: destination and tag, once they are known."""
    return {}


async def whole(site: Site, backups: dict[str, str]) -> str:
    """The path of the restore of a backup of the rows as they are."""
    if not backups:
        settings = {"provider": "local", "path": "restores"}
        answer = await site.coordinator.ask("POST", f"/{CLUSTER}/backups/destinations", settings)
        await ended(site, answer["request_id"])
        (destination,) = await site.coordinator.ask("GET", f"/{CLUSTER}/backups/destinations")
        order = {"keyspaces": {site.keyspace: []}, "destinations": {destination: {}}}
        status = await ended(site, await site.coordinator.ask("POST", f"/{CLUSTER}/backups/run", order))
        assert status["state"] == "success", status
        backups.update(destination=destination, tag=status["tag"])
    return f"/{CLUSTER}/backups/restore/{backups['tag']}/{site.keyspace}"


async def ended(site: Site, request: str, deadline: float = 240.0) -> dict[str, Any]:
    """The status of a request that has ended; after the deadline an error that says where it stands."""
    end = time.monotonic() + deadline
    while True:
        status: dict[str, Any] = await site.coordinator.ask("GET", f"/request/{request}/status")
        if status["state"] != "running":
            return status
        if time.monotonic() > end:
            commands = await site.agent.ask("GET", f"/v1/commands?job={request}")
            raise AssertionError(f"{request} has not ended: {status}\nthe agent's commands: {commands}")
        await asyncio.sleep(0.1)


def spoil(site: Site, *, drop: bool = False) -> None:
    """Rows are lost, others are there that the backup doesn't know; with `drop` a table is gone."""
    for number in range(0, ROWS, 3):
        site.session.execute(f"DELETE FROM {site.keyspace}.plain WHERE id = {number}")
    site.insert(ROWS, 20)
    site.session.execute(f"{'DROP' if drop else 'TRUNCATE'} TABLE {site.keyspace}.other")


async def all_is_back(site: Site) -> None:
    for table in ("plain", "other"):
        rows = site.rows(table)
        assert sorted(rows) == list(range(ROWS)), table
        assert all(text.startswith(f"{table} {number} ") for number, text in rows.items())
    assert site.staging() == []


@pytest.mark.parametrize("moment", PHASES)
async def test_a_restore_ends_by_itself_after_the_agent_died_at(
    site: Site, backups: dict[str, str], moment: str
) -> None:
    """I6, I7: the coordinator waits for the agent, looks what became of the command, and goes on."""
    path = await whole(site, backups)
    spoil(site, drop=moment.startswith("schema"))
    await site.agent.stop()
    await site.agent.start_mortal(moment)
    order = {"destination": backups["destination"], "truncate": True}
    request = await site.coordinator.ask("POST", path, order)
    assert await site.agent.died() == -9
    await site.agent.start()
    status = await ended(site, request)
    assert status["state"] == "success", status
    await all_is_back(site)


async def test_a_restore_ends_by_itself_after_the_coordinator_died(site: Site, backups: dict[str, str]) -> None:
    """Killed at random moments of the restore and started again, it ends the same request."""
    path = await whole(site, backups)
    spoil(site)
    request = await site.coordinator.ask("POST", path, {"destination": backups["destination"], "truncate": True})
    for pause in (0.0, 0.3, 0.7, 1.5):
        await asyncio.sleep(pause)
        await site.coordinator.kill()
        await site.coordinator.start()
    status = await ended(site, request)
    assert status["state"] == "success", status
    await all_is_back(site)
    commands = await site.agent.ask("GET", f"/v1/commands?job={request}")
    assert [command["kind"] for command in commands].count("truncate") == 1
