"""The schema's history as the agent keeps it: in, records; out, the same after any restart.

    <state>/archiving/schemas/<microseconds>-<version>.json     a SchemaRecord, by its first sight
    <state>/archiving/schemas/looked.json                       the last look, and which destination was told how much

Records are never changed. A look that is lost with a crash makes the time in doubt longer, never wrong.
"""

import asyncio
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import msgspec

from agent.model.commit_log import SchemaRecord
from agent.model.own_state import own_state
from agent.plan.schema_history import in_order
from kit.atomic_files import remove_durably, write_into

_LOOKED = "looked.json"
_DIGITS = 16
Document = TypeVar("Document")


class Looked(msgspec.Struct, frozen=True):
    """`at`: the last look that showed the newest record's schema, unix seconds. `told`: destination → names of the
    records that it has."""

    at: float = 0.0
    told: dict[str, list[str]] = {}


class KeptHistory:
    """One agent's history. For one event loop."""

    def __init__(self, state: Path) -> None:
        self._directory = state / "archiving" / "schemas"
        self._records: dict[str, SchemaRecord] = {}
        self.looked = Looked()

    def load(self) -> None:
        """Read it. Raises StateFailed, also for a record that can't be read: a schema left out would be a wrong one."""
        with own_state():
            try:
                names = sorted(os.listdir(self._directory))
            except FileNotFoundError:
                return
            for name in names:
                path = self._directory / name
                if name == _LOOKED:
                    self.looked = _decoded(path, Looked)
                elif name.endswith(".json"):
                    self._records[name] = _decoded(path, SchemaRecord)

    async def records(self) -> Sequence[SchemaRecord]:
        """All of it, oldest first."""
        return in_order(self._records.values())

    @property
    def newest(self) -> SchemaRecord | None:
        """What the last look that showed something new showed."""
        ordered = in_order(self._records.values())
        return ordered[-1] if ordered else None

    async def add(self, record: SchemaRecord) -> None:
        """Keep a look that showed something new; durable when it returns. Raises StateFailed."""
        name = f"{int(record.first_seen * 1_000_000):0{_DIGITS}}-{record.version}.json"
        await self._write(name, record)
        self._records[name] = record

    async def look(self, looked: Looked) -> None:
        """Keep when it was last looked, and who was told; durable when it returns. Raises StateFailed."""
        await self._write(_LOOKED, looked)
        self.looked = looked

    def untold(self, place: str) -> list[tuple[str, SchemaRecord]]:
        """Records that a destination doesn't have yet, with their names, oldest first."""
        told = set(self.looked.told.get(place, ()))
        return [(name, self._records[name]) for name in sorted(self._records) if name not in told]

    async def trim(self, before: float) -> int:
        """Let go of what was in force only before then; how many went. Raises StateFailed."""
        ordered = sorted(self._records.items())
        going = [
            name
            for (name, _), (_, later) in pairwise(ordered)
            if later.first_seen <= before  # not `unseen_since`: up to its first sight the earlier one may be in force
        ]
        for name in going:
            with own_state():
                await asyncio.to_thread(remove_durably, self._directory / name)
            del self._records[name]
        return len(going)

    async def _write(self, name: str, document: object) -> None:
        with own_state():
            await asyncio.to_thread(write_into, self._directory, name, msgspec.json.encode(document))


def _decoded(path: Path, kind: type[Document]) -> Document:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise OSError(0, f"it is no record: {error}", str(path)) from error
