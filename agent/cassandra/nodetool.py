"""`NodeOrders` by nodetool. In: checked names. Out: what happened, after exit code and output were looked at.

A JVM start costs 0.7 s, so each order is one call: a snapshot names all its tables, a clear all keyspaces.
"""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from agent.cassandra.child import Ended, own_environment, run_child
from agent.cassandra.errors import (
    CassandraDenied,
    CassandraError,
    CassandraUnavailable,
    ImportFailed,
    NodetoolFailed,
    NodetoolKilled,
    NodetoolMissing,
    NodetoolTimeout,
    SnapshotExists,
    TableNotFound,
)
from agent.cassandra.protocol import MemberState
from agent.cassandra.settings import NodetoolSettings
from agent.wire.node import Tables
from kit.config import secret_path

_ARGUMENT_BYTES = 100_000
"""Linux takes 128 KiB in one argument; a longer list of tables is snapshotted in several calls with one tag."""

_KILLED = 128
"""Exit codes from here on are a shell's for a child that a signal ended; Python's own are negative."""

_SHOWN = 2000
_STATES = {"N": "NORMAL", "L": "LEAVING", "J": "JOINING", "M": "MOVING"}
_STATUS_LINE = re.compile(r"^([UD])([NLJM])\s+(\S+)\s", re.MULTILINE)
_HOST_ID = re.compile(r"^ID +: ([0-9a-f-]{36})$", re.MULTILINE)
_EXISTS = re.compile(r"Snapshot \S+ already exists|already exists")
_UNREACHABLE = re.compile(
    r"Failed to connect to|ConnectException|ConnectIOException|NoSuchObjectException|UnmarshalException|EOFException|"
    r"Connection reset|Broken pipe|connection has been closed|Has this node"
)
_DENIED = re.compile(
    r"SecurityException|Authentication failed|Access Denied|Invalid username|credentials", re.IGNORECASE
)


class Nodetool:
    """Orders by nodetool's command line, without a shell, each with a deadline."""

    def __init__(self, settings: NodetoolSettings) -> None:
        self._settings = settings

    async def snapshot(self, tag: str, tables: Tables, ttl_seconds: int | None) -> None:
        """See `NodeOrders.snapshot`. `--kt-list` takes real names without quotes [T]."""
        ttl = [] if ttl_seconds is None else ["--ttl", f"{max(ttl_seconds, 60)}s"]
        for listed in _lists(tables):
            ended = await self._run("snapshot", "--tag", tag, *ttl, "--kt-list", listed)
            if ended.exit_code != 0:
                raise self._failure("snapshot", ended, tag=tag)

    async def clear_snapshot(self, tag: str) -> None:
        """See `NodeOrders.clear_snapshot`. `-t` is the option's only form."""
        ended = await self._run("clearsnapshot", "-t", tag)
        if ended.exit_code != 0:
            raise self._failure("clearsnapshot", ended, tag=tag)

    async def import_sstables(self, keyspace: str, table: str, directories: Sequence[Path]) -> str:
        """See `NodeOrders.import_sstables`. Exit 0 is only given when no directory failed; caches are invalidated
        because --no-invalidate-caches is not given."""
        ended = await self._run(
            "import",
            "--no-tokens",
            "--",
            keyspace,
            table,
            *(str(directory) for directory in directories),
            deadline=self._settings.import_deadline_seconds,
        )
        if ended.exit_code != 0:
            failure = self._failure("import", ended, keyspace=keyspace, table=table)
            if isinstance(failure, NodetoolFailed):
                raise ImportFailed(
                    f"nodetool import refused SSTables of {keyspace}.{table}",
                    keyspace=keyspace,
                    table=table,
                    output=_shown(ended.output),
                )
            raise failure
        return ended.output

    async def members(self) -> dict[str, MemberState]:
        """See `NodeOrders.members`; from `nodetool status`."""
        ended = await self._run("status")
        if ended.exit_code != 0:
            raise self._failure("status", ended)
        found = {
            address: MemberState(up=up == "U", state=_STATES[state])
            for up, state, address in _STATUS_LINE.findall(ended.output)
        }
        if not found:
            raise self._failure("status", ended)
        return found

    async def host_id(self) -> str:
        """Who the node is that gets the orders; from `nodetool info`, whose further lines may fail."""
        ended = await self._run("info")
        found = _HOST_ID.search(ended.output)
        if found is None:
            raise self._failure("info", ended)
        return found[1]

    async def order(self, *order: str, deadline: float | None = None) -> str:
        """Another order than these; what it said. `deadline`: seconds, the settings' by default. Raises the error that
        exit code and output tell."""
        ended = await self._run(*order, deadline=deadline)
        if ended.exit_code != 0:
            raise self._failure(order[0], ended)
        return ended.output

    async def _run(self, *order: str, deadline: float | None = None) -> Ended:
        seconds = deadline or self._settings.deadline_seconds
        command = [*self._settings.command, *self._global_options(), *order]
        try:
            ended = await run_child(command, deadline=seconds, environment=own_environment())
        except TimeoutError:
            raise NodetoolTimeout(
                f"nodetool {order[0]} did not end within {seconds:.0f} s and was killed",
                command=order[0],
                deadline_seconds=seconds,
            ) from None
        except OSError as error:
            raise NodetoolMissing(
                f"{self._settings.command[0]} can't be started: {error.strerror}", command=self._settings.command[0]
            ) from None
        if ended.exit_code < 0 or ended.exit_code >= _KILLED:
            raise NodetoolKilled(
                f"nodetool {order[0]} was ended by a signal ({ended.exit_code}): whether Cassandra got the order, and "
                "what it made of it, is not known",
                command=order[0],
                exit=ended.exit_code,
                output=_shown(ended.output),
            )
        return ended

    def _global_options(self) -> list[str]:
        wanted = self._settings
        options = ["--host", wanted.host, "--port", str(wanted.port)]
        if wanted.username:
            options += ["--username", wanted.username]
        if wanted.password_file:
            place = secret_path(wanted.password_file, setting="cassandra.nodetool.password_file")
            options += ["--password-file", str(place)]
        if wanted.ssl:
            options.append("--ssl")
        return [*options, *wanted.arguments]

    def _failure(self, order: str, ended: Ended, **fields: object) -> CassandraError:
        output = _shown(ended.output)
        known: dict[str, object] = {**fields, "command": order, "exit": ended.exit_code, "output": output}
        said = (line for line in output.splitlines() if line.startswith(("error:", "nodetool:")))
        why = next(said, output[-200:])
        if order == "snapshot" and _EXISTS.search(output):
            return SnapshotExists(f"the node has a snapshot of that tag already: {fields.get('tag')}", **known)
        if "Unknown keyspace/cf pair" in output or "does not exist" in output:
            return TableNotFound(f"nodetool {order}: {why}", **known)
        if _DENIED.search(output):
            return CassandraDenied(f"Cassandra's JMX refused the agent's user in nodetool {order}", **known)
        if _UNREACHABLE.search(output):
            where = f"{self._settings.host}:{self._settings.port}"
            return CassandraUnavailable(f"nodetool can't reach Cassandra's JMX at {where}", **known)
        return NodetoolFailed(f"nodetool {order} ended with {ended.exit_code}: {why}", **known)


def not_startable(settings: NodetoolSettings) -> NodetoolMissing | None:
    """Why nodetool can't be started, looked up as it will be when it is run; None when it can."""
    program = settings.command[0]
    if shutil.which(program) is not None:
        return None
    if "/" not in program:
        reason = f"it is not on the PATH ({os.environ.get('PATH', os.defpath)})"
    elif Path(program).is_dir():
        reason = "it is a directory"
    elif os.path.exists(program):
        reason = "this user may not execute it"
    else:
        reason = "there is no such file, or this user can't see it"
    return NodetoolMissing(f"{program} can't be started: {reason}", command=program)


def _lists(tables: Tables) -> list[str]:
    """The tables as comma-separated lists that fit into an argument each."""
    lists: list[str] = []
    current: list[str] = []
    size = 0
    for keyspace, names in tables.items():
        for table in names:
            entry = f"{keyspace}.{table}"
            if current and size + len(entry) + 1 > _ARGUMENT_BYTES:
                lists.append(",".join(current))
                current, size = [], 0
            current.append(entry)
            size += len(entry) + 1
    if current:
        lists.append(",".join(current))
    return lists


def _shown(output: str) -> str:
    """What a person needs of nodetool's output: no Java stack, not too long. It never holds a password: nodetool gets
    only the name of the password file."""
    lines = [line for line in output.splitlines() if line.strip() and not line.startswith("\tat ")]
    return "\n".join(lines)[-_SHOWN:]
