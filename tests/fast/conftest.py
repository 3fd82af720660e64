"""Directories in memory, and nothing computed that no fast test looks at."""

from tests.cluster.lean_run import memory_given_back as memory_given_back
from tests.cluster.lean_run import pytest_collection_finish as pytest_collection_finish
from tests.cluster.lean_run import pytest_configure as pytest_configure
