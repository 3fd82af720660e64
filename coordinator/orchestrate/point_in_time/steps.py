"""What is noted durably of a job that stops nodes, by the names of its steps. In: the store. Out: all that is noted, to
be kept on the agents too."""

from typing import Any

from coordinator.orchestrate.restore.job_steps import IRREVOCABLE, JobSteps
from coordinator.orchestrate.restore.sent_once import SENT
from coordinator.store.protocol import Store

SCOPE = "scope"
VERDICT = "verdict"
FETCHED = "fetched"
VIEWS_DROPPED = "views_dropped"
TABLES_MADE = "tables_made"
HANDED_OVER = "handed_over"
"""From here on the agents' documents are the truth, not the shared state. `fence`: of who handed it over."""
FROM_FENCE = "from_fence"
"""Of single requests, in the shared state: `fence` is the document's at which the request came to carry the job. What
has a higher one came after it, whatever coordinators' clocks say."""
STOPPING = "stopping"
"""From here on nodes don't serve as they did, until they are undone or opened. `at`: when, unix seconds; so has
`OPENED`."""
QUIESCED = "quiesced"
STOPPED = "stopped"
COVERED = "covered"
PLACED = "placed"
STARTED = "started"
"""Of single nodes: they run with what was placed."""
VERIFIED = "verified"
OPENING = "opening"
"""From here on clients write to what was restored: nobody goes back over that."""
OPENED = "opened"
VIEWS_MADE = "views_made"
CLEANED = "cleaned"
"""Of single nodes: nothing of the job is left there."""
UNDOING = "undoing"
"""The job is being undone, or was: it never goes forward again."""
UNDONE = "undone"
"""Of single nodes: they have their old data again."""
LEFT_DOWN = "left_down"
"""Of those: they were left as they are, up or down, for another restore has them."""

_TALES = {VERDICT: ("nodes", "without"), PLACED: ("placed", "set_aside"), VERIFIED: ("replayed",)}
"""By step, the fields that nobody goes on by."""
_ALL = (
    SCOPE, VERDICT, FETCHED, VIEWS_DROPPED, TABLES_MADE, HANDED_OVER, STOPPING, QUIESCED, STOPPED, COVERED, IRREVOCABLE,
    PLACED, STARTED, VERIFIED, OPENING, OPENED, VIEWS_MADE, CLEANED, UNDOING, UNDONE, LEFT_DOWN, SENT,
)  # fmt: skip


async def noted_steps(store: Store, job: str) -> dict[str, dict[str, Any]]:
    """Every step of the job that is noted, taken back or not; without what single nodes told only for people to see,
    for each of a thousand agents is to keep it."""
    found = {name: await store.requests.step(job, name) for name in _ALL}
    return {name: _without_tales(name, data) for name, data in found.items() if data is not None}


def _without_tales(step: str, data: dict[str, Any]) -> dict[str, Any]:
    return {**data, **{name: {} for name in _TALES.get(step, ()) if name in data}}


async def hosts_of(steps: JobSteps, step: str) -> list[str]:
    """The host ids that a step of single nodes has by now."""
    noted = await steps.step(step)
    return [] if noted is None else [str(host_id) for host_id in noted["hosts"]]


async def add_host(steps: JobSteps, step: str, host_id: str) -> None:
    """Note a step of a single node; durable when it returns."""
    await steps.note(step, hosts=sorted({*await hosts_of(steps, step), host_id}))
