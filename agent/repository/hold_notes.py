"""What this agent saw to being held under object lock. In: objects and a time. Out: the same at the next backup, after
any crash.

They stay on the agent, where a thief of the store's keys can't say that something is held when it isn't. A note that is
lost, or is another place's, costs a request for each object and nothing else.
"""

import struct
from pathlib import Path

import msgspec
import structlog

from agent.plan.holding import Held
from agent.plan.objects import ObjectIndex
from kit.atomic_files import make_directory, remove_unfinished, write_atomically

_RECORD = struct.Struct(">16sBQ")
_log = structlog.get_logger(__name__)


class HoldPlace(msgspec.Struct, frozen=True):
    """Whose objects, and where: `store` is what identifies the bucket itself."""

    destination_id: str
    store: tuple[str, ...]
    repository_id: str
    cluster_id: str
    host_id: str


class _Head(msgspec.Struct, frozen=True):
    place: HoldPlace
    until: float


_head = msgspec.json.Decoder(_Head)


class HoldNotes:
    """A directory with a file for each node in each destination. Its methods block: call them in a thread. One for the
    life of an agent, made before any note is written: it removes what an earlier one did not come to finish."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        remove_unfinished(directory)

    def read(self, place: HoldPlace) -> Held | None:
        """What is noted of the place; None where nothing is, or it can't be read."""
        try:
            text, _, records = self._path(place).read_bytes().partition(b"\n")
            head = _head.decode(text)
            names = ObjectIndex()
            for name, codec, size in _RECORD.iter_unpack(records):
                names.add(name, size, codec)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, struct.error) as error:
            _log.warning("hold_note_unreadable", destination=place.destination_id, reason=str(error))
            return None
        return Held(names, head.until) if head.place == place else None

    def write(self, place: HoldPlace, names: ObjectIndex, until: float) -> None:
        """Note that these objects are held until then at least, in place of what was noted; durable. What can't be
        written is left: the older note tells less, never more, and costs requests."""
        content = bytearray(msgspec.json.encode(_Head(place, until)) + b"\n")
        for name, codec, size in names.missing_from(ObjectIndex()):
            content += _RECORD.pack(name, codec, size)
        try:
            make_directory(self._directory)
            write_atomically(self._path(place), bytes(content))
        except OSError as error:
            _log.warning("hold_note_not_written", destination=place.destination_id, reason=str(error))

    def _path(self, place: HoldPlace) -> Path:
        return self._directory / f"{place.destination_id}-{place.host_id}.held"
