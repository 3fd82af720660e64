"""What tells Cassandra how to start for the replay, tried before anything is stopped. In: files, the asked tables. Out:
nothing, or an error.

PIT_PLACE writes them when the node's own files are set aside: what can't be written shall be known while it serves.
"""

import asyncio
from pathlib import Path

import msgspec

from agent.cassandra.commit_log.archive_command import is_installed
from agent.cassandra.jvm_options import REPLAY_LIST, JvmOptions
from agent.jobs.point_in_time.point_errors import SettingsNotWritable, TooManyTables
from agent.wire.node import Tables
from kit.atomic_files import try_to_write

NO_CLIENTS = "-Dcassandra.start_native_transport=false"
"""With it Cassandra starts without native transport [X: CassandraDaemon]."""
_LONGEST_OPTION = 98_304
"""Bytes. Linux takes 131,072 for one argument or one variable of the environment (MAX_ARG_STRLEN); cassandra-env.sh may
put all options into one variable."""


class StartSettings(msgspec.Struct, frozen=True):
    """`properties_file`: the commitlog_archiving.properties that Cassandra reads; `program`: the archive command."""

    jvm: JvmOptions
    properties_file: Path
    program: Path

    async def refuse_unsettable(self, tables: Tables, *, force: bool) -> None:
        """What is tried goes again. Raises `ServiceNotConfigured`, `TooManyTables`, `SettingsNotWritable`."""
        longest = max(len(line.encode()) for line in jvm_lines(tables, force=force))
        if longest > _LONGEST_OPTION:
            count = sum(len(names) for names in tables.values())
            raise TooManyTables(
                f"the names of {count} tables make an option of {longest:,} bytes; Cassandra's start takes "
                f"{_LONGEST_OPTION:,}",
                tables=count,
                bytes=longest,
                limit=_LONGEST_OPTION,
            )
        options = self.jvm.refuse_unconfigured()
        for path, must in ((options, True), (self.properties_file, False), (self.program, False)):
            if path == self.program and await asyncio.to_thread(is_installed, path):
                continue
            try:
                await asyncio.to_thread(_try, path, must)
            except OSError as error:
                reason = error.strerror or str(error)
                told = f"the agent's user can't read and replace {path}: {reason}"
                raise SettingsNotWritable(told, path=str(path), reason=reason) from None


def jvm_lines(tables: Tables, *, force: bool) -> list[str]:
    """The JVM options of the start that replays. Names were checked: none has a comma, a dot or a space."""
    names = [f"{keyspace}.{table}" for keyspace, found in sorted(tables.items()) for table in sorted(found)]
    lines = [f"{REPLAY_LIST}{','.join(names)}", NO_CLIENTS]
    return [*lines, "-Dcassandra.commitlog.ignorereplayerrors=true"] if force else lines


def _try(path: Path, must: bool) -> None:
    if must or path.exists():
        path.read_bytes()
    try_to_write(path)
