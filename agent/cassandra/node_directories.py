"""Where the node keeps its data and commit log. In: the settings, else the node's own word. Out: paths."""

import asyncio
import os
from collections.abc import Iterable, Sequence

from agent.cassandra.directories import parse_setting
from agent.cassandra.errors import DataDirectoriesDiffer, NoDataDirectories
from agent.cassandra.node_view import NodeView
from agent.cassandra.settings import CassandraSettings
from agent.plan.segment_names import parse_segment
from kit.together import together


class NodeDirectories:
    """Where the node keeps its data: the settings' word, else what the node said when it was asked last. Either may be
    out of date once Cassandra was started with another cassandra.yaml: who takes a snapshot calls `renew` first."""

    def __init__(self, settings: CassandraSettings, view: NodeView) -> None:
        self._listed = tuple(settings.data_directories)
        self._view = view
        self._told: tuple[str, ...] = ()
        self._system: str | None = None
        self._commitlog = settings.commitlog_directory

    async def data(self) -> tuple[str, ...]:
        """The data directories of ordinary tables, in the node's order; asked once. Raises `NoDataDirectories`."""
        if not self._listed and not self._told:
            await self._ask()
        return self._listed or self._told

    async def fresh(self) -> tuple[str, ...]:
        """As `data`, and asked anew unless the settings name them."""
        if not self._listed:
            await self._ask()
        return await self.data()

    async def every(self) -> tuple[str, ...]:
        """Those of `data`, and last the one of the local system keyspaces where they have their own
        (`local_system_data_file_directory`). Nothing is ever imported into that one."""
        data = await self.data()
        if self._system is None:
            await self._ask()
        return (*data, self._system) if self._system and self._system not in data else data

    async def renew(self) -> tuple[str, ...]:
        """As `every`, asked anew. Raises `DataDirectoriesDiffer` when the settings leave out one that the node has: its
        files would be missing in every backup."""
        await self._ask()
        if self._listed:
            unlisted = await asyncio.to_thread(_not_among, self._told, self._listed)
            if unlisted:
                raise DataDirectoriesDiffer(
                    f"the node has data directories that `cassandra.data_directories` lacks: {', '.join(unlisted)}",
                    directories=unlisted,
                    configured=list(self._listed),
                )
        return await self.every()

    async def commitlog(self) -> str:
        """The commit-log directory, "" when the node does not name it."""
        if not self._commitlog:
            self._commitlog = await self._view.setting("commitlog_directory") or ""
        return self._commitlog

    async def _ask(self) -> None:
        data, system = await together(
            self._view.setting("data_file_directories"), self._view.setting("local_system_data_file_directory")
        )
        told = parse_setting(data or "")
        if not told:
            raise NoDataDirectories("the node does not name its data directories")
        self._told, self._system = told, system or ""


def _not_among(directories: Iterable[str], listed: Sequence[str]) -> list[str]:
    return [path for path in directories if not any(_is_same(path, one) for one in listed)]


def _is_same(one: str, other: str) -> bool:
    """Whether two paths lead to one directory: a link, or the volume mounted at a second place, is the same one."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.normpath(one) == os.path.normpath(other)


def newest_closed_segment(directory: str) -> str | None:
    """The name of the newest commit-log segment that is certainly closed. The newest of all may be one that was
    allocated ahead and the one before it the active one, and ids of one life of Cassandra are consecutive: so it is the
    one two below the newest. Cassandra may have deleted it already (or never had it: no write is older then). None when
    there is no segment, or the directory can't be read."""
    try:
        names = os.listdir(directory)
    except OSError:
        return None
    newest = max(filter(None, map(parse_segment, names)), default=None)
    return newest.neighbour(-2).file_name if newest is not None else None
