"""The command `script`: what a script is told, and what is told of it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.cassandra.errors import SnapshotMissing
from agent.commands.runner import JobSpec
from agent.jobs.scripts.errors import ScriptFailed, ScriptNotFound, ScriptsNotConfigured, ScriptTooSlow
from agent.jobs.scripts.script import ScriptJob
from agent.jobs.scripts.words import SHOWN, in_words
from agent.wire.commands import LANES, Kind, ScriptArguments, SnapshotArguments, State
from agent.wire.names import InvalidName
from agent.wire.results import ScriptResult
from kit.logs import Redactor
from tests.fast.commands.tiny_agent import DEADLINE, running
from tests.fast.jobs.agent_in_memory import Command
from tests.fast.jobs.node import Node

PRE = ScriptArguments("notify", "t1", "pre")
POST = ScriptArguments("notify", "t1", "post")
SECRET = "canary-51d0aa"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    directory = tmp_path / "scripts"
    directory.mkdir(mode=0o755)
    return directory


@pytest.fixture
def job(node: Node, place: Path) -> ScriptJob:
    return ScriptJob(node, str(place), 60.0, str)


def script(place: Path, text: str) -> Path:
    path = place / "notify"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


async def done(job: ScriptJob, asked: ScriptArguments) -> ScriptResult:
    result = (await job.run(Command("c1", asked))).result
    assert isinstance(result, ScriptResult)
    return result


async def test_the_script_after_the_snapshot_is_told_its_files(node: Node, place: Path, job: ScriptJob) -> None:
    """Promise: the absolute path of every file of the snapshot, one a line, and of nothing else; all of them can be
    read while it runs."""
    await node.take(SnapshotArguments("t1"), "c0")
    script(place, 'tee list | while read -r path; do test -f "$path" || echo "$path is missing"; done')
    found = await done(job, POST)
    told = (place / "list").read_text().splitlines()
    files = {str(path) for path in node.data.rglob("*") if path.is_file() and "/snapshots/t1/" in str(path)}
    assert set(told) == files
    assert found == ScriptResult("notify", len(told), "")
    assert all(path.startswith("/") for path in told)


async def test_the_script_before_the_snapshot_is_told_no_files(node: Node, place: Path, job: ScriptJob) -> None:
    """Promise: its stdin is empty, also where a snapshot of that tag is already there."""
    await node.take(SnapshotArguments("t1"), "c0")
    script(place, "wc -c")
    assert await done(job, PRE) == ScriptResult("notify", 0, "0")


@pytest.mark.parametrize("asked", [PRE, POST])
async def test_its_environment_is_made_for_it(
    node: Node, place: Path, job: ScriptJob, asked: ScriptArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: PATH, HOME, LANG and which backup it is; nothing that the agent was given."""
    for name in ("CANARY", "AWS_SECRET_ACCESS_KEY", "CREDENTIALS_DIRECTORY", "LD_PRELOADED", "PYTHONPATH"):
        monkeypatch.setenv(name, SECRET)
    await node.take(SnapshotArguments("t1"), "c0")
    script(place, "cat /proc/$$/environ | tr '\\0' '\\n' | sort")
    told = dict(line.split("=", 1) for line in (await done(job, asked)).output.splitlines())
    assert told.keys() == {"PATH", "HOME", "LANG", "HELENUS_TAG", "HELENUS_WHEN"}
    assert (told["HELENUS_TAG"], told["HELENUS_WHEN"]) == ("t1", asked.when)
    assert SECRET not in told.values()


async def test_a_script_that_fails_is_told_with_its_words(place: Path, job: ScriptJob) -> None:
    """Promise: exit code and last line in the message, all of its last lines in the fields."""
    script(place, "echo first; echo the database is not ready >&2; exit 7")
    with pytest.raises(ScriptFailed) as failed:
        await done(job, PRE)
    assert failed.value.message == "the script notify ended with 7: the database is not ready"
    assert failed.value.fields == {
        "script": "notify",
        "when": "pre",
        "exit": 7,
        "output": "first\nthe database is not ready",
    }
    script(place, "kill -9 $$")
    with pytest.raises(ScriptFailed, match=r"was ended by signal 9$"):
        await done(job, PRE)
    (place / "notify").write_text("no interpreter")
    with pytest.raises(ScriptFailed, match="could not be started: Exec format error"):
        await done(job, PRE)


async def test_a_script_that_takes_too_long_has_failed(node: Node, place: Path) -> None:
    """Promise: with the time that it had, and what it said."""
    script(place, "echo waiting for the lock; sleep 1000")
    with pytest.raises(ScriptTooSlow, match=r"did not end within 2 s: waiting for the lock"):
        await done(ScriptJob(node, str(place), 2.0, str), PRE)


async def test_what_is_missing_is_told_before_anything_runs(node: Node, place: Path, job: ScriptJob) -> None:
    """Promise: no directory, no script, no snapshot: each by its name, and the command has entered no stage."""
    with pytest.raises(ScriptsNotConfigured):
        await done(ScriptJob(node, "", 60.0, str), PRE)
    with pytest.raises(ScriptNotFound):
        await done(job, PRE)
    script(place, "touch ran")
    command = Command("c1", POST)
    with pytest.raises(SnapshotMissing):
        await job.run(command)
    assert command.current == ""
    assert not (place / "ran").exists()


async def test_what_it_says_holds_no_secret_of_the_agents(node: Node, place: Path) -> None:
    """Promise: a script that prints a secret which the agent knows doesn't get it into results and errors."""
    redactor = Redactor()
    redactor.add(SECRET)
    job = ScriptJob(node, str(place), 60.0, redactor.clean)
    script(place, f"echo the password is {SECRET}")
    assert (await done(job, PRE)).output == "the password is ***"
    script(place, f"echo the password is {SECRET}; exit 1")
    with pytest.raises(ScriptFailed) as failed:
        await done(job, PRE)
    assert SECRET not in str(failed.value.as_dict())


def test_a_secret_is_not_cut_in_two() -> None:
    """Promise: where the shown part begins in the middle of a secret, no half of it is shown."""
    redactor = Redactor()
    redactor.add(SECRET)
    for shift in range(len(SECRET)):
        text = in_words(f"{'a' * 50}{SECRET}{'b' * (SHOWN - shift)}".encode(), redactor.clean)
        assert set(text) <= {"*", "b", "a"}, text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"a\r\nb\tc\n\n", "a\nb\tc"),
        (b"\x1b[2J\x1b]0;title\x07red", "?[2J?]0;title?red"),
        (b"back\x08space\x00\x7f", "back?space??"),
        ("left \u202e right \u200b \x9b".encode(), "left ? right ? ?"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("Grüße, 数据".encode(), "Grüße, 数据"),
        (b"", ""),
    ],
)
def test_what_it_says_does_nothing_to_a_terminal(said: bytes, shown: str) -> None:
    """Promise: no escape sequence, no text that runs the other way, no line of its own in a log."""
    assert in_words(said, str) == shown


def test_only_the_end_is_shown() -> None:
    """Promise: a result stays small, whatever a script says."""
    assert in_words(b"x" * 64_000 + b"end", str) == "x" * (SHOWN - 3) + "end"


def _agent_with(job: ScriptJob) -> dict[Kind, JobSpec]:
    return {Kind.SCRIPT: JobSpec(LANES[Kind.SCRIPT], job.run)}


ASKED = {"name": "notify", "tag": "t1", "when": "pre"}


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not true():  # noqa: ASYNC110 another process does it
            await asyncio.sleep(0.01)


async def test_a_cancel_ends_it(tmp_path: Path, place: Path, job: ScriptJob) -> None:
    """Promise: at once and without force; what it had begun is not run again."""
    script(place, "echo ran >> runs; sleep 1000")
    async with running(tmp_path / "j", _agent_with(job)) as agent:
        await agent.post("c1", Kind.SCRIPT, ASKED)
        await _until((place / "runs").exists)
        assert (await agent.runner.cancel("c1")).state is State.CANCELLED
    async with running(tmp_path / "j", _agent_with(job)) as agent:
        assert (await agent.until("c1")).state is State.CANCELLED
    assert (place / "runs").read_text() == "ran\n"


async def test_one_that_was_running_when_the_agent_ended_is_never_run_again(
    tmp_path: Path, place: Path, job: ScriptJob
) -> None:
    """Promise: stopped or killed while it ran, the next process says `interrupted`; the same command again too."""
    script(place, "echo ran >> runs; sleep 1000")
    async with running(tmp_path / "j", _agent_with(job)) as agent:
        await agent.post("c1", Kind.SCRIPT, ASKED)
        await _until((place / "runs").exists)
    async with running(tmp_path / "j", _agent_with(job), instance="second") as agent:
        view = await agent.until("c1")
        assert view.state is State.INTERRUPTED
        assert (view.error or {})["code"] == "interrupted"
        assert (await agent.post("c1", Kind.SCRIPT, ASKED)).state is State.INTERRUPTED
    assert (place / "runs").read_text() == "ran\n"


async def test_one_that_had_not_begun_runs_after_the_restart(tmp_path: Path, place: Path, job: ScriptJob) -> None:
    """Promise: one that waited behind another when the agent ended was never run: it is, once."""
    script(place, 'echo "$HELENUS_TAG" >> runs; test "$HELENUS_TAG" = t2 || sleep 1000')
    async with running(tmp_path / "j", _agent_with(job)) as agent:
        await agent.post("c1", Kind.SCRIPT, ASKED)
        await agent.post("c2", Kind.SCRIPT, {**ASKED, "tag": "t2"})
        await _until((place / "runs").exists)
    async with running(tmp_path / "j", _agent_with(job), instance="second") as agent:
        assert (await agent.until("c2")).state is State.SUCCESS
        assert (await agent.until("c1")).state is State.INTERRUPTED
    assert (place / "runs").read_text() == "t1\nt2\n"


@pytest.mark.parametrize("name", ["../x", "-x", "a\0b", "x" * 300, "ä", "", "a/b", ".x", "a\n"])
async def test_a_name_that_is_more_than_a_name_is_refused_at_the_door(
    tmp_path: Path, job: ScriptJob, name: str
) -> None:
    """Promise: no command comes of it."""
    async with running(tmp_path / "j", _agent_with(job)) as agent:
        with pytest.raises(InvalidName):
            await agent.post("c1", Kind.SCRIPT, {**ASKED, "name": name})
        assert await agent.runner.views() == []
