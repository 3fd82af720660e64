"""Directories in memory, and nothing computed that no simulation looks at."""

from collections.abc import Iterator

import pytest
import structlog

from tests.cluster.lean_run import memory_given_back as memory_given_back
from tests.cluster.lean_run import pytest_collection_finish as pytest_collection_finish
from tests.cluster.lean_run import pytest_configure as pytest_configure

_NOTHING = 50  # CRITICAL: nothing of the agent is


@pytest.fixture(autouse=True)
def unlogged() -> Iterator[None]:
    """Thousands of processes that die would log their ends: what tells of a run is its trace."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_NOTHING))
    yield
    structlog.configure(**before)
