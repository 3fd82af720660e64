"""Which nodes' entries of a status are asked for. In: the query. Out: those parts."""

from aiohttp import web

from coordinator.model.errors import InvalidArguments
from coordinator.model.requests import NodePart
from coordinator.opscenter import quirks
from coordinator.opscenter.shapes import ShownPart


class Wanted:
    """Which nodes' entries of a status are asked for (ours): `details=0` none, `node` (an address or a host id) that
    one; else all."""

    def __init__(self, request: web.Request) -> None:
        self.details = quirks.as_bool(request.query.get("details"), "details", default=True)
        self.node = quirks.as_filter(request.query.get("node"), "node")
        if self.node is not None and not self.details:
            raise quirks.refuse("node", "asks for the details of a node, and details=0 for none")

    @property
    def whole(self) -> bool:
        """Whether it is all of them, which may be a hundred megabytes."""
        return self.details and self.node is None

    def of(self, shown: list[ShownPart]) -> list[ShownPart] | None:
        """Those that are asked for; None: not even an empty list. Raises `InvalidArguments`."""
        if self.node is None:
            return shown if self.details else None
        chosen = [each for each in shown if self.names(each.part)]
        if not chosen:
            raise self.no_such_node()
        return chosen

    def names(self, part: NodePart) -> bool:
        """Whether it is the part of the node that is asked for."""
        return self.node in (part.address, part.host_id)

    def no_such_node(self) -> InvalidArguments:
        """What to raise when no part is."""
        return quirks.refuse("node", f"takes no part in the request (yet): {quirks.shown(self.node or '')}")
