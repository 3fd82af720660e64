"""The parts of a running request's nodes, told again and again. In: its commands, and what is known of them now. Out:
one part per node; made anew only of those nodes of which anything has changed since it was asked last.

Consoles ask every few seconds, and of a thousand nodes few have reported in between: to make the parts of all of them
each time would be most of what an answer costs, and while it is made it waits behind the reports of all others.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import is_
from typing import NamedTuple

from coordinator.fleet.reports import Live, Told
from coordinator.model.commands import PostedCommand
from coordinator.model.requests import NodePart, Request, order_of
from coordinator.model.table_counts import TableCounts
from coordinator.orchestrate.parts import as_it_waits, by_host, lasting_part, place_of
from kit.slices import Slices


class _Known(NamedTuple):
    """A node's part, and all that it was made of: what changes is another object then."""

    commands: Sequence[PostedCommand]
    lives: Sequence[Live | None]
    retried: bool
    part: NodePart


class KnownParts:
    """Of one request."""

    def __init__(self) -> None:
        self._made_for: Request | None = None
        self._known: dict[str, _Known] = {}

    async def now(
        self, request: Request, commands: Iterable[PostedCommand], reports: Told, retrying: Mapping[str, str]
    ) -> list[NodePart]:
        """Each node's part, by address, as `parts_of` makes it, while the event loop turns: `reports` must be those of
        one moment."""
        former, self._made_for = self._made_for, request
        if former is None or former.state is not request.state or former.spec is not request.spec:
            self._known = {}
        known, order, retrying = self._known, order_of(request), dict(retrying)
        parts, slices = list[NodePart](), Slices()
        for posted in by_host(order, commands):
            current = posted[-1]
            lives, retried = [reports.live(command.id) for command in posted], current.id in retrying
            before = known.get(current.host_id)
            if before is None or not _same(before, posted, lives, retried=retried):
                part = lasting_part(request, order, posted, reports, retrying)
                for counts in part.progress.values():
                    if isinstance(counts, TableCounts):
                        counts.sum_up()  # here, where the loop turns
                before = known[current.host_id] = _Known(posted, lives, retried, part)
            parts.append(as_it_waits(before.part, current, reports, retrying))
            await slices.pause()
        return sorted(parts, key=place_of)


def _same(known: _Known, commands: Sequence[PostedCommand], lives: Sequence[Live | None], *, retried: bool) -> bool:
    return (
        known.retried == retried
        and len(known.commands) == len(commands)
        and all(map(is_, known.commands, commands))
        and all(map(is_, known.lives, lives))
    )
