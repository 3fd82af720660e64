"""What the tests of stores keep in them: requests, events, commands, destinations.

`Site` opens the state as a fresh process finds it while earlier ones still have it open, as after kill -9.
"""

from typing import Any, Protocol

import msgspec

from agent.wire.commands import Kind
from agent.wire.destinations import S3Settings
from coordinator.model.activity import ActivityEvent
from coordinator.model.commands import PostedCommand
from coordinator.model.destinations import Destination, description
from coordinator.model.orders import BackupOrder, Copy
from coordinator.model.requests import Request, RequestKind, RequestState, spec_of
from coordinator.store.protocol import Store

NOW = 1_489_763_169.0
AT = int(NOW)
TAG = "opscenter_adhoc_2017-03-17-15-06-09-UTC"
CLUSTER = "Test_Cluster"


class Site(Protocol):
    """Where a state is kept; it closes what it opened."""

    async def open(self, now: float = NOW) -> Store: ...


def request(name: str = "r1", **changes: Any) -> Request:
    order = BackupOrder(tag=TAG, time=AT, keyspaces={"shop": []}, copies=[Copy("d1", 5)])
    made = Request(name, RequestKind.BACKUP, CLUSTER, RequestState.RUNNING, NOW, spec_of(order), tag=TAG)
    return msgspec.structs.replace(made, **changes)


def event(
    request_id: str = "r1",
    destination: Destination | None = None,
    status: str = "running",
    at: int = AT,
    tag: str = TAG,
) -> ActivityEvent:
    return ActivityEvent(CLUSTER, request_id, "backup", tag, description(destination), at, status)


def command(name: str, request_id: str = "r1", **changes: Any) -> PostedCommand:
    made = PostedCommand(
        name, request_id, "http://127.0.70.1:61621", "h1", "127.0.70.1", "snapshot", Kind.SNAPSHOT, {"tag": TAG}, 1, NOW
    )
    return msgspec.structs.replace(made, **changes)


def place(name: str = "d1", revision: int = 1, cluster: str = CLUSTER) -> Destination:
    return Destination(name, cluster, S3Settings(path="bucket", access_secret="s3cret"), revision, "repo", "cluster")


async def ended(store: Store, name: str, at: int) -> None:
    """A backup that began then and ended well five seconds later."""
    await store.requests.create(request(name, started=float(at)), [event(name, at=at)])
    done = request(name, started=float(at), state=RequestState.SUCCESS, finished=float(at + 5))
    await store.requests.finish(done, [], [event(name, status="success", at=at)])
