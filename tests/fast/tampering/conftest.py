"""The repository that is tampered with: made once, a copy for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.crypto.keyring import Keyring
from tests.fast.tampering.site import Made, Site, make


@pytest_asyncio.fixture(scope="package", loop_scope="package", params=["plain", "encrypted"])
async def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One for each form of a repository."""
    keyring = None if request.param == "plain" else Keyring(b"n" * 32, {1: b"k" * 32})
    return await make(tmp_path_factory.mktemp(request.param), keyring)


@pytest_asyncio.fixture
async def site(made: Made, tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(made, tmp_path)
    yield site
    await site.close()
