"""Who the node is and where it keeps its files, also while Cassandra is down. In: what the node said. Out: the same,
durable in `<state>/node.json`.

It is what was true when Cassandra answered last: whoever moves files compares it with what is there.
"""

import asyncio
from pathlib import Path

import msgspec

from agent.cassandra.errors import CassandraUnavailable
from agent.cassandra.node_directories import NodeDirectories
from agent.cassandra.node_view import NodeView
from agent.wire.node import NodeIdentity
from kit.atomic_files import make_directory, write_atomically


class KnownFacts(msgspec.Struct, frozen=True):
    """`data`: every data directory, that of the local system keyspaces last; `commitlog`: "" when it isn't named."""

    identity: NodeIdentity
    data: tuple[str, ...] = ()
    commitlog: str = ""


class KnownNode:
    """See the module."""

    def __init__(self, view: NodeView, directories: NodeDirectories, path: Path) -> None:
        self._view = view
        self._directories = directories
        self._path = path
        self._last: KnownFacts | None = None

    async def facts(self) -> KnownFacts:
        """As the node says it, else as it said it last. Raises `CassandraUnavailable` when it never did, and what it
        answers instead."""
        try:
            return await self.note(await self._view.identity())
        except CassandraUnavailable:
            last = await self.last()
            if last is None:
                raise
            return last

    async def host_id(self) -> str:
        """Who the node is. Raises as `facts`."""
        return (await self.facts()).identity.host_id

    async def last(self) -> KnownFacts | None:
        """What the node said last, without asking it; None if nothing (readable) is kept."""
        if self._last is None:
            self._last = await asyncio.to_thread(self._read)
        return self._last

    async def note(self, identity: NodeIdentity) -> KnownFacts:
        """Keep, durably, who the node is as it said just now, and where its files are. Raises what its answers raise,
        and OSError."""
        facts = KnownFacts(identity, await self._directories.every(), await self._directories.commitlog())
        if facts != await self.last():
            await asyncio.to_thread(self._write, facts)
            self._last = facts
        return facts

    def _read(self) -> KnownFacts | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=KnownFacts)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None

    def _write(self, facts: KnownFacts) -> None:
        make_directory(self._path.parent)
        write_atomically(self._path, msgspec.json.encode(facts))
