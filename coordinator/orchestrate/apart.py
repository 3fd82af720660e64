"""Carrying out a job that stops nodes apart from the shared state, which those nodes may hold. In: a job as the agents
tell of it. Out: how it stands with the one of this process that carries it out, docs/decisions/0016.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from coordinator.model.commands import PostedCommand
from coordinator.model.requests import Request, RequestState

if TYPE_CHECKING:
    from coordinator.orchestrate.point_in_time.found_jobs import Found


class Own(msgspec.Struct, frozen=True):
    """A job that this process carries out, or has: the last request of it, its commands, and what is noted of its
    steps; of one that runs only the request."""

    request: Request
    commands: Sequence[PostedCommand] = ()
    steps: dict[str, dict[str, Any]] = {}

    @property
    def running(self) -> bool:
        """Whether it is under way."""
        return self.request.state is RequestState.RUNNING


class Apart(Protocol):
    """What goes on in this process whoever leads, and whether anybody does."""

    async def own(self, job: str) -> Own | None:
        """The job, if this process carries it out or has ended it; None also when another coordinator took it."""
        ...

    async def adopt(self, found: "Found", request: Request) -> None:
        """Go on with the job by that request, under a fence above the document's."""
        ...

    async def cancel(self, job: str, *, force: bool) -> None:
        """Ask the one that runs here to stop. Raises what `Orchestrator.cancel` raises."""
        ...
