"""How archiving of the commit log is put together. In: the agent's parts. Out: the archiver and the jobs around it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from agent.cassandra.errors import CassandraError
from agent.cassandra.node import CassandraNode
from agent.cassandra.rights import cassandra_account, own_account, shared_group
from agent.cassandra.schema_capture import capture_schema
from agent.cassandra.settings import CassandraSettings
from agent.jobs.archiving.archive import ArchiveJob
from agent.jobs.archiving.archiver import Archiver
from agent.jobs.archiving.node_side import NodeSide
from agent.jobs.archiving.trim import TrimLogsJob
from agent.jobs.schema_history.kept import KeptHistory
from agent.jobs.schema_history.watcher import SchemaWatcher
from agent.model.job import Job
from agent.model.snapshot import KeyspaceSchema
from agent.repository.intents import Writer
from agent.repository.opened import Repositories
from agent.wire.commands import Kind

COMMAND = "archive-commitlog"
_OWN = ("hints_directory", "saved_caches_directory", "cdc_raw_directory")


def archiver_of(
    settings: CassandraSettings,
    node: CassandraNode,
    state: Path,
    repositories: Repositories,
    clock: Callable[[], float],
) -> Archiver:
    """`repositories`: patient, so that changed keys are taken. Raises StateFailed when what was ordered can't
    be read."""
    archiving = settings.archiving

    async def setting(name: str) -> str | None:
        return await node.view.setting(name)

    async def own_directories() -> list[str]:
        known = [*settings.data_directories, settings.commitlog_directory]
        try:
            known += [*await node.directories.every(), await node.directories.commitlog()]
            known += [await node.view.setting(name) or "" for name in _OWN]
        except CassandraError:
            pass  # it is down: what the settings name counts
        return list(dict.fromkeys(filter(None, known)))

    side = NodeSide(
        properties_file=Path(archiving.properties_file) if archiving.properties_file else None,
        program=Path(archiving.command) if archiving.command else state / COMMAND,
        directory=archiving.directory,
        leftover_bytes=archiving.leftover_bytes,
        life=node.view.life,
        commitlog=node.directories.commitlog,
        flush=node.orders.flush,
        setting=setting,
        own_directories=own_directories,
        group=lambda: _group(settings),
    )
    return Archiver(state, side, repositories, clock)


def watcher_of(
    node: CassandraNode, archiver: Archiver, state: Path, repositories: Repositories, clock: Callable[[], float]
) -> SchemaWatcher:
    """What watches the schema while the archiver archives. `repositories` must not be patient. Raises StateFailed when
    its history can't be read."""
    kept = KeptHistory(state)
    kept.load()

    async def capture(keyspaces: Sequence[str]) -> tuple[KeyspaceSchema, ...]:
        return await capture_schema(node.cql, keyspaces)

    watcher = SchemaWatcher(kept, node.view, capture, lambda: archiver.order, repositories, clock)
    archiver.keep_history(kept, watcher.look_now)
    return watcher


def archiving_jobs(
    archiver: Archiver,
    repositories: Repositories,
    writer: Writer,
    ring: Callable[[], Awaitable[Mapping[str, str]]],
    clock: Callable[[], float],
) -> dict[Kind, Job]:
    """The order, and freeing what no backup needs."""
    return {
        Kind.ARCHIVE: ArchiveJob(archiver, repositories, clock).run,
        Kind.TRIM_LOGS: TrimLogsJob(archiver, repositories, writer, ring).run,
    }


def _group(settings: CassandraSettings) -> int | None:
    """A group by which Cassandra's user may write what the agent makes; None where they are one user. Blocks."""
    if not settings.data_directories:
        return None
    mine = own_account()
    theirs = cassandra_account(settings.data_directories[0], settings.run_as)
    if mine.uid in (theirs.uid, 0):
        return min(theirs.groups, default=None) if mine.uid == 0 and theirs.uid else None
    return shared_group(mine, theirs, -1)
