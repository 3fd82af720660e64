"""Archiving that this coordinator never ordered, or lost its state since: the agents know what they do. In: their
views. Out: the order that most of them follow, and whether any follows one at all.
"""

from collections.abc import Sequence

from agent.wire.archiving import ArchivingView
from coordinator.fleet.each import on_each
from coordinator.fleet.few import few
from coordinator.model.orders import ArchivingOrder, LogCopy
from coordinator.orchestrate.run import Surroundings


def told_order(views: Sequence[ArchivingView]) -> ArchivingOrder | None:
    """None: nobody archives. Where fewer than half of them do, it is off, and those few were not told so: had they come
    first, all the others would seem to have lost it."""
    orders = [_order(view) for view in views if view.enabled]
    if not orders:
        return None
    if 2 * len(orders) < len(views):
        return ArchivingOrder(False)
    return max(orders, key=orders.count)


async def any_archives(around: Surroundings, cluster: str, turn: int) -> bool:
    """Whether one of a few agents was told to archive; others are asked at each `turn`."""
    asked = few(around.registry.agents(cluster), turn)
    answers = await on_each(asked, lambda agent: agent.client.archiving())
    return any(isinstance(answer, ArchivingView) and answer.enabled for _, answer in answers)


def _order(view: ArchivingView) -> ArchivingOrder:
    """What an agent was once ordered; the limits of its targets are its own matter."""
    copies = [LogCopy(target.target.destination, target.compressed) for target in view.targets]
    return ArchivingOrder(True, copies, keep=view.keep, directory=view.directory, tail_seconds=view.tail_seconds)
