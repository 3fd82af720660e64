"""What earlier releases said and kept is still understood. A release adds files; none is ever changed."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.commands.arguments import decode_arguments
from agent.wire.backups import Plan, Record
from agent.wire.commands import CommandView, Event, PatchCommand, PostCommand, State
from agent.wire.destinations import CheckDestination, PutDestination
from agent.wire.node import NodeReport
from agent.wire.throttle import PatchThrottle
from tests.fast.commands.tiny_agent import everything, quick, running

RECORDED = Path(__file__).parent / "recorded"


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*-messages.json")), ids=lambda path: path.stem)
def test_requests_of_earlier_coordinators_are_still_taken(path: Path) -> None:
    """An agent that is upgraded first goes on understanding the coordinator."""
    requests: dict[str, Any] = json.loads(path.read_text())["requests"]
    for post in requests["posts"].values():
        command = msgspec.json.decode(msgspec.json.encode(post), type=PostCommand)
        assert decode_arguments(command.kind, bytes(command.arguments))
    for put in requests["destinations"]:
        msgspec.convert(put, PutDestination)
    for name, kind in {
        "plan": Plan,
        "record": Record,
        "throttle": PatchThrottle,
        "patch": PatchCommand,
        "check": CheckDestination,
    }.items():
        msgspec.convert(requests[name], kind)


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*-messages.json")), ids=lambda path: path.stem)
def test_answers_of_earlier_agents_are_still_read_also_with_fields_from_the_future(path: Path) -> None:
    """A coordinator understands agents older and newer than itself."""
    answers: dict[str, Any] = json.loads(path.read_text())["answers"]
    for more in ({}, {"a_field_of_later": [1]}):
        view = msgspec.convert({**answers["command"], **more}, CommandView)
        assert view.state is State.PARTIAL
        assert view.progress["there"]["shop"]["orders"].done_files == 2
        assert msgspec.convert({**answers["node"], **more}, NodeReport).node is not None
        events = [msgspec.convert({**event, **more}, Event) for event in answers["events"]]
        assert sum(event.state.terminal for event in events) == 4


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*-journal.sql")), ids=lambda path: path.stem)
async def test_the_journal_of_an_earlier_release_is_taken_up(path: Path, tmp_path: Path) -> None:
    """An upgrade in the middle of a command: what ended is known, what ran is resumed."""
    journal = tmp_path / "j"
    with sqlite3.connect(journal) as connection:
        connection.executescript(path.read_text())
    connection.close()
    async with running(journal, everything(quick)) as agent:
        ended = await agent.runner.view("run-1.node1")
        assert (ended.state, ended.stage, ended.error and ended.error["code"]) == (State.PARTIAL, "work", "some_code")
        assert ended.progress["there"]["shop"]["orders"].done_files == 2
        assert (await agent.until("held")).state is State.SUCCESS
