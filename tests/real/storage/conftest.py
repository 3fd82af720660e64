"""The storage tests' bucket on the servers that the whole run shares."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cluster.azurite import Azurite
from tests.cluster.gcs_stores import FakeGcs
from tests.cluster.stores import BUCKET, S3Server, Seaweed, Versity


@pytest_asyncio.fixture(scope="session", loop_scope="session", name="versity")
async def versity_with_a_bucket(versity: Versity) -> Versity:
    await versity.make_bucket(BUCKET)
    return versity


@pytest_asyncio.fixture(scope="session", loop_scope="session", name="seaweed")
async def seaweed_with_a_bucket(seaweed: Seaweed) -> Seaweed:
    await seaweed.make_bucket(BUCKET)
    return seaweed


@pytest_asyncio.fixture(scope="session", loop_scope="session", name="gcs")
async def gcs_with_a_bucket(gcs: FakeGcs) -> FakeGcs:
    await gcs.make_bucket(BUCKET)
    return gcs


@pytest_asyncio.fixture(scope="session", loop_scope="session", name="azurite")
async def azurite_with_a_container(azurite: Azurite) -> Azurite:
    await azurite.make_bucket(BUCKET)
    return azurite


@pytest.fixture(params=["versity", "seaweed"])
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each test that asks for it runs against both."""
    found: S3Server = request.getfixturevalue(request.param)
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def versity_with_versions(servers: Path) -> AsyncIterator[Versity]:
    """versitygw that can keep versions, which object lock needs."""
    async with Versity(servers / "versity-versions", versions=True) as server:
        await server.make_bucket(BUCKET)
        yield server


@pytest.fixture(params=["versity_with_versions", "seaweed"])
def lockable(request: pytest.FixtureRequest) -> S3Server:
    """Each test that asks for it runs against both: servers whose buckets can have object lock."""
    found: S3Server = request.getfixturevalue(request.param)
    return found
