"""Answers of later agents, read by this coordinator."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from agent.wire.archiving import ArchivingView
from agent.wire.commands import CommandView, State
from agent.wire.destinations import DestinationView, S3Settings
from agent.wire.point_in_time import JobDocument
from coordinator.fleet import of_later
from coordinator.fleet.bounded import event_data
from tests.fast.coordinator.fleet.hostile_agent import command

VIEW = {"id": "d", "revision": 1, "settings": {"provider": "s3", "path": "b/p", "of_later": [1]}}


def read(value: Any, kind: type[Any]) -> Any:
    return of_later.read(json.dumps(value).encode(), kind)


def test_settings_and_documents_are_read_without_what_is_new_in_them() -> None:
    """Promise: a later agent's settings, of which a coordinator takes none that it doesn't know, are still read."""
    assert read(VIEW, DestinationView).settings == S3Settings(path="b/p")
    assert [view.id for view in read([VIEW, VIEW], list[DestinationView])] == ["d", "d"]
    document = {"id": "j", "fence": 1, "revision": 1, "phase": "p", "ended": False, "document": {}, "of_later": 1}
    assert read(document, JobDocument).phase == "p"


def test_a_destination_of_a_provider_that_is_new_is_none_of_ours() -> None:
    """Promise: what another coordinator put at an agent keeps this one from no other destination."""
    other = {**VIEW, "settings": {"provider": "tape", "path": "x"}}
    assert [view.revision for view in read([other, VIEW, other], list[DestinationView])] == [1]
    with pytest.raises(msgspec.ValidationError):
        read(other, DestinationView)


def test_a_state_that_is_new_ends_nothing() -> None:
    """Promise: a command in a state that nobody here knows is still waited for; archiving in one is not on."""
    assert read(command("c", state="warming_up"), CommandView).state is State.RUNNING
    assert read({"enabled": True, "state": "thawing"}, ArchivingView).state == "unknown"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({**VIEW, "revision": "one"}, DestinationView),
        (command("c", kind=5), CommandView),
        ({"enabled": True, "state": 5}, ArchivingView),
        ({**VIEW, "settings": {**VIEW["settings"], **{f"f{number}": 0 for number in range(80)}}}, DestinationView),  # type: ignore[dict-item]
        ([{**VIEW, "x" * of_later.MOST_BYTES: 1}], list[DestinationView]),
    ],
    ids=["wrong type", "wrong kind", "state that is none", "too many", "too large"],
)
def test_what_is_no_answer_of_any_version_is_refused(value: Any, kind: type[Any]) -> None:
    """Promise: only what is new is left out, so often as a version may add it, and of answers of a usual size."""
    with pytest.raises(msgspec.ValidationError):
        read(value, kind)


async def test_events_of_other_types_are_passed_over() -> None:
    """Promise: of a stream only events of commands are read; others are signs of life."""
    stream = asyncio.StreamReader()
    stream.feed_data(
        b"event: weather\ndata: {}\n\ndata: 1\n\nevent: x\n\nevent: command\ndata: 2\n\nevent: y\ndata: 3\n\n"
    )
    stream.feed_eof()
    assert [data async for data in event_data(Stream(stream)) if data] == [b"1", b"2"]  # type: ignore[arg-type]


class Stream:
    """As aiohttp's."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def iter_any(self) -> Any:
        while chunk := await self._reader.read(7):
            yield chunk
