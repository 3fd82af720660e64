"""Real S3 servers for the storage tests, one of each kind for the whole run."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.cluster.stores import S3Server, Seaweed, Versity
from tests.real.storage.servers import BUCKET


def _served(server: S3Server) -> Iterator[S3Server]:
    async def start() -> None:
        await server.start()
        await server.make_bucket(BUCKET)

    asyncio.run(start())
    yield server
    asyncio.run(server.child.kill())


@pytest.fixture(scope="session")
def versity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    yield from _served(Versity(tmp_path_factory.mktemp("versity"), address="127.0.20.1"))


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    yield from _served(Seaweed(tmp_path_factory.mktemp("seaweed"), address="127.0.20.2"))


@pytest.fixture(params=["versity", "seaweed"])
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each test that asks for it runs against both."""
    found: S3Server = request.getfixturevalue(request.param)
    return found
