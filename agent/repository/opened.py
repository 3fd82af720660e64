"""The seam to the registry of destinations: in, a command's `Target`; out, an open repository ready for use.

Jobs ask a `Repositories` for what their command names; the registry reads the newest settings, opens the provider with
its wrappers, checks which repository is there, and closes it all again.
"""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from agent.storage.protocol import Gate, Storage
from agent.wire.commands import Target


@dataclass(frozen=True)
class OpenedRepository:
    """A destination as one command uses it.

    `gate`: node's, destination's and the target's own limit, one after the other. `streams`: concurrent requests that
    the destination's settings and limits allow (each keeps at least 256 KiB/s).
    """

    destination_id: str
    storage: Storage
    repository_id: str
    cluster_id: str
    gate: Gate
    streams: int


class Repositories(Protocol):
    """The agent's destinations."""

    def opened(self, target: Target) -> AbstractAsyncContextManager[OpenedRepository]:
        """The repository that `target` names, open for the block.

        Raises on entry `UnknownDestination`, `RepositoryMismatch` (repository.json has another id, or the cluster is
        not in it), `NotARepository`, `RepositoryFormatNewer`, or a `StorageError`.
        """
