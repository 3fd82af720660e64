"""The scripts that a run names: nothing but names come through."""

from typing import Any

import pytest

from coordinator.model.orders import BackupOrder
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory
from tests.fast.coordinator.conftest import Client

C = "/Test_Cluster"
RUN = f"{C}/backups/run"
PRE, POST = "pre_snapshot_script", "post_snapshot_script"


def ordered(cluster: ClusterInMemory) -> tuple[str, str]:
    order = cluster.orders[-1]
    assert isinstance(order, BackupOrder)
    return order.pre_script, order.post_script


@pytest.mark.parametrize(
    ("body", "scripts"),
    [
        ({}, ("", "")),
        ({PRE: "freeze.sh"}, ("freeze.sh", "")),
        ({POST: "notify"}, ("", "notify")),
        ({PRE: "a", POST: "Z" * 64}, ("a", "Z" * 64)),
        ({"pre-snapshot-script": "0_x-1.sh"}, ("0_x-1.sh", "")),
        ({PRE: "", POST: None}, ("", "")),
        ({PRE: False}, ("", "")),
    ],
)
async def test_a_run_names_its_scripts(
    client: Client, cluster: ClusterInMemory, body: dict[str, Any], scripts: tuple[str, str]
) -> None:
    """Promise: plain names come to the nodes as they were sent; none is none."""
    await client.post(RUN, body)
    assert ordered(cluster) == scripts


@pytest.mark.parametrize("field", [PRE, POST])
@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/bin/sh",
        "a/b",
        "-x",
        ".x",
        "..",
        "a\0b",
        "a b",
        "a;b",
        "$(a)",
        "a\n",
        "ä",
        "x" * 65,
        "x" * 300,
        5,
        True,
        [],
        {},
    ],
)
async def test_what_is_more_than_a_name_is_refused(
    client: Client, cluster: ClusterInMemory, field: str, name: object
) -> None:
    """Promise: the field is named, what is allowed is said, and nothing is begun."""
    status, told = await client.ask("POST", RUN, json={field: name})
    assert (status, told["fields"]["field"]) == (400, field)
    assert cluster.orders == []


async def test_a_destination_has_no_script_of_its_own(client: Client, cluster: ClusterInMemory) -> None:
    """Promise: what would quietly not be run is refused by name."""
    body = {"destinations": {"OPSC_ON_SERVER": {POST: "notify"}}}
    status, told = await client.ask("POST", RUN, json=body)
    assert (status, told["code"]) == (400, "option_not_available")
    assert told["fields"]["field"] == f"destinations.OPSC_ON_SERVER.{POST}"
    assert cluster.orders == []
