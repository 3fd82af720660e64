"""Children end: by themselves, by their deadline, by a cancel, and with them everything they started."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from agent.cassandra.child import run_child


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def _until_gone(pid: int) -> None:
    async with asyncio.timeout(60):
        while _alive(pid):  # noqa: ASYNC110 another process's end has no event
            await asyncio.sleep(0.01)


def _hanging(tmp_path: Path) -> tuple[list[str], Path]:
    """A script that starts a grandchild, notes its pid, ignores SIGTERM and hangs: as nodetool and its JVM."""
    note = tmp_path / "pid"
    script = tmp_path / "hang"
    script.write_text(f"#!/bin/sh\ntrap '' TERM\nsleep 1000 &\necho $! > {note}.new\nmv {note}.new {note}\nwait\n")
    script.chmod(0o755)
    return [str(script)], note


def _marked(mark: str) -> list[int]:
    """The living processes that were started with `mark` in their environment, by themselves or by their parents."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            marked = mark.encode() in path.read_bytes().split(b"\0")
        except OSError:  # it has ended, or is another user's
            continue
        if marked and _alive(int(path.parent.name)):
            found.append(int(path.parent.name))
    return found


async def _grandchild(note: Path) -> int:
    async with asyncio.timeout(60):
        while not note.exists():  # noqa: ASYNC110 another process writes it
            await asyncio.sleep(0.01)
    return int(note.read_text())


async def test_a_child_tells_its_exit_code_and_both_outputs() -> None:
    """stdout and stderr come as one text."""
    ended = await run_child(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], deadline=10)
    assert ended.exit_code == 3
    assert sorted(ended.output.split()) == ["err", "out"]


async def test_a_child_that_hangs_is_killed_with_its_whole_group(tmp_path: Path) -> None:
    """No grandchild stays behind a deadline."""
    command, note = _hanging(tmp_path)
    with pytest.raises(TimeoutError):
        await run_child(command, deadline=1.0)
    await _until_gone(await _grandchild(note))


async def test_a_grandchild_whose_parent_has_ended_is_killed_too(tmp_path: Path) -> None:
    """The leader is gone and reaped; what it started still holds the pipe until the deadline, and no longer."""
    note = tmp_path / "pid"
    script = f"sleep 1000 & echo $! > {note}.new; mv {note}.new {note}"
    with pytest.raises(TimeoutError):
        await run_child(["/bin/sh", "-c", script], deadline=1.0)
    await _until_gone(await _grandchild(note))


async def test_a_cancelled_task_kills_its_child_too(tmp_path: Path) -> None:
    """A person's cancel, or the agent's stop, leaves no nodetool running."""
    command, note = _hanging(tmp_path)
    task = asyncio.create_task(run_child(command, deadline=1000))
    pid = await _grandchild(note)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _until_gone(pid)


def _stand_still(seconds: float) -> None:
    """The child goes on while the loop, which is to hear of it, does not."""
    time.sleep(seconds)


@pytest.mark.parametrize("turns", range(12))
async def test_a_child_that_is_just_starting_is_killed_too(tmp_path: Path, turns: int) -> None:
    """Whenever the cancel comes, before or after the child is known to run, and before or after it has started others:
    all of its group go with it."""
    command, _ = _hanging(tmp_path)
    mark = f"HELENUS_TEST={tmp_path}"
    environment = {**os.environ, "HELENUS_TEST": str(tmp_path)}
    task = asyncio.create_task(run_child(command, deadline=1000, environment=environment))
    for _ in range(turns):
        await asyncio.sleep(0)
    if turns:
        _stand_still(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for pid in _marked(mark):
        await _until_gone(pid)
    assert _marked(mark) == []


async def test_endless_output_is_kept_within_bounds() -> None:
    """The beginning and the end of it are shown."""
    script = "import sys\nprint('first')\nfor _ in range(20000): print('x' * 100)\nprint('last')"
    ended = await run_child([sys.executable, "-c", script], deadline=60)
    assert ended.output.startswith("first")
    assert ended.output.endswith("last\n")
    assert len(ended.output) < 40_000
    assert "bytes left out" in ended.output


async def test_a_child_is_not_in_our_process_group() -> None:
    """A signal to the agent's terminal does not hit a running snapshot; killing the group does not hit us."""
    started = time.monotonic()
    ended = await run_child(["/bin/sh", "-c", f"kill -{signal.SIGTERM.value} 0; sleep 1000"], deadline=60)
    assert ended.exit_code == -signal.SIGTERM
    assert time.monotonic() - started < 60
