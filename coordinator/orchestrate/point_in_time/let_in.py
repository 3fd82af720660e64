"""Whether clients may write to what a restore to a point brought. In: what is noted of its job. Out: nothing, or the
error that ends a cancel."""

from coordinator.model.requests import Request
from coordinator.orchestrate.point_in_time import steps as S
from coordinator.orchestrate.point_in_time.errors import ClientsLetIn
from coordinator.orchestrate.restore.job_steps import JobSteps, job_of
from coordinator.store.protocol import Store


async def refuse_once_let_in(store: Store, request: Request) -> None:
    """Raise `ClientsLetIn` for a restore to a point that lets clients in: no cancel, forced or not, is taken."""
    if await JobSteps(store, job_of(request)).noted(S.OPENING):
        raise ClientsLetIn(
            "clients are let in to what was restored: it ends by itself, and nothing goes back over what they write",
            request=request.id,
        )
