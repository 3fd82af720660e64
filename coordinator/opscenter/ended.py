"""The status of a request that has ended. In: the request, and its nodes' parts as the store keeps them. Out: the
status in pieces, each made when it is sent.

What a thousand nodes counted is half a second's work to unpack: who wants none of it, or one node's, doesn't wait for
it, and who wants all has the first byte before.
"""

from collections.abc import Iterator

from coordinator.model.requests import Request
from coordinator.model.table_counts import Layouts
from coordinator.opscenter.shapes import ShownPart, shown_parts
from coordinator.opscenter.streamed import status_pieces
from coordinator.opscenter.wanted import Wanted
from coordinator.store.kept_parts import bare, unpacked
from coordinator.store.protocol import Requests
from kit.slices import Slices


async def ended_status(requests: Requests, ended: Request, wanted: Wanted, destination: str | None) -> Iterator[bytes]:
    """Its pieces; of the nodes together its message tells. Raises `InvalidArguments`."""
    if not wanted.details:
        return status_pieces(ended, (), None)
    kept = await requests.kept_parts(ended.id)
    if wanted.node is not None:
        kept = await _of_node(kept, wanted)
    return status_pieces(ended, (), _each(kept, destination))


async def _of_node(kept: list[bytes], wanted: Wanted) -> list[bytes]:
    slices = Slices()
    for data in kept:
        if wanted.names(bare(data)):
            return [data]
        await slices.pause()
    raise wanted.no_such_node()


def _each(kept: list[bytes], destination: str | None) -> Iterator[ShownPart]:
    layouts = Layouts()
    for data in kept:
        yield from shown_parts([unpacked(data, layouts)], destination)
