"""Where the node keeps its data and commit log. In: the settings, else the node's own word. Out: paths."""

import os
import re

from agent.cassandra.directories import parse_setting
from agent.cassandra.errors import NoDataDirectories
from agent.cassandra.node_view import NodeView
from agent.cassandra.settings import CassandraSettings

_SEGMENT = re.compile(r"CommitLog-\d+-(\d+)\.log")


class NodeDirectories:
    """Where the node keeps its data: the settings' word, else the node's own, asked once."""

    def __init__(self, settings: CassandraSettings, view: NodeView) -> None:
        self._settings = settings
        self._view = view
        self._data: tuple[str, ...] = tuple(settings.data_directories)
        self._commitlog = settings.commitlog_directory

    async def data(self) -> tuple[str, ...]:
        """The data directories, in the node's order. Raises `NoDataDirectories`."""
        if not self._data:
            self._data = parse_setting(await self._view.setting("data_file_directories") or "")
        if not self._data:
            raise NoDataDirectories("the node does not name its data directories")
        return self._data

    async def commitlog(self) -> str:
        """The commit-log directory, "" when the node does not name it."""
        if not self._commitlog:
            self._commitlog = await self._view.setting("commitlog_directory") or ""
        return self._commitlog


def newest_closed_segment(directory: str) -> str | None:
    """The newest commit-log segment that is certainly closed. The newest of all may be one that was allocated ahead and
    the one before it the active one, so it is the third; None when there are fewer, or the directory can't be read."""
    try:
        names = os.listdir(directory)
    except OSError:
        return None
    segments = sorted((int(found[1]), name) for name in names if (found := _SEGMENT.fullmatch(name)))
    return segments[-3][1] if len(segments) > 2 else None
