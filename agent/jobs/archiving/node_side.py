"""What archiving needs of the node: in, settings; out, paths, who the node is, and a flush."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.cassandra.commit_log import archiving_properties
from agent.cassandra.commit_log.archive_command import differing, failures, install, is_installed, offers
from agent.cassandra.commit_log.archive_directory import have
from agent.cassandra.commit_log.archiving_properties import Archiving
from agent.cassandra.node_view import NodeLife


@dataclass(frozen=True)
class NodeSide:
    """`properties_file`: what Cassandra reads at its start, None where the settings name none. `program`: where the
    archive command is put. `directory`: the archive directory of the settings, "" for none. `leftover_bytes`: see
    Leftovers. `group`: of Cassandra's user where that isn't the agent's. `life`, `commitlog`, `flush`, `setting`: asked
    of Cassandra; raise a CassandraError. `own_directories`: Cassandra's own, as far as is known."""

    properties_file: Path | None
    program: Path
    directory: str
    leftover_bytes: int
    life: Callable[[], Awaitable[NodeLife]]
    commitlog: Callable[[], Awaitable[str]]
    flush: Callable[[], Awaitable[None]]
    setting: Callable[[str], Awaitable[str | None]]
    own_directories: Callable[[], Awaitable[Sequence[str]]]
    group: Callable[[], int | None] = lambda: None

    def archiving(self, directory: str) -> Archiving:
        """What Cassandra is told while nothing is restored."""
        return Archiving(str(self.program), directory)

    def is_told(self, directory: str) -> bool:
        """Whether Cassandra would archive there from its next start on. Blocks. Raises ArchivingRefused."""
        return is_installed(self.program) and self.is_named(directory)

    def is_named(self, directory: str) -> bool:
        """Whether Cassandra would call the archive command, there or not. Blocks. Raises ArchivingRefused."""
        if self.properties_file is None:
            return False
        text = archiving_properties.read(self.properties_file)
        if text is None or not archiving_properties.is_ours(text):
            return False
        told = archiving_properties.properties_of(text).get("archive_command", "")
        return told == self.archiving(directory).archive_command

    async def have_directory(self, directory: str, owners: Sequence[str], *, marked: bool) -> str:
        """Have the archive directory, as this node's; what its mark says. `owners`, `marked`: see `have`. Raises
        ArchivingRefused."""
        own = await self.own_directories()
        return await asyncio.to_thread(lambda: have(directory, owners, own, marked=marked, group=self.group()))

    async def mend(self, directory: str, owner: str) -> None:
        """Have the archive command again where Cassandra would call it in vain. `owner`: for whom the directory is
        marked before (it was ordered by an agent that made no mark: the command would fail there), "" = it has its
        mark. Raises ArchivingRefused."""
        if not await asyncio.to_thread(self.is_named, directory):
            return
        if owner:
            await self.have_directory(directory, [owner], marked=False)
        await asyncio.to_thread(lambda: install(self.program, self.group()))

    def offered(self) -> list[str]:
        """Segments that the archive command was called for, and of which the agent hasn't taken note. Blocks."""
        return offers(self.program)

    def differing(self) -> list[str]:
        """Segments under whose names other bytes were found in the archive directory. Blocks."""
        return differing(self.program)

    def failed(self) -> list[str]:
        """Segments that could not be archived at least once. Blocks."""
        return failures(self.program)
