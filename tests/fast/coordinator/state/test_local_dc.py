"""A data centre that the settings name and Cassandra doesn't know."""

import asyncio
import re
from pathlib import Path

import pytest

from coordinator.main import prepare, serve
from coordinator.model.settings import StateSettings
from coordinator.store.cassandra.driver import Driver
from kit.config import ConfigError
from kit.logs import Redactor
from kit.notify import Notifier
from tests.cluster.cql_node import CqlNode
from tests.fast.coordinator.state.test_opening import without_cassandra
from tests.fast.coordinator.test_service import DEADLINE

ADDRESS = "127.0.0.1"


async def test_a_mistyped_data_centre_ends_the_start_with_the_known_names(tmp_path: Path) -> None:
    """Promise: a `local_dc` that no node has is an error of that setting, with the names that there are; nobody waits
    for it for ever."""
    async with CqlNode(ADDRESS, ["dc1", "west"]) as node:
        file = without_cassandra(tmp_path)
        right = f'port = {node.port}\nlocal_dc = "DC1"'
        told = re.sub(r"(?<=points = ..127\.0\.0\.1..\n)port = \d+", right, file.read_text())
        assert right in told
        file.write_text(told)
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(ConfigError, match=r"«DC1».*known: dc1, west$") as refused:
                await serve(prepare(file), Redactor(), Notifier({}), asyncio.Event())
    assert refused.value.fields["setting"] == "state.local_dc"


@pytest.mark.parametrize("name", ["dc1", ""])
async def test_a_known_data_centre_is_connected_to(name: str) -> None:
    """Promise: a right name, or none, is no error: the driver is connected, and knows all data centres."""
    async with CqlNode(ADDRESS, ["dc1", "west"]) as node:
        driver = Driver(StateSettings(contact_points=[ADDRESS], port=node.port, local_dc=name), None, None)
        async with asyncio.timeout(DEADLINE):
            await driver.connect()
            assert driver.nodes_of() == {"dc1": 1, "west": 1}
            await driver.close()
