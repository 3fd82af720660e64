"""Real S3 servers for the storage tests, one of each kind for the whole run."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.real.storage.servers import Server, seaweed, versity


@pytest.fixture(scope="session")
def versity_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = asyncio.run(versity(tmp_path_factory.mktemp("versity"), "127.0.20.1"))
    yield server
    asyncio.run(server.child.kill())


@pytest.fixture(scope="session")
def seaweed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = asyncio.run(seaweed(tmp_path_factory.mktemp("seaweed"), "127.0.20.2"))
    yield server
    asyncio.run(server.child.kill())


@pytest.fixture(params=["versity", "seaweed"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each test that asks for it runs against both."""
    found: Server = request.getfixturevalue(f"{request.param}_server")
    return found
