"""An entry of the activity log: one per request and destination."""

from typing import Any, Literal

import msgspec


class ActivityEvent(msgspec.Struct, frozen=True):
    """What happened to the backup `tag` at one destination. Identity: `request` + `destination["id"]`.

    `type`: backup (also of a sync, which makes a backup there), restore, delete, or scrub and archiving, whose `tag`
    is "".
    `destination`: as
    `coordinator.model.destinations.description` gives it, kept because the settings may be forgotten. `event_time`,
    `deleted_at`: unix seconds. `status`: running, success, error, cancelled; `partial` beside error. `rebuilt`: from
    what lies in the destination, after the coordinator's state was lost.
    """

    cluster: str
    request: str
    type: Literal["backup", "restore", "delete", "scrub", "archiving"]
    tag: str
    destination: dict[str, Any]
    event_time: int
    status: str
    keyspaces: dict[str, list[str]] = {}
    partial: bool = False
    deleted_at: int | None = None
    rebuilt: bool = False

    @property
    def live(self) -> bool:
        """Whether there is, or comes, something of a backup there. A cancelled one is undone, and of a failed one, if
        it isn't partial, no node's part is whole."""
        there = self.status in ("running", "success") or (self.status == "error" and self.partial)
        return self.type == "backup" and self.deleted_at is None and there


class ActivityQuery(msgspec.Struct, frozen=True):
    """Which entries of a cluster's activity log, and in which order. `timestamp` (unix seconds, inclusive): nothing
    after it when the newest come first, else nothing before it. `type`: "" = all. `live`: only what
    is (`ActivityEvent.live`). `successful`: only what succeeded. `first`: begin with the first entry of that tag among
    those, "" = with the first of all. `count`: at most so many, None = all."""

    newest_first: bool = False
    timestamp: int | None = None
    type: str = ""
    live: bool = False
    successful: bool = False
    first: str = ""
    count: int | None = None
