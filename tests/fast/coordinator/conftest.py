"""A coordinator's API on a real socket over a real SQLite store and a cluster in memory."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from coordinator.access.people import People
from coordinator.opscenter.app import build_app
from coordinator.opscenter.context import Api, ClusterEntry
from coordinator.opscenter.doors import who_may
from coordinator.orchestrate.schedules.schedules import JobSchedules
from coordinator.store.sqlite import SqliteStore
from kit.http_limits import body_limits
from kit.http_origin import same_origin
from kit.http_settings import Access
from kit.logs import Redactor
from tests.cluster.coordinator_exchanges import check_coordinator
from tests.cluster.exchanges import NAME, Recorder
from tests.fast.coordinator.archiving_in_memory import ArchivingInMemory
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory, RetentionInMemory, implements

NOW = 1_489_763_169
MOST = 1 << 20


class Client:
    """Asks the API. Every answer is (status, JSON)."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """One request; `path` as it stands in the URL (percent-encoded where needed)."""
        async with self._session.request(method, URL(self.url + path, encoded=True), **options) as response:
            assert response.content_type == "application/json"
            return response.status, await response.json()

    async def get(self, path: str, **options: Any) -> Any:
        """The answer of a GET that must succeed."""
        status, body = await self.ask("GET", path, **options)
        assert status == 200, body
        return body

    async def post(self, path: str, body: object = None) -> Any:
        """The answer of a POST that must succeed."""
        status, told = await self.ask("POST", path, json=body if body is not None else {})
        assert status == 200, told
        return told


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "state", now=NOW)
    yield opened
    await opened.close()


@pytest.fixture
def cluster(store: SqliteStore) -> ClusterInMemory:
    return ClusterInMemory(store, NOW)


@pytest.fixture
def archiving(cluster: ClusterInMemory) -> ArchivingInMemory:
    return ArchivingInMemory(cluster)


OPEN = Access(None, None, False)
"""To everybody on this machine."""


def api_of(
    store: SqliteStore,
    cluster: ClusterInMemory,
    archiving: ArchivingInMemory | None = None,
    people: People | None = None,
) -> Api:
    """What the API's sections work with."""
    archiving = archiving or ArchivingInMemory(cluster)
    ids = (uuid.UUID(int=number).hex for number in range(1, 1000))
    return Api(
        {"Test_Cluster": ClusterEntry("Test Cluster", ["http://127.0.70.1:61621"])},
        store,
        implements(cluster),
        RetentionInMemory(store, cluster.list_backups),
        archiving,
        JobSchedules(store, cluster, ["Test_Cluster"], lambda: cluster.clock),
        lambda: NOW,
        lambda: next(ids),
        Redactor(),
        people=people,
    )


def application(
    store: SqliteStore, cluster: ClusterInMemory, archiving: ArchivingInMemory | None = None
) -> web.Application:
    """The API as the coordinator serves it to everybody on loopback."""
    return behind_doors(api_of(store, cluster, archiving), OPEN)


def behind_doors(api: Api, access: Access) -> web.Application:
    """The API behind the coordinator's own doors."""
    doors = [same_origin(access), who_may(access, api.people.logins), body_limits(5.0)]
    return build_app(api, max_body_bytes=MOST, doors=doors)


@pytest.fixture
async def client(
    store: SqliteStore, cluster: ClusterInMemory, archiving: ArchivingInMemory, tmp_path: Path
) -> AsyncIterator[Client]:
    """Every exchange of the test must be as openapi.yaml describes it."""
    app = application(store, cluster, archiving)
    Recorder(tmp_path / NAME).record(app)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    async with aiohttp.ClientSession() as session:
        yield Client(session, f"http://{server.host}:{server.port}")
    await server.close()
    await asyncio.to_thread(check_coordinator, tmp_path / NAME)
