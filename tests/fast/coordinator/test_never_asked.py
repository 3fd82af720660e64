"""Attack row A06 at the coordinator: whatever endpoint a caller names for a destination, the coordinator itself asks
nobody; agents do, behind their own rules."""

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.touched import touched
from tests.fast.coordinator.access_site import BEARER, PLACE, site

PLACES = "/Test_Cluster/backups/destinations"
KEYS = {"access_key": "AK", "access_secret": "the secret"}


@pytest.mark.parametrize(
    "body",
    [
        {"provider": "s3", "path": "bucket", "endpoint": "http://169.254.169.254", **KEYS},
        {"provider": "s3", "path": "bucket", "endpoint": "http://[fd00:ec2::254]", **KEYS},
        {"provider": "s3", "path": "bucket", "endpoint": "http://127.0.0.1:8888", **KEYS},
        {"provider": "s3", "path": "bucket", "endpoint": "http://zq7xmark.test", **KEYS},
        {"provider": "gcs", "path": "bucket", "endpoint": "http://zq7xmark.test"},
        {"provider": "azure", "path": "bucket", "account": "acme", "endpoint": "http://zq7xmark.test/acme"},
        {"provider": "s3", "path": "bucket", "endpoint": "file:///etc/passwd", **KEYS},
        {"provider": "s3", "path": "bucket", "endpoint": "gopher://zq7xmark.test", **KEYS},
    ],
)
async def test_no_endpoint_has_the_coordinator_ask_anybody(tmp_path: Path, body: dict[str, Any]) -> None:
    """Promise: adding, changing, showing and using such a destination looks up no name and connects to nothing; another
    scheme than http and https is refused."""
    async with site(tmp_path) as served:
        with touched() as did:
            status, told = await served.ask("POST", PLACES, json=body, headers=BEARER)
            assert status == (200 if body["endpoint"].startswith("http:") else 400), told
            await served.ask("POST", PLACES, json={**body, "id": PLACE}, headers=BEARER)
            for path in (PLACES, f"/Test_Cluster/backups?destination={PLACE}"):
                await served.ask("GET", path, headers=BEARER)
            await served.ask("POST", "/Test_Cluster/backups/run", json={"destinations": {PLACE: {}}}, headers=BEARER)
        own = served.url.rpartition(":")[2]
        # The client of this test is in this process too, and connects to the coordinator.
        others = [one for one in did.addresses() if own not in repr(one.arguments)]
        assert others == []
        assert did.programs() == []
