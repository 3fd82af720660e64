"""A store on disk."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.store.sqlite import SqliteStore
from tests.fast.notices.given import NOW


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "state", now=NOW)
    yield opened
    await opened.close()
