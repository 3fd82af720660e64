"""Scripts are real processes that may do what they want: none of it holds the agent up."""

import asyncio
import gc
import os
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from agent.jobs.scripts.directory import opened_script
from agent.jobs.scripts.process import Ran, run_script
from tests.cluster.open_files import open_files

LONG = 60.0
"""Seconds that no script of these tests takes."""
SECRET = "canary-9f1c27"


async def ran(place: Path, text: str, lines: Iterable[str] | None = None, seconds: float = LONG) -> Ran:
    """How a script of this text ends."""
    path = place / "script"
    path.write_text(textwrap.dedent(text))
    path.chmod(0o755)
    with opened_script(str(place), "script") as script:
        return await run_script(script, {"PATH": "/usr/bin:/bin"}, lines, seconds)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def pid_in(note: Path) -> int:
    async with asyncio.timeout(LONG):
        while not note.exists():  # noqa: ASYNC110 another process writes it
            await asyncio.sleep(0.01)
    return int(note.read_text())


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(LONG):
        while alive(pid):  # noqa: ASYNC110 another process's end has no event
            await asyncio.sleep(0.01)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "code"), [("exit 0", 0), ("exit 1", 1), ("exit 255", 255), ("kill -9 $$", -9), ("kill -15 $$", -15)]
)
async def test_how_it_ended_is_told(place: Path, text: str, code: int) -> None:
    """Promise: exit codes, and signals as negative ones."""
    assert (await ran(place, f"#!/bin/sh\n{text}\n")).exit_code == code


async def test_it_is_run_in_its_directory_with_no_argument(place: Path) -> None:
    """Promise: no arguments, both outputs as one, an empty stdin, and the files beside it at hand."""
    (place / "beside").write_text("settings")
    found = await ran(place, "#!/bin/sh\necho $#; pwd -P; cat beside; cat; echo wrong >&2\n")
    assert found.said.decode() == f"0\n{place.resolve()}\nsettingswrong\n"


async def test_it_is_the_file_that_was_looked_at(place: Path) -> None:
    """Promise: what comes in its place after the look is not run."""
    path = place / "script"
    path.write_text("#!/bin/sh\necho looked at\n")
    path.chmod(0o755)
    with opened_script(str(place), "script") as script:
        path.rename(place / "old")
        path.write_text("#!/bin/sh\necho put there\n")
        path.chmod(0o755)
        found = await run_script(script, {}, None, LONG)
    assert found.said == b"looked at\n"


async def test_it_gets_every_line(place: Path) -> None:
    """Promise: whatever file systems allow in a name comes as it is, and the end is the end."""
    lines = [f"/data/file {number}" for number in range(100_000)] + [os.fsdecode(b"/data/\xff")]
    found = await ran(place, "#!/bin/sh\ncat > all; wc -l < all\n", lines)
    assert found.said.strip() == b"100001"
    assert (place / "all").read_bytes() == b"".join(os.fsencode(line) + b"\n" for line in lines)


@pytest.mark.parametrize("text", ["exit 0", "exec 0<&-; exit 0", "head -n 3 > /dev/null"])
async def test_one_that_does_not_read_ends_well(place: Path, text: str) -> None:
    """Promise: 100,000 lines that nobody reads are neither waited for nor made: they come as they are taken."""
    made = 0

    def lines() -> Iterator[str]:
        nonlocal made
        for number in range(100_000):
            made += 1
            yield f"/var/lib/cassandra/data/shop/orders/snapshots/tag/nb-{number}-big-Data.db"

    assert (await ran(place, f"#!/bin/sh\n{text}\n", lines())).exit_code == 0
    assert made < 50_000


async def test_only_the_end_of_a_flood_is_kept(place: Path) -> None:
    """Promise: 20 MB of output cost the agent 64 KiB, and the last words are among them."""
    found = await ran(place, "#!/bin/sh\nhead -c 20000000 /dev/zero | tr '\\0' x\necho; echo last words\n")
    assert found.exit_code == 0
    assert len(found.said) == 64 * 1024
    assert found.said.endswith(b"x\nlast words\n")


async def test_a_flood_lets_others_have_their_turn(place: Path) -> None:
    """Promise: an agent whose script never stops talking still does everything else, and ends it in its time."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    found = await ran(place, "#!/bin/sh\nexec yes\n", seconds=0.5)
    task.cancel()
    assert found.exit_code is None
    assert turns > 10


async def test_time_that_is_up_ends_what_it_started_too(place: Path) -> None:
    """Promise: a script that ignores SIGTERM and its grandchild are gone, and its last words are told."""
    found = await ran(place, "#!/bin/sh\ntrap '' TERM\nsleep 1000 &\necho $!\nwait\n", seconds=2.0)
    assert found.exit_code is None
    await until_gone(int(found.said))


async def test_a_cancel_ends_what_it_started_too(place: Path) -> None:
    """Promise: a person's cancel, and the agent's stop, leave nothing running."""
    text = "#!/bin/sh\nsleep 1000 &\necho $! > note.new\nmv note.new note\nwait\n"
    task = asyncio.create_task(ran(place, text, (f"{n}" for n in range(100_000))))
    grandchild = await pid_in(place / "note")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_gone(grandchild)


async def test_one_that_has_ended_leaves_nothing_behind(place: Path) -> None:
    """Promise: a child that holds its output open keeps nobody waiting, and does not outlive it."""
    found = await ran(place, "#!/bin/sh\nsleep 1000 &\necho $!\nexit 3\n")
    assert found.exit_code == 3
    await until_gone(int(found.said))


async def test_one_out_of_reach_keeps_nobody_waiting(place: Path) -> None:
    """Promise: also a child with a session of its own that writes on is not waited for."""
    text = """#!/bin/sh
        setsid sh -c 'echo $$ > note.new; mv note.new note; exec yes' &
        until test -e note; do sleep 0.01; done
    """
    found = await ran(place, text)
    assert found.exit_code == 0
    await until_gone(await pid_in(place / "note"))  # nobody reads what it says: SIGPIPE


async def test_what_can_not_be_started_says_why(place: Path) -> None:
    """Promise: a script without an interpreter is an error, not a process."""
    with pytest.raises(OSError, match="Exec format error"):
        await ran(place, "no interpreter\n")
    with pytest.raises(FileNotFoundError):
        await ran(place, "#!/nowhere/sh\n")


async def test_it_has_nothing_of_the_agents(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: neither its environment nor its open files, of which some are secrets: only its own file is open."""
    monkeypatch.setenv("CANARY", SECRET)
    (place / "secret").write_text(SECRET)
    with (place / "secret").open("rb") as held:
        os.set_inheritable(held.fileno(), True)
        found = await ran(place, "#!/bin/sh\nenv; ls -l /proc/$$/fd\n", ["line"])
    assert found.exit_code == 0
    assert b"PATH=/usr/bin:/bin" in found.said
    assert SECRET.encode() not in found.said
    opened = {line.partition(" -> ")[2].partition(":")[0] for line in found.said.decode().splitlines() if "->" in line}
    assert opened == {"pipe", str(place / "script")}


async def test_nothing_stays_open(place: Path) -> None:
    """Promise: a thousand backups cost no file descriptor."""
    await ran(place, "#!/bin/sh\n")  # what the loop opens once
    gc.collect()  # what others left open is not counted
    before = open_files()
    for lines in (None, ["a"]):
        await ran(place, "#!/bin/sh\n", lines)
    with pytest.raises(OSError, match="Exec format error"):
        await ran(place, "nothing\n", ["a"])
    await asyncio.sleep(0)
    assert open_files() == before
