"""A coordinator's API behind its own doors, with users whose passwords cost little to compare. In: which credentials
are configured. Out: the served API, and clients of it who are somebody."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.test_utils import TestServer

from agent.wire.destinations import ON_SERVER, S3Settings
from coordinator.access.passwords import Cost, Passwords
from coordinator.access.people import People, people_of
from coordinator.model.access import Role
from coordinator.model.cluster import ClusterNode
from coordinator.model.destinations import Destination
from coordinator.model.schedules import BackupJob, Schedule, Timetable
from coordinator.model.settings import AccessSettings
from coordinator.store.sqlite import SqliteStore
from kit.http_settings import Access
from kit.secret import Secret
from tests.cluster.canaries import marked
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory, backup
from tests.fast.coordinator.conftest import NOW, api_of, behind_doors

TOKEN = marked("token-of-the-access-tests")
TOKEN_NEEDED = Access(None, Secret(TOKEN), False)
BEARER = {"Authorization": f"Bearer {TOKEN}"}
TAG = "opscenter_adhoc_2017-03-17-15-06-09-UTC"
PLACE = "d" * 32
SCHEDULE = "5c8d1a52-0b0e-4c6e-8d5e-000000000001"
NODE = "127.0.70.1"
SECRET = marked("s3cret-of-the-destination")
CHEAP = Cost(4, 2, 1)


def password_of(name: str) -> str:
    """The user's password."""
    return marked(f"password of {name}")


class Site:
    """The served API; `now`: its clock, which the test moves. A cluster with one backup, node, schedule and
    destination."""

    def __init__(self, store: SqliteStore, access: Access, settings: AccessSettings) -> None:
        self.store = store
        self.cluster = ClusterInMemory(store, NOW)
        self.cluster.backups[ON_SERVER] = [backup(TAG, NOW, {"shop": ["orders", "users"]})]
        self.cluster.members = [ClusterNode(NODE, "h1", f"http://{NODE}:61621", True)]
        self.now = float(NOW)
        self.passwords = Passwords(CHEAP)
        self.people: People = people_of(
            store,
            settings,
            lambda: self.now,
            self.passwords,
            others_administer=access.token is not None or access.client_certificate,
        )
        self.access = access
        self.url = ""

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """One request without any cookie of before: status and JSON."""
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.request(method, self.url + path, **options) as response,
        ):
            told = await (response.json() if response.content_type == "application/json" else response.text())
            return response.status, told

    async def login(self, name: str, password: str | None = None) -> str:
        """The id of a new session of the user's."""
        body = {"username": name, "password": password or password_of(name)}
        status, told = await self.ask("POST", "/login", json=body)
        assert status == 200, told
        return str(told["sessionid"])

    async def header(self, name: str) -> dict[str, str]:
        """What a request of the user's shows."""
        return {"opscenter-session": await self.login(name)}

    async def add(self, name: str, role: Role = Role.ADMIN) -> None:
        """Make a user, whose password is `password_of(name)`."""
        await self.people.accounts.add(name, password_of(name), role)

    async def state(self) -> Any:
        """All that an order could change."""
        return (
            await self.store.users.all(),
            await self.store.requests.find(),
            await self.store.destinations.all("Test_Cluster"),
            await self.store.retention.of("Test_Cluster"),
            await self.store.schedules.of("Test_Cluster"),
            list(self.cluster.orders),
            list(self.cluster.backups[ON_SERVER]),
        )


@asynccontextmanager
async def site(
    directory: Path, access: Access = TOKEN_NEEDED, settings: AccessSettings | None = None
) -> AsyncIterator[Site]:
    """The API, served until the end."""
    store = await SqliteStore.open(directory / "state", now=NOW)
    place = S3Settings(path="bucket", access_key="key", access_secret=SECRET)
    await store.destinations.put(Destination(PLACE, "Test_Cluster", place, 1, "repository", "cluster"))
    daily = Timetable("2017-03-18", "12:00:00", "UTC", 1, "days")
    await store.schedules.put(
        Schedule(SCHEDULE, "Test_Cluster", 1, daily, BackupJob(), {"type": "backup"}, decided=NOW)
    )
    made = Site(store, access, settings or AccessSettings())
    made.cluster.backups[PLACE] = []
    app = behind_doors(api_of(store, made.cluster, people=made.people), access)
    server = TestServer(app, host="127.0.0.1", scheme="https" if access.tls else "http")
    await server.start_server(ssl=access.tls)
    made.url = f"{server.scheme}://{server.host}:{server.port}"
    try:
        async with asyncio.timeout(60):
            yield made
    finally:
        await server.close()
        made.passwords.close()
        await store.close()
