"""Until when a restore to a point can be cancelled. In: the steps of its job that are done. Out: nothing, or the error
that refuses the cancel. Pure."""

from collections.abc import Container

from coordinator.orchestrate.errors import PastThePointOfReturn
from coordinator.orchestrate.point_in_time import steps as S
from coordinator.orchestrate.point_in_time.errors import ClientsLetIn
from coordinator.orchestrate.restore.job_steps import IRREVOCABLE


def refuse_too_late(noted: Container[str], request_id: str, *, force: bool) -> None:
    """Raise `ClientsLetIn` when the restore can't be undone any more, `PastThePointOfReturn` when only by force."""
    if S.OPENING in noted:
        raise ClientsLetIn(
            "clients are let in to what was restored: it ends by itself, and nothing goes back over what they write",
            request=request_id,
        )
    if not force and IRREVOCABLE in noted:
        raise PastThePointOfReturn(
            "the nodes' data is being replaced; force gives every node its old data back and starts it",
            request=request_id,
        )
