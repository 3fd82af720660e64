"""An entry of the activity log: one per request and destination."""

from typing import Any, Literal

import msgspec


class ActivityEvent(msgspec.Struct, frozen=True):
    """What happened to the backup `tag` at one destination. Identity: `request` + `destination["id"]`.

    `type`: backup (also of a sync, which makes a backup there), restore, delete. `destination`: as
    `coordinator.model.destinations.description` gives it, kept because the settings may be forgotten. `event_time`,
    `deleted_at`: unix seconds. `status`: running, success, error, cancelled; `partial` beside error.
    """

    cluster: str
    request: str
    type: Literal["backup", "restore", "delete"]
    tag: str
    destination: dict[str, Any]
    event_time: int
    status: str
    keyspaces: dict[str, list[str]] = {}
    partial: bool = False
    deleted_at: int | None = None
