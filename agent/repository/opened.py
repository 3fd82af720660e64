"""The seam to the registry of destinations: in, a command's `Target`; out, an open repository ready for use.

Jobs ask a `Repositories` for what their command names; the registry reads the newest settings, opens the provider with
its wrappers, checks which repository is there, and closes it all again.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

from agent.crypto.keyring import Keyring
from agent.repository.documents import Documents
from agent.repository.form import Form, form_of
from agent.repository.holding import Lock
from agent.storage.protocol import OPEN, Gate, Storage
from agent.storage.throttle import Gates
from agent.wire.commands import Target

Waiting = Callable[[dict[str, Any] | None], None]
"""As `JobContext.waiting`: shows an error object on the command, or that it goes on."""


def silent(error: dict[str, Any] | None) -> None:
    """Shows nothing."""


@dataclass(frozen=True)
class OpenedRepository:
    """A destination as one command uses it.

    `gate`: the target's own limit, for every put and get of this command; the node's and the destination's are in the
    storage already. `streams`: concurrent requests that the destination's settings allow; how many of them run at a
    time is for the limits to say, as they are then (`Stream`). `keyring`: of an encrypted repository, None of a plain
    one. `lock`: of one under object lock.
    """

    destination_id: str
    storage: Storage
    repository_id: str
    cluster_id: str
    gate: Gate
    streams: int
    keyring: Keyring | None = None
    lock: Lock | None = None

    @cached_property
    def form(self) -> Form:
        """How objects are stored here."""
        return form_of(self.keyring, self.cluster_id)

    @property
    def documents(self) -> Documents:
        """Its plans, records, marks and intents, sealed where the repository is."""
        return Documents(self.storage, self.cluster_id, self.keyring)

    def limited(self, limit: Gate) -> "OpenedRepository":
        """The repository under the command's own limit as well; `OPEN` is none."""
        if limit is OPEN:
            return self
        return replace(self, gate=limit if self.gate is OPEN else Gates(limit, self.gate))


class Repositories(Protocol):
    """The agent's destinations."""

    def opened(self, target: Target, waiting: Waiting = silent) -> AbstractAsyncContextManager[OpenedRepository]:
        """The repository that `target` names, open for the block. While its keys are refused the command waits
        (`waiting` is the context's) for newer settings, at most the agent's patience; then `Denied`.

        Raises on entry `UnknownDestination`, `RepositoryMismatch` (repository.json has another id, or the cluster is
        not in it), `NotARepository`, `RepositoryFormatNewer`, or a `StorageError`.
        """
