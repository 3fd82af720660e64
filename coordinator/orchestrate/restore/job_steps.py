"""What is noted durably of a restore's job: names of steps in, what was noted of them out. A job is known by the id of
its first request; all requests that go on with it share its steps."""

from collections.abc import Awaitable, Callable
from typing import Any

from coordinator.model.requests import JOB, Request
from coordinator.store.protocol import Store

IRREVOCABLE = "irrevocable"
"""The step after which cancelling can't give back what was in the tables."""

EMPTIED = "emptied"
"""The step that holds the marks of the tables after the truncate ended or stopped, before the import begins."""

CHANGED = ("truncated", "schema_made", "import_begun")
"""The steps that say that an order which changes tables was carried out, or is being."""

TAKEN_BACK = "taken_back"
"""In what is noted of a step: it counts as not done."""


def job_of(request: Request) -> str:
    """The job that a restore's phases belong to: the id of the first request of it."""
    return str(request.result.get(JOB, request.id))


class JobSteps:
    """The steps of one job. `first`: done before each of them is noted."""

    def __init__(self, store: Store, job: str, first: Callable[[], Awaitable[None]] | None = None) -> None:
        self._store = store
        self.job = job
        self._first = first

    async def note(self, step: str, **data: Any) -> None:
        """Record a step, or replace what was noted of it; durable when it returns."""
        if self._first is not None:
            await self._first()
        await self._store.requests.record_step(self.job, step, data)

    async def note_decided(self, scope: dict[str, Any], verdict: dict[str, Any], *, schema_again: bool) -> None:
        """Replace what the job does, and whom with, all or nothing. `schema_again`: the schema counts as not made."""
        again = {"schema_made": {TAKEN_BACK: True}} if schema_again else {}
        await self._store.requests.record_steps(self.job, {"scope": scope, "verdict": verdict, **again})

    async def noted(self, step: str) -> bool:
        """Whether the step was done, and not taken back."""
        return await self.step(step) is not None

    async def step(self, step: str) -> dict[str, Any] | None:
        """What was noted of a step of the job; None also when it was taken back."""
        found = await self._store.requests.step(self.job, step)
        return None if found is None or found.get(TAKEN_BACK) else found

    async def take_back(self, step: str) -> None:
        """Let the step count as not done."""
        await self.note(step, **{TAKEN_BACK: True})

    async def imported(self, host_ids: list[str]) -> dict[str, Any]:
        """Host id → keyspace → table → Data files imported, of the nodes whose import ended well."""
        steps = {host_id: await self.step(f"imported/{host_id}") for host_id in host_ids}
        return {host_id: step.get("tables", {}) for host_id, step in steps.items() if step is not None}
