"""Promise: a bucket of Google's or a container of Azure's that locks what is put there is refused by that reason.

The emulators know neither retention policies nor immutability: a proxy in front of them answers the one question for a
bucket's properties as the clouds document it, everything else is the emulator's own answer.
"""

from collections.abc import Mapping

import pytest
from aiohttp import web

from agent.storage.opened import open_storage
from agent.storage.protocol import BucketLocked, BucketMissing
from agent.wire.destinations import Settings
from tests.cluster.azurite import Azurite, azure_settings
from tests.cluster.gcs_stores import FakeGcs, gcs_settings_for
from tests.cluster.stores import BUCKET
from tests.real.storage.fault_proxy import FaultProxy

CONTAINER = {"ETag": '"1"', "Last-Modified": "Sat, 28 Nov 2026 12:00:00 GMT", "x-ms-version": "2021-12-02"}


class Properties(FaultProxy):
    """Answers what a bucket is like: with these JSON fields (Google), or headers (Azure)."""

    told: Mapping[str, object] = {}
    status = 200

    async def own_answer(self, request: web.BaseRequest) -> web.Response | None:
        path = request.path.rstrip("/")
        if path == f"/storage/v1/b/{BUCKET}":
            return web.json_response(dict(self.told), status=self.status)
        if path.endswith(f"/{BUCKET}") and request.query.get("restype") == "container" and "comp" not in request.query:
            return web.Response(status=self.status, headers={**CONTAINER, **{k: str(v) for k, v in self.told.items()}})
        return None


async def examined(settings: Settings) -> None:
    store = open_storage(settings, roots=[], conditional_create=True)
    try:
        await store.examine()
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"retentionPolicy": {"retentionPeriod": "604800", "isLocked": True}}, "retention policy of 7 days"),
        ({"defaultEventBasedHold": True}, "hold on every object"),
    ],
)
async def test_a_bucket_of_googles_that_locks_is_refused(gcs: FakeGcs, told: dict[str, object], reason: str) -> None:
    """Promise: a retention policy and a default hold are told by name."""
    async with Properties(gcs.endpoint, "127.0.20.31") as proxy:
        proxy.told = told
        with pytest.raises(BucketLocked, match=reason):
            await examined(gcs_settings_for(gcs, endpoint=proxy.endpoint))


async def test_a_bucket_of_googles_without_is_taken(gcs: FakeGcs) -> None:
    """Promise: a plain bucket is taken, also where the credentials may not ask what it is like; a missing one isn't."""
    await examined(gcs_settings_for(gcs))
    async with Properties(gcs.endpoint, "127.0.20.31") as proxy:
        proxy.status, proxy.told = 403, {"error": {"errors": [{"reason": "forbidden"}], "message": "no"}}
        await examined(gcs_settings_for(gcs, endpoint=proxy.endpoint))
    with pytest.raises(BucketMissing):
        await examined(gcs_settings_for(gcs, path="no-such-bucket"))


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"x-ms-has-immutability-policy": "true", "x-ms-has-legal-hold": "false"}, "immutability policy"),
        ({"x-ms-has-immutability-policy": "false", "x-ms-has-legal-hold": "true"}, "legal hold"),
    ],
)
async def test_a_container_that_locks_is_refused(azurite: Azurite, told: dict[str, object], reason: str) -> None:
    """Promise: an immutability policy and a legal hold are told by name."""
    async with Properties(azurite.endpoint, "127.0.20.32") as proxy:
        proxy.told = told
        with pytest.raises(BucketLocked, match=reason):
            await examined(azure_settings(azurite, endpoint=proxy.endpoint))


async def test_a_container_without_is_taken(azurite: Azurite) -> None:
    """Promise: a plain container is taken, also where the credentials may not ask about it; a missing one isn't."""
    await examined(azure_settings(azurite))
    async with Properties(azurite.endpoint, "127.0.20.32") as proxy:
        proxy.status = 403
        await examined(azure_settings(azurite, endpoint=proxy.endpoint))
    with pytest.raises(BucketMissing):
        await examined(azure_settings(azurite, path="no-such-container"))
