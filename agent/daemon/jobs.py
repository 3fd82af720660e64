"""Which job does which kind of command, and in which lane. In: the agent's parts. Out: the runner's registry."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.cassandra.node import CassandraNode
from agent.commands.runner import JobSpec
from agent.daemon.settings import AgentSettings
from agent.pipeline.digest_cache import DigestCache
from agent.repository.catalogue import RecordCache
from agent.repository.on_server import OnServer
from agent.repository.opened import Repositories
from agent.wire.commands import Kind

SNAPSHOT, DATA, RESTORE = "snapshot", "data", "restore"
"""Lanes: one command at a time in each. `data` is what holds the lock of the node's prefix (design §3.6)."""


@dataclass(frozen=True)
class Collaborators:
    """What jobs are made of."""

    node: CassandraNode
    repositories: Repositories
    on_server: OnServer
    records: RecordCache
    digests: DigestCache
    state: Path
    agent_id: str
    instance: str
    version: str
    settings: AgentSettings
    clock: Callable[[], float]


def jobs_of(parts: Collaborators) -> dict[Kind, JobSpec]:
    """Every kind's job."""
    return {}
