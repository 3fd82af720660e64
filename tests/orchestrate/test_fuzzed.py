"""Both APIs under orders that nobody thought of: whatever is sent, the answer is one that the description names. The
services are real processes; what stores, restores and restarts happens in memory or below the test's directory."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from tests.cluster import toml
from tests.cluster.coordinator_exchanges import description
from tests.cluster.fuzzing import keeps_its_promises
from tests.cluster.places import REPOSITORY
from tests.cluster.ports import free_port
from tests.cluster.processes import Child
from tests.cluster.toy_process import PLACE, TAGS
from tests.cluster.toy_service import TEXT_CLUSTER

_ANSWERED = re.compile(r'^helenus_http_answers_total\{method="(\w+)",path="([^"]+)",status="(\d+)"\}', re.MULTILINE)
UNMET = frozenset(
    {
        *("restoreKeyspace", "restoreTable", "syncBackup", "cancelRequest", "scrubDestination", "deleteBackup"),
        *("login", "getUser", "changeUser", "removeUser", "getSchedule", "changeSchedule", "removeSchedule"),
    }
)
"""Operations whose random orders are all refused, for what they name isn't there; other tests carry them out."""

LOCKS = ("addUser",)
"""From its first success on everybody has to log in: a service of its own."""


@asynccontextmanager
async def toy(directory: Path) -> AsyncIterator[dict[str, str]]:
    """A toy service in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.cluster.toy_process", str(directory)),
        cwd=REPOSITORY,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        async with asyncio.timeout(60):
            line = await process.stdout.readline()
        yield msgspec.json.decode(line, type=dict[str, str])
        assert process.returncode is None
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(20):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def answers(url: str) -> dict[tuple[str, str], set[int]]:
    """Method and path → the statuses that a coordinator has answered."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        found: dict[tuple[str, str], set[int]] = {}
        for method, path, status in _ANSWERED.findall(await response.text()):
            found.setdefault((method.lower(), path.rstrip("/") or "/"), set()).add(int(status))
        return found


async def without_schedules(url: str) -> None:
    """Remove those that chance has made: no destination that one names can be removed."""
    at = f"{url}/{TEXT_CLUSTER}/job-schedules"
    async with aiohttp.ClientSession() as session:
        async with session.get(at) as listed:
            schedules = await listed.json()
        for schedule in schedules:
            async with session.delete(f"{at}/{schedule['id']}") as removed:
                assert removed.status == 200, await removed.text()


@pytest.mark.timeout(600)
async def test_whatever_a_coordinator_is_sent_its_answer_is_described(tmp_path: Path) -> None:
    """Promise: no server error, no undescribed status, type or shape; and nearly every operation was also carried out,
    so that this says something."""
    removals = [item["delete"]["operationId"] for item in description()["paths"].values() if "delete" in item]
    async with toy(tmp_path / "toy") as told:
        known = {"path.cluster": TEXT_CLUSTER, "path.tag": TAGS[2], "path.request": told["request"]}
        known |= {"path.node": told["node"], "query.destination": PLACE}
        # What removes comes last: in between, chance would decide what is still there to be asked for.
        await keeps_its_promises(told["coordinator"], tmp_path, known=known, most=6, excluded=[*LOCKS, *removals])
        await without_schedules(told["coordinator"])
        await keeps_its_promises(told["coordinator"], tmp_path, known=known, most=6, only=removals)
        found = await answers(told["coordinator"])
    async with toy(tmp_path / "locked") as told:
        await keeps_its_promises(told["coordinator"], tmp_path, known=known, most=6, only=LOCKS)
    unmet = {
        operation["operationId"]
        for path, item in description()["paths"].items()
        for method, operation in item.items()
        if method != "parameters" and not found.get((method, path), set()) & {200, 201, 303}
    }
    assert unmet <= UNMET | {*LOCKS}


@pytest.mark.timeout(600)
async def test_whatever_an_agent_is_sent_its_answer_is_described(tmp_path: Path) -> None:
    """Promise: the same of a real agent, whose Cassandra is down and whose one destination is a directory. New
    destinations are put to a toy's agent: a real one would look for the stores that chance names."""
    settings: dict[str, Any] = {
        "state_directory": str(tmp_path / "state"),
        "http": {"port": free_port()},
        "cassandra": {"cql": {"port": free_port()}, "nodetool": {"command": ["true"]}},
        "destinations": {"local_roots": [str(tmp_path / "root")]},
    }
    (tmp_path / "root").mkdir()
    file = tmp_path / "agent.toml"
    file.write_text(toml.dumps(settings))
    url = f"http://127.0.0.1:{settings['http']['port']}"
    agent = Child(
        "agent", [sys.executable, "-m", "agent.daemon.main", "--config", file], tmp_path / "log", cwd=REPOSITORY
    )
    agent.start()
    try:
        async with aiohttp.ClientSession() as session:
            await agent.until("answering", lambda: _answers(session, url), 60)
            body = {"revision": 1, "settings": {"provider": "local", "path": "place"}}
            async with session.put(f"{url}/v1/destinations/local1", json=body) as put:
                assert put.status == 200
            async with session.post(f"{url}/v1/destinations/local1/check", json={"initialise": True}) as made:
                assert (await made.json())["made"]
        known: dict[str, str | int] = {"path.destination": "local1", "query.wait": 0}
        failures = (501, 502, 503)
        await keeps_its_promises(
            url, tmp_path, known=known, most=3, told_failures=failures, excluded=["putDestination"]
        )
        assert agent.alive
    finally:
        await agent.stop()
    async with toy(tmp_path / "toy") as told:
        await keeps_its_promises(told["agent"], tmp_path, known={}, most=30, only=["putDestination"])


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/health") as health:
            return health.status == 200
    except aiohttp.ClientError:
        return False
