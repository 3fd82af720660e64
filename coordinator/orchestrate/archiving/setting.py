"""Which archiving is in force on a cluster, kept durably. In: orders that nodes took. Out: the newest of them."""

import msgspec

from agent.wire.destinations import ON_SERVER
from coordinator.model.archiving import ArchivingSetting
from coordinator.model.orders import ArchivingOrder, places_of
from coordinator.model.requests import Request, RequestKind, RequestState
from coordinator.store.protocol import Store


async def setting_of(store: Store, cluster: str) -> ArchivingSetting | None:
    """What is in force; None: nothing was ordered yet, or the coordinator lost its state since."""
    kept = await store.values.get(_name(cluster))
    return None if kept is None else msgspec.convert(kept, ArchivingSetting)


async def put_in_force(store: Store, cluster: str, order: ArchivingOrder, request: str) -> None:
    """Let an order be in force, durable when it returns. The places of the former one stay: segments lie there."""
    former = await setting_of(store, cluster)
    places = list(dict.fromkeys([*(former.places if former is not None else []), *places_of(order)]))
    await put_back(store, cluster, ArchivingSetting(order, request, places))


async def put_back(store: Store, cluster: str, setting: ArchivingSetting | None) -> None:
    """Let that be in force again which was before an order that no node took."""
    await store.values.put(_name(cluster), None if setting is None else msgspec.to_builtins(setting))


async def archives_to(store: Store, cluster: str, destination: str) -> str:
    """The request that brought the archiving which ships to the destination; "" when none does."""
    setting = await setting_of(store, cluster)
    if setting is None or not setting.order.enabled or destination == ON_SERVER:
        return ""
    return setting.request if destination in places_of(setting.order) else ""


async def changing(store: Store, cluster: str) -> Request | None:
    """The request that switches archiving on or off now."""
    found = await store.requests.find(cluster=cluster, kind=RequestKind.ARCHIVING, state=RequestState.RUNNING)
    return found[0] if found else None


def _name(cluster: str) -> str:
    return f"archiving of {cluster}"
