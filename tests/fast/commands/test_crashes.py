"""kill -9 of a process around the runner, at each change of the journal, and its next life."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.wire.commands import Kind

ROOT = Path(__file__).parents[3]
NAMES = ["f1", "f2", "f3"]
CHANGES = 6
"""accepted, running, three stages, ended"""


class Zygote:
    """The process that starts lives."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.fast.commands.crash_zygote"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def live(self, place: Path, kind: Kind, instance: str, when: str = "never", number: int = 0) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"place": str(place), "kind": kind, "instance": instance, "when": when, "number": number}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate(timeout=20)


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    started = Zygote()
    yield started
    started.close()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    for name in NAMES:
        (tmp_path / "source" / name).write_text(name * 100)
    return tmp_path


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, CHANGES + 1))
def test_a_repeatable_command_killed_at_any_change_is_finished_by_the_next_life(
    zygote: Zygote, place: Path, when: str, number: int
) -> None:
    """I7: accepted = ends once. Work that the journal covers is not done again, and a repeated post changes nothing."""
    first = zygote.live(place, Kind.SYNC, "first", when, number)
    assert first == {"code": -9, "ended": None}
    if not (when == "before" and number == 1):
        (place / "source" / "new").write_text("came between")  # the list of the first life holds, once it is journalled
    second = zygote.live(place, Kind.SYNC, "second")
    ended = second["ended"]
    assert second["code"] == 0
    assert (ended["state"], ended["ends"]) == ("success", 1)
    listed = number > 3 or (number == 3 and when == "after")
    expected = NAMES if listed or (when == "before" and number == 1) else [*NAMES, "new"]
    assert ended["tags"] == expected
    assert (place / "target" / "published").read_text().split() == expected
    assert (place / "work.log").read_text().split() == expected
    assert ended["sequences"] == sorted(set(ended["sequences"]))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, CHANGES + 1))
def test_a_fenced_command_killed_at_any_change_is_never_resumed_by_the_agent_alone(
    zygote: Zygote, place: Path, when: str, number: int
) -> None:
    """Fenced: unless it wasn't accepted, or had ended, it is `interrupted` with the stage it was in, and nothing more
    is done."""
    zygote.live(place, Kind.IMPORT, "first", when, number)
    done = (place / "work.log").read_text() if (place / "work.log").exists() else ""
    ended = zygote.live(place, Kind.IMPORT, "second")["ended"]
    assert ended["ends"] == 1
    if when == "before" and number == 1:
        assert ended["state"] == "success"
        return
    if when == "after" and number == CHANGES:
        assert ended["state"] == "success"
    else:
        assert (ended["state"], ended["error"]) == ("interrupted", "interrupted")
        stages = ["", "", "", "list", "copy", "publish", "publish"]
        assert ended["stage"] == stages[number if when == "after" else number - 1]
    assert ((place / "work.log").read_text() if (place / "work.log").exists() else "") == done


def test_an_agent_that_dies_again_and_again_still_ends_the_command_once(zygote: Zygote, place: Path) -> None:
    """Each life gets one change further; the outcome is one, and no file is copied twice."""
    lives = 0
    answer = zygote.live(place, Kind.SYNC, "0", "after", 1)
    while answer["code"] != 0:
        lives += 1
        assert lives < 20
        answer = zygote.live(place, Kind.SYNC, str(lives), "after", 2 + lives)
    assert (answer["ended"]["state"], answer["ended"]["ends"]) == ("success", 1)
    assert lives >= 3
    assert (place / "work.log").read_text().split() == NAMES
