"""What an unset variable of a script leaves in an order or a question is refused by name."""

from typing import Any

import pytest

from tests.fast.coordinator.cluster_in_memory import ClusterInMemory, backup
from tests.fast.coordinator.conftest import NOW, Client
from tests.fast.coordinator.test_bad_input import PLACES, RESTORE, RUN, SYNC, TAG, C

EMPTY: list[tuple[str, str, Any, str]] = [
    ("DELETE", f"{C}/backups?tag={TAG}&destination=", None, "destination"),
    ("DELETE", f"{C}/backups?tag={TAG}", {"destination": ""}, "destination"),
    ("DELETE", f"{C}/backups", {"tag": TAG, "destination": ""}, "destination"),
    ("DELETE", f"{C}/backups?tag=&destination=OPSC_ON_SERVER", None, "tag"),
    ("DELETE", f"{C}/backups?tag={TAG}", {"tag": f"{TAG}x"}, "tag"),
    ("POST", RESTORE, {"destination": ""}, "destination"),
    ("POST", f"{RESTORE}/shop", {"destination": "", "truncate": True}, "destination"),
    ("POST", f"{RESTORE}/shop/users", {"destination": ""}, "destination"),
    ("POST", f"{RESTORE}/", {"truncate": True}, "ksname"),
    ("POST", f"{RESTORE}/shop/", {"truncate": True}, "cfname"),
    ("POST", RESTORE, {"keyspaces": [""]}, "keyspaces"),
    ("POST", RESTORE, {"keyspaces": {"": {}}}, "keyspaces"),
    ("POST", RESTORE, {"keyspaces": {"shop": {"column-families": [""]}}}, "keyspaces.shop.column-families"),
    ("POST", f"{RESTORE}/shop", {"column-families": [""]}, "column-families"),
    ("POST", RESTORE, {"excluded-nodes": [""]}, "excluded-nodes"),
    ("POST", RUN, {"keyspaces": ""}, "keyspaces"),
    ("POST", RUN, {"keyspaces": [""]}, "keyspaces"),
    ("POST", RUN, {"keyspaces": {"": []}}, "keyspaces"),
    ("POST", RUN, {"keyspaces": {"shop": [""]}}, "keyspaces.shop"),
    ("POST", RUN, {"keyspaces": {"shop": {"column-families": ""}}}, "keyspaces.shop"),
    ("POST", RUN, {"destinations": ""}, "destinations"),
    ("POST", RUN, {"destinations": [""]}, "destinations"),
    ("POST", RUN, {"destinations": {"": {}}}, "destinations"),
    ("POST", SYNC, {"tag": "", "destinations": ["x"]}, "tag"),
    ("POST", SYNC, {"tag": TAG, "destinations": [""]}, "destinations"),
    ("POST", PLACES, {"id": "", "provider": "local", "path": "/a"}, "id"),
    ("GET", f"{C}/backups?destination=", None, "destination"),
    ("GET", f"{C}/backups/shop?destination=", None, "destination"),
    ("GET", f"{C}/backups?match=", None, "match"),
    ("GET", f"{C}/backups?last_seen=", None, "last_seen"),
    ("GET", f"{C}/backups?amount=", None, "amount"),
    ("GET", f"{C}/backup-activity?filter_type=", None, "filter_type"),
    ("GET", f"{C}/backup-activity?first_backup_id=", None, "first_backup_id"),
    ("GET", f"{C}/backup-activity?timestamp=", None, "timestamp"),
    ("GET", f"{C}/backup-activity?count=", None, "count"),
]


@pytest.mark.parametrize(("method", "path", "body", "field"), EMPTY)
async def test_an_empty_value_is_never_taken_for_another_place_or_for_all(
    client: Client, cluster: ClusterInMemory, method: str, path: str, body: Any, field: str
) -> None:
    """As a script with an unset variable sends it: it must not delete, restore or list another copy."""
    cluster.backups["OPSC_ON_SERVER"] = [backup(TAG, NOW, {"shop": ["orders", "users"]})]
    status, told = await client.ask(method, path, **({} if body is None else {"json": body}))
    assert (status, told["type"], told["fields"]["field"]) == (400, "InvalidArguments", field), told
    assert cluster.orders == []
    if field == "destination":
        assert "OPSC_ON_SERVER" in told["message"]
