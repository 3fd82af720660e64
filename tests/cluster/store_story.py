"""A story of a coordinator's state: in, a store; out, what each chapter leaves in it, as its readers see it.

A chapter is one write. Whatever dies in it, the state is afterwards as before it or as after it, for every reader
alike; told once more, it changes nothing but what it had not changed yet.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from coordinator.model.access import Role
from coordinator.model.requests import NodePart, RequestKind, RequestState
from coordinator.model.retention import KeptRule, Rule
from coordinator.store.keeping import KEEP_ACTIVITY_SECONDS, KEEP_DETAILS_SECONDS
from coordinator.store.protocol import Store
from tests.cluster.large_cluster import LargeCluster
from tests.cluster.store_contract_people import schedule, session, user, waiting
from tests.cluster.store_samples import AT, CLUSTER, NOW, TAG, command, event, place, request

Chapter = Callable[[Store], Awaitable[object]]
PLAN = {"plan": msgspec.to_builtins(LargeCluster(40, 256, 8).plan())}
"""Too large for a row."""

_ENDED = request("r1", state=RequestState.SUCCESS, finished=NOW + 5, started=NOW)
_LATER = NOW + 2 * KEEP_ACTIVITY_SECONDS
_COPY = request("r2", kind=RequestKind.SYNC, started=NOW + 9)

STORY: Sequence[Chapter] = (
    lambda store: store.destinations.put(place("d1")),
    lambda store: store.destinations.put(place("d2")),
    lambda store: store.retention.put(
        [KeptRule(CLUSTER, each, by, Rule(age=1)) for each in ("d1", "d2") for by in ("", "adhoc")]
    ),
    lambda store: store.requests.create(request("r1"), [event("r1", place("d1")), event("r1")]),
    lambda store: store.requests.record_steps("r1", {"scope": PLAN, "verdict": {"n": 1}}),
    lambda store: store.commands.put([command("c1"), command("c2", cancel_owed=True)]),
    lambda store: store.requests.update(request("r1", message="going on")),
    lambda store: store.requests.ask_cancel("r1", force=False),
    lambda store: store.requests.record_steps("r1", {"scope": {"n": 2}, "verdict": {"n": 2}}),
    lambda store: store.requests.finish(
        _ENDED,
        [NodePart("127.0.70.1", "h1", "c1", RequestState.SUCCESS)],
        [event("r1", place("d1"), "success"), event("r1", None, "success")],
        ["d1"],
    ),
    lambda store: store.requests.create(_COPY, [event("r2", place("d2"), at=AT + 9)]),
    lambda store: store.requests.mark_deleted(CLUSTER, TAG, "OPSC_ON_SERVER", AT + 7),
    lambda store: store.commands.put([command("c2")]),
    lambda store: store.values.put("seen", [1]),
    lambda store: store.destinations.remove(CLUSTER, "d2"),
    lambda store: store.destinations.put(place("d1", 2)),
    lambda store: store.schedules.put(schedule("s1")),
    lambda store: store.schedules.put(schedule("s1", 2), [KeptRule(CLUSTER, "d1", "s1", Rule(count=3))]),
    lambda store: store.users.add(user("ada")),
    lambda store: store.users.replace(user("ada"), user("ada", Role.READ), admin_stays=False),
    lambda store: store.sessions.put(session("k1", _LATER)),
    lambda store: store.sessions.saw("k1", NOW + 5),
    lambda store: store.outbox.put([waiting(name, hook) for name in "ab" for hook in ("ops", "other")]),
    lambda store: store.outbox.postpone("ops", "a", 2, NOW + 9),
    lambda store: store.outbox.done("ops", "a"),
    lambda store: store.outbox.put([waiting("c"), waiting("a")]),
    lambda store: store.outbox.keep_newest("other", 1),
    lambda store: store.schedules.remove(CLUSTER, "s1"),
    lambda store: store.users.replace(user("ada", Role.READ), None, admin_stays=False),
    lambda store: store.sessions.remove("k1"),
    lambda store: store.outbox.prune(NOW + 1, ["ops"]),
    lambda store: store.prune(NOW + KEEP_DETAILS_SECONDS + 60),
    lambda store: store.prune(NOW + KEEP_ACTIVITY_SECONDS + 60),
)

PRUNED = len(STORY) - 2
"""From this chapter on it is pruned: record by record, not all of them at once."""


async def told(store: Store) -> dict[str, Any]:
    """Everything that the store's readers see."""
    found = await store.requests.find()
    names = ("r1", "r2")
    return {
        "requests": found,
        "got": [await store.requests.get(name) for name in names],
        "running": await store.requests.find(state=RequestState.RUNNING),
        "tagged": await store.requests.find(cluster=CLUSTER, tag=TAG),
        "syncs": await store.requests.find(cluster=CLUSTER, kind=RequestKind.SYNC),
        "events": await store.requests.events(CLUSTER),
        "own events": [await store.requests.events_of(name) for name in names],
        "parts": [await store.requests.parts(name) for name in names],
        "steps": [await store.requests.step("r1", name) for name in ("scope", "verdict")],
        "commands": await store.commands.of("r1"),
        "got commands": [await store.commands.get(name) for name in ("c1", "c2")],
        "owed": await store.commands.cancels_owed(),
        "destinations": await store.destinations.all(CLUSTER),
        "rules": await store.retention.of(CLUSTER),
        "value": await store.values.get("seen"),
        "ended": await store.requests.ended_since(0.0),
        "schedules": [await store.schedules.of(CLUSTER), await store.schedules.get(CLUSTER, "s1")],
        "users": [await store.users.any(), await store.users.all(), await store.users.get("ada")],
        "session": await store.sessions.get("k1"),
        "first notices": [await store.outbox.first(hook) for hook in ("ops", "other")],
    }
