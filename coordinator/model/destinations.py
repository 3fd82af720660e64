"""A destination as the coordinator keeps it, and as people see it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from agent.wire.destinations import ON_SERVER, SECRET_FIELDS, Settings, masked, place_of


class Destination(msgspec.Struct, frozen=True):
    """`revision` grows with each change of the settings. `repository_id` and `cluster_id` are what the agents found or
    made there. `one_shot`: forgotten after the first backup or sync to it (OpsCenter's `delete_this` of an ad hoc
    destination). `made` unix seconds."""

    id: str
    cluster: str
    settings: Settings
    revision: int
    repository_id: str
    cluster_id: str
    one_shot: bool = False
    made: float = 0.0

    @property
    def shared(self) -> bool:
        """Every node sees the same store; else (a local directory per node) the backup is the union of the nodes'."""
        return self.settings.one_for_all


def attributes_of(settings: Settings) -> dict[str, Any]:
    """The settings as JSON data that people see, secrets masked. Encryption at rest is OpsCenter's false or true
    (AES256); another sort is named."""
    data: dict[str, Any] = msgspec.to_builtins(masked(settings))
    if "server_side_encryption" in data:
        sort = data["server_side_encryption"]
        data["server_side_encryption"] = {"": False, "AES256": True}.get(sort, sort)
    return data


def description(destination: Destination | None) -> dict[str, Any]:
    """The destination as an activity event shows it; None = the on-server place."""
    if destination is None:
        return {"id": ON_SERVER, "provider": "server", "path": ""}
    settings = attributes_of(destination.settings)
    return {
        **{name: value for name, value in settings.items() if name not in SECRET_FIELDS and name != "access_key"},
        "id": destination.id,
        "delete_this": str(destination.one_shot),
        "throttle_bytes_per_second": str(destination.settings.throttle_bytes_per_second),
    }


def place_shown(shown: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The place (`place_of`) of what `description` gave, which outlives the destination and its id; None where it tells
    of no store: on the nodes, or settings that were forgotten before."""
    known = {name: shown[name] for name in ("provider", "endpoint", "account", "path") if name in shown}
    try:
        return place_of(msgspec.convert(known, Settings))
    except msgspec.ValidationError:
        return None
