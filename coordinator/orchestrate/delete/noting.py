"""Notes in the activity that a backup was deleted. In: its tag, and the place it was deleted from. Out: its entries
there marked, under whatever id the place was a destination.

A place that was removed and added again has a new id, and entries of before keep the old one: they are of this place if
they show the same store. A copy of a repository is another place, where the backup stays.

Safe to be cut off anywhere: an entry is marked once, and the delete that goes on marks what is left.
"""

from agent.wire.destinations import ON_SERVER, place_of
from coordinator.model.destinations import Destination, place_shown
from coordinator.store.protocol import Requests


async def note_deleted(requests: Requests, cluster: str, tag: str, place: Destination | None, at: int) -> None:
    """Mark them with `at` (unix seconds); place None = on the nodes."""
    ids = {ON_SERVER if place is None else place.id}
    if place is not None:
        store = place_of(place.settings)
        for request in await requests.find(cluster=cluster, tag=tag):
            for event in await requests.events_of(request.id):
                if event.type == "backup" and place_shown(event.destination) == store:
                    ids.add(str(event.destination["id"]))
    for each in sorted(ids):
        await requests.mark_deleted(cluster, tag, each, at)
