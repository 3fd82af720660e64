"""What a newcomer runs first: the demo's story, and every command that `make cluster` prints. They have the demo's own
addresses, in a network of their own. Needs root."""

import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cluster.loopback import OwnLoopback
from tests.cluster.places import CASSANDRA_50, REPOSITORY
from tests.cluster.processes import run
from tests.cluster.rows import DataSet
from tests.demo import parts
from tests.demo.playground import DIRECTORY, ORDERS
from tests.demo.story import SEED
from tests.demo.topology import NODES

pytestmark = pytest.mark.timeout(900)
ROWS = 400
STEPS = (r"POST \S+/backups/run", "the disaster: DROP TABLE", r"POST \S+/backups/restore/opscenter_adhoc", "comparing")
END = "--- ended with"


@pytest_asyncio.fixture
async def given(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """What a command prints that a person gives in the checkout, in a shell that no `make` started. Raises
    ProcessError."""
    async with OwnLoopback(tmp_path) as network:
        shell = [*network.prefix, "env", "-C", str(REPOSITORY), "-u", "MAKEFLAGS", "-u", "MAKELEVEL"]
        yield lambda *command: run([*shell, *command], deadline=600)


async def test_the_demo_tells_its_story_to_the_end(given: Callable[..., Awaitable[str]]) -> None:
    """Promise: `make demo` backs up, loses and restores every row that it wrote, says so last, and ends with 0."""
    data = DataSet(seed=SEED, rows=ROWS, version=CASSANDRA_50, replication=NODES)
    rows = sum(len(data.expected(spec)) for spec in data.tables)
    printed = await given(sys.executable, "-m", "tests.demo", "--rows", str(ROWS))
    assert re.search(".*".join(STEPS), printed, re.DOTALL), printed
    assert printed.splitlines()[-1] == f"demo: {rows} of {rows} rows restored"


async def test_every_command_that_the_playground_prints_does_what_it_says(given: Callable[..., Awaitable[str]]) -> None:
    """Promise: what `make cluster` prints can be pasted line by line: a backup, a listing, a loss, a restore,
    a backup to an encrypted destination."""
    running = [part.name for part in parts.read(DIRECTORY) if part.running()]
    assert not running, "a playground is up, which this test would empty and end: run make cluster-down first"
    playground = [sys.executable, "-m", "tests.demo.playground"]
    try:
        shown = await given(*playground, "up")
        commands = re.findall(r"^  (\S.*)$", shown, re.MULTILINE)
        script = "\n".join(f'{command}\necho "{END} $?"' for command in commands)
        printed = re.split(rf"^{END} (\d+)\n", await given("bash", "-c", script), flags=re.MULTILINE)
        said = list(zip(commands, printed[::2], printed[1::2], strict=False))
        assert [code for _, _, code in said] == ["0"] * len(commands), said

        followed = [text for command, text, _ in said if command.startswith("follow $")]
        assert len(followed) == 3
        assert all(re.search(r'"state": ?"success"', text) for text in followed), followed
        [listing] = [text for command, text, _ in said if command.startswith("curl") and command.endswith("/backups")]
        assert "opscenter_adhoc" in listing
        counts = [re.findall(r"^count = (\d+)$", text, re.MULTILINE) for command, text, _ in said if "count" in command]
        assert counts == [["0"], [str(ORDERS)]]
    finally:
        await given(*playground, "down")
    assert not any(part.running() for part in parts.read(DIRECTORY))
