"""Where the backup lies that a restore to a point would begin from, and which other places have one. In: the order, and
the listings of all places. Out: places as a person puts them into an order, with the newest backup of before the point.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from agent.wire.destinations import ON_SERVER
from coordinator.fleet.each import on_each
from coordinator.model.destinations import Destination, description
from coordinator.model.orders import PointInTimeOrder
from coordinator.orchestrate.listing import Joined
from coordinator.orchestrate.places import Places
from coordinator.orchestrate.point_in_time.errors import NoSnapshot
from coordinator.orchestrate.point_in_time.scope import asked_tables
from coordinator.orchestrate.point_in_time.snapshots import candidates, first_after
from coordinator.orchestrate.point_in_time.unarchived import shown, told_off, unarchived_nodes
from coordinator.orchestrate.run import Surroundings
from kit.errors import HelenusError

log = structlog.get_logger(__name__)

_SHOWN = ("id", "provider", "path", "endpoint")


def shown_place(destination: Destination | None) -> dict[str, str]:
    """Id and place; None = on the nodes."""
    told = description(destination)
    return {name: str(told[name]) for name in _SHOWN if told.get(name) or name == "id"}


def told_place(place: Mapping[str, str]) -> str:
    """The same as a clause."""
    if place["id"] == ON_SERVER:
        return f"on the nodes ({ON_SERVER})"
    where = " ".join(place[name] for name in _SHOWN[1:] if place.get(name))
    return f"in the destination {place['id']} ({where})"


async def elsewhere(around: Surroundings, cluster: str, order: PointInTimeOrder) -> list[dict[str, Any]]:
    """Each other place that has a backup from before the point: `destination` as `shown_place`, and the `tag`. The
    nodes were not asked whether it fits. Places that can't be listed now are left out, and the log says so."""
    places = Places(around, cluster)
    known: list[Destination | None] = [None, *await around.store.destinations.all(cluster)]
    others = [place for place in known if (None if place is None else place.id) != order.destination]
    found = []
    for place, listed in await on_each(others, places.backups):
        if isinstance(listed, HelenusError):
            where = shown_place(place)["id"]
            log.info("a place can't be looked through for a point", cluster=cluster, place=where, **listed.as_dict())
            continue
        tags, _ = candidates(listed, order.pit_micros, asked_tables(order))
        if tags:
            found.append({"destination": shown_place(place), "tag": tags[0]})
    return found


def told_elsewhere(found: Sequence[Mapping[str, Any]]) -> str:
    """A clause of an error's message; "" = none."""
    told = [f"{each['tag']} lies {told_place(each['destination'])}" for each in found]
    return f"; from before it there is another backup: {', '.join(told)}; name that as `destination`" if told else ""


async def no_snapshot(
    around: Surroundings,
    cluster: str,
    order: PointInTimeOrder,
    listed: Mapping[str, Joined],
    passed_over: Mapping[str, str],
) -> NoSnapshot:
    """The error where no backup in the order's own place (`listed`) fits: with other places that have one, and with the
    nodes that don't archive, for which the next backup alone leads to no point either."""
    found = await elsewhere(around, cluster, order)
    without = await unarchived_nodes(around, cluster, order.pit_destination)
    first = first_after(listed, order.pit_micros, asked_tables(order))
    told = {"elsewhere": found, "nodes_without": shown(without), "warnings": told_off(without)}
    more = {name: value for name, value in told.items() if value}
    return NoSnapshot(order.pit_micros, dict(passed_over), first, told_elsewhere(found), **more)
