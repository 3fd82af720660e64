"""What a run of tests without servers needn't compute or wait for: its conftest imports these three.

In: the collected tests, and what this machine has. Out: directories in memory where there is room, a log without
pictures of stacks, and collections that look only at what tests make.
"""

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.cluster.canaries import refuse_left_in

MEMORY = Path("/dev/shm")
ROOM = 2 << 30
"""Bytes that a run with all its failures may leave there, and as much again for others."""


def pytest_configure() -> None:
    """Log as before, but a stack as Python prints it: drawn in boxes and colours it costs a third of a second each."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ]
    )
    # No test asks anybody on the internet: to read all its roots costs each process a tenth of a second at its start.
    os.environ["SSL_CERT_FILE"] = os.environ["SSL_CERT_DIR"] = os.devnull
    if "PYTEST_DEBUG_TEMPROOT" not in os.environ and _has_room(MEMORY):
        # The journals and stores sync thousands of times; whether they do is asserted, what a disk makes of it is not.
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)


def pytest_collection_finish() -> None:
    """Everything that is there by now stays. The imported modules and the tests are hundreds of thousands of objects;
    to walk them again and again took a seventh of the run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(scope="session", autouse=True)
def memory_given_back(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A process of a run in which no test failed leaves nothing: a whole run's directories are a gigabyte. No log in
    them shows a secret."""
    yield
    refuse_left_in(tmp_path_factory.getbasetemp())
    if not request.session.testsfailed and os.environ.get("PYTEST_DEBUG_TEMPROOT") == str(MEMORY):
        shutil.rmtree(tmp_path_factory.getbasetemp(), ignore_errors=True)


def _has_room(place: Path) -> bool:
    """Whether test directories can lie there: they hold programs that are run."""
    try:
        runs = not os.statvfs(place).f_flag & os.ST_NOEXEC
        return runs and os.access(place, os.W_OK | os.X_OK) and shutil.disk_usage(place).free > ROOM
    except OSError:
        return False
