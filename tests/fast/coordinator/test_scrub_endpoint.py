"""POST /{cluster}/backups/scrub, which OpsCenter has not."""

from typing import Any

import pytest

from tests.fast.coordinator.cluster_in_memory import ClusterInMemory
from tests.fast.coordinator.conftest import Client
from tests.fast.coordinator.test_bad_input import PLACES, C

SCRUB = f"{C}/backups/scrub"


async def test_a_scrub_is_a_request_and_in_the_activity(client: Client) -> None:
    """Promise: it is begun at the destination that is named, can be followed, and its event has a type of its own."""
    made = await client.post(PLACES, {"provider": "local", "path": "/a"})
    place = made["destination_id"]["id"]
    request = await client.post(SCRUB, {"destination": place, "whole": True})
    status = await client.get(f"/request/{request}/status")
    assert status["state"] == "running"
    [event] = await client.get(f"{C}/backup-activity?filter_type=scrub")
    assert (event["request_id"], event["type"]) == (request, "scrub")


@pytest.mark.parametrize("body", [{}, {"destination": ""}, {"destination": "OPSC_ON_SERVER"}, {"tag": "x"}])
async def test_a_scrub_names_its_destination(client: Client, cluster: ClusterInMemory, body: dict[str, Any]) -> None:
    """Promise: none, an empty one, the nodes themselves, or a field that isn't known: refused, nothing is begun."""
    status, _ = await client.ask("POST", SCRUB, json=body)
    assert status == 400
    assert cluster.orders == []
