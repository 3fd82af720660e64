"""kill -9 of the whole coordinator process between a request's beginning and its end being told: each of its notices
comes at least once, always with the same id, and none is lost, to a webhook and to the log."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coordinator.model.notices import Notice
from coordinator.model.requests import RequestState
from coordinator.notices.happenings import of_request
from coordinator.store.sqlite import SqliteStore
from tests.cluster import toml
from tests.cluster.crashing_coordinator import VARIABLE
from tests.cluster.toy_coordinator import CLUSTER, DEADLINE
from tests.cluster.webhook_receiver import Receiver
from tests.fast.coordinator.test_service import free_port
from tests.fast.notices.given import SECRET, secret_file
from tests.orchestrate.conftest import Scene
from tests.orchestrate.mortal import ROOT

ADDRESS = "127.0.70.9"


class Service:
    """Lives of one coordinator: its configuration, its address, what it logged."""

    def __init__(self, directory: Path, urls: list[str], receiver: Receiver) -> None:
        directory.mkdir()
        self.state, self.log, self._file = directory / "state", directory / "log", directory / "coordinator.toml"
        port = free_port()
        self.url = f"http://{ADDRESS}:{port}"
        hook = {"url": receiver.url, "secret_file": secret_file(directory), "events": ["*"]}
        settings = {
            "state_directory": str(self.state),
            "http": {"host": ADDRESS, "port": port},
            "clusters": {CLUSTER: {"agents": urls}},
            "webhooks": {"ops": hook},
        }
        self._file.write_text(toml.dumps(settings))

    @asynccontextmanager
    async def life(self, dies_at: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
        """From the start until it has ended; one that lives is ended by SIGTERM."""
        with self.log.open("ab") as stream:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.cluster.crashing_coordinator",
                "--config",
                str(self._file),
                cwd=ROOT,
                stderr=stream,
                env={**os.environ, VARIABLE: dies_at},
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            async with asyncio.timeout(DEADLINE):
                await process.wait()

    async def until_serving(self) -> None:
        """Return once it answers."""
        async with asyncio.timeout(DEADLINE), aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{self.url}/health") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.02)

    async def until_told(self, count: int) -> None:
        """Return once the webhook has taken so many in this life, and nothing waits for it."""
        async with asyncio.timeout(DEADLINE), aiohttp.ClientSession() as session:
            while True:
                async with session.get(f"{self.url}/webhooks") as answer:
                    state = (await answer.json())["ops"]
                if (state["told"], state["waiting"]) == (count, 0):
                    return
                await asyncio.sleep(0.02)

    async def backup(self) -> None:
        """Order one; the coordinator may die before it answers."""
        async with aiohttp.ClientSession() as session:
            with contextlib.suppress(aiohttp.ClientError):
                body = {"keyspaces": ["shop"]}
                async with session.post(f"{self.url}/{CLUSTER}/backups/run", json=body) as answer:
                    assert answer.status == 200, await answer.text()

    async def expected(self) -> list[Notice]:
        """The notices of all requests that the state holds; each has ended well."""
        store = await SqliteStore.open(self.state, now=0)
        try:
            requests = await store.requests.find()
            assert [request.state for request in requests] == [RequestState.SUCCESS]
            return [notice for request in requests for notice in of_request(request)]
        finally:
            await store.close()

    def logged(self) -> list[dict[str, Any]]:
        """The log's lines of notices."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == "notice"]


MOMENTS = [
    "created",
    "before noticed",
    "noticed",
    "before told .log",
    "told .log",
    "before told ops",
    "told ops",
    "before finished",
    "finished",
]


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_coordinator_killed_at_any_moment_tells_all_of_it(scene: Scene, moment: str) -> None:
    """Promise: whoever subscribed hears of the beginning and of the end, by the ids that the request has for ever, and
    so does the log; nothing secret is in the log of any life."""
    async with Receiver() as receiver:
        service = Service(scene.directory / "service", [agent.url for agent in scene.agents], receiver)
        async with service.life(moment) as process:
            await service.until_serving()
            await service.backup()
            async with asyncio.timeout(DEADLINE):
                assert await process.wait() == -signal.SIGKILL
        async with service.life():
            await receiver.until_types("backup.started", "backup.succeeded")
            await service.until_serving()
    expected = {notice.id: notice.type for notice in await service.expected()}
    assert {came.notice["id"]: came.type for came in receiver.came} == expected
    assert {line["id"]: line["type"] for line in service.logged()} == expected
    # Once more at most, for it died once: the order holds but for that.
    assert len(receiver.came) <= 3
    assert sorted(came.type for came in receiver.came)[0] == receiver.came[0].type == "backup.started"
    for secret in (SECRET, SECRET.removeprefix("whsec_"), "a-path-like-a-secret"):
        assert secret not in service.log.read_text()


async def test_one_killed_while_its_receiver_is_away_tells_all_when_it_is_back(scene: Scene) -> None:
    """Promise: nothing is lost when both are down, and none of it is told twice once it was taken."""
    async with Receiver() as receiver:
        service = Service(scene.directory / "service", [agent.url for agent in scene.agents], receiver)
    async with service.life("finished") as process:
        await service.until_serving()
        await service.backup()
        async with asyncio.timeout(DEADLINE):
            assert await process.wait() == -signal.SIGKILL
    async with receiver, service.life():
        await receiver.until(2)
        await service.until_told(2)
    async with receiver, service.life():
        await service.until_serving()
    assert [came.notice["id"] for came in receiver.came] == [notice.id for notice in await service.expected()]
