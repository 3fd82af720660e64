"""What a newcomer runs first: the demo's story, and every command that `make cluster` prints. They have the demo's own
addresses, in a network of their own. Needs root."""

import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
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

pytestmark = pytest.mark.timeout(1500)
ROWS = 400
STEPS = (r"POST \S+/backups/run", "the disaster: DROP TABLE", r"POST \S+/backups/restore/opscenter_adhoc", "comparing")
END = "--- ended with"
POINT = "Back to any moment"
"""How the printed chapter on points in time begins."""
PLAYGROUND = (sys.executable, "-m", "tests.demo.playground")
Given = Callable[..., Awaitable[str]]


@pytest_asyncio.fixture
async def given(tmp_path: Path) -> AsyncIterator[Given]:
    """What a command prints that a person gives in the checkout, in a shell that no `make` started. Raises
    ProcessError."""
    async with OwnLoopback(tmp_path) as network:
        shell = [*network.prefix, "env", "-C", str(REPOSITORY), "-u", "MAKEFLAGS", "-u", "MAKELEVEL"]
        yield lambda *command: run([*shell, *command], deadline=1200)


async def test_the_demo_tells_its_story_to_the_end(given: Given) -> None:
    """Promise: `make demo` backs up, loses and restores every row that it wrote, says so last, and ends with 0."""
    data = DataSet(seed=SEED, rows=ROWS, version=CASSANDRA_50, replication=NODES)
    rows = sum(len(data.expected(spec)) for spec in data.tables)
    printed = await given(sys.executable, "-m", "tests.demo", "--rows", str(ROWS))
    assert re.search(".*".join(STEPS), printed, re.DOTALL), printed
    assert printed.splitlines()[-1] == f"demo: {rows} of {rows} rows restored"


async def test_every_command_that_the_playground_prints_does_what_it_says(given: Given) -> None:
    """Promise: what `make cluster` prints can be pasted line by line: a backup, a listing, a loss, a restore,
    a backup to an encrypted destination. (Of points in time: below.)"""
    async with playground(given) as chapters:
        said = await pasted(given, [line for title, lines in chapters.items() if POINT not in title for line in lines])
        [listing] = [text for command, text in said if command.startswith("curl") and command.endswith("/backups")]
        assert "opscenter_adhoc" in listing
        assert successes(said) == 3
        assert counts(said) == [0, ORDERS]


@pytest.mark.long
async def test_the_playground_goes_back_to_a_moment_after_its_backup(given: Given) -> None:
    """Promise: what `make cluster` prints of points in time can be pasted too: archiving on, a row after the backup, a
    TRUNCATE, and all rows are back. Nodes that agents restarted meanwhile are ended with all others."""
    async with playground(given) as chapters:
        follow = [line for lines in chapters.values() for line in lines if line.startswith("follow() ")]
        [commands] = [lines for title, lines in chapters.items() if title.startswith(POINT)]
        said = await pasted(given, [*follow, *commands])
        [checked] = [text for command, text in said if "/pit_check " in command]
        assert re.search(r'"brief": ?"success"', checked), checked
        assert successes(said) == 4
        assert counts(said) == [ORDERS + 1]


@asynccontextmanager
async def playground(given: Given) -> AsyncIterator[dict[str, list[str]]]:
    """It is up; what it prints: first line of a chapter → the commands below. Afterwards all that ran is ended."""
    running = [part.name for part in parts.read(DIRECTORY) if part.running()]
    assert not running, "a playground is up, which this test would empty and end: run make cluster-down first"
    try:
        shown = await given(*PLAYGROUND, "up")
        yield {
            chapter.partition("\n")[0]: re.findall(r"^  (\S.*)$", chapter, re.MULTILINE)
            for chapter in shown.split("\n\n")
        }
    finally:
        ended = await given(*PLAYGROUND, "down")
    assert re.search(r"^stopped (\w+ \(\d+\)(, )?){7}$", ended, re.MULTILINE), ended
    assert not any(part.running() for part in parts.read(DIRECTORY))


async def pasted(given: Given, commands: Sequence[str]) -> list[tuple[str, str]]:
    """Each command with what it printed, in one shell; none fails."""
    script = "\n".join(f'{command}\necho "{END} $?"' for command in commands)
    printed = re.split(rf"^{END} (\d+)\n", await given("bash", "-c", script), flags=re.MULTILINE)
    said = list(zip(commands, printed[::2], printed[1::2], strict=False))
    assert [code for _, _, code in said] == ["0"] * len(commands), said
    return [(command, text) for command, text, _ in said]


def successes(said: Sequence[tuple[str, str]]) -> int:
    """How many requests were followed, all of them to their success."""
    followed = [text for command, text in said if command.startswith("follow $")]
    assert all(re.search(r'"state": ?"success"', text) for text in followed), followed
    return len(followed)


def counts(said: Sequence[tuple[str, str]]) -> list[int]:
    """What the counts of rows said."""
    return [
        int(number)
        for command, text in said
        if "count" in command
        for number in re.findall(r"^count = (\d+)$", text, re.MULTILINE)
    ]
