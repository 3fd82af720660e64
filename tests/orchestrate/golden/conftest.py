"""A service with the keyspaces, destinations and backups of the text's examples, under the ids that stand there."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.wire.destinations import S3Settings
from coordinator.model.orders import BackupOrder, Copy
from coordinator.model.requests import RequestState
from tests.cluster.toy_coordinator import CLUSTER
from tests.cluster.toy_service import ToyService

TABLES = {
    "Keyspace1": ["users", "dates"],
    "Keyspace2": ["t"],
    "OpsCenter": ["bestpractice_results", "rollups60", "events", "events_timeline"],
    "test": ["cf1", "cf2"],
}
EXCLUDED = {"192.168.100.7": "127.0.80.2"}
"""The text's node, and the one that stands for it."""


class Told:
    """The service, and what the examples need to be there."""

    def __init__(self, service: ToyService) -> None:
        self.service = service

    async def destination(self, destination_id: str, path: str = "example-opscenter-backups-1") -> None:
        """A bucket under this id."""
        settings = S3Settings(path=path, access_key="AKIAIDGKF45VQXGUYIQQ", access_secret="an-example")
        await self.service.coordinator.destination(destination_id, settings)

    async def backup(self, tag: str, *destinations: str, keep: bool = True) -> None:
        """A backup of all under this tag, on the nodes or in these destinations."""
        at = datetime.strptime(tag[-23:-4], "%Y-%m-%d-%H-%M-%S").replace(tzinfo=UTC).timestamp()
        order = BackupOrder(
            tag=tag, time=int(at), backup_id=tag.split("_")[1], keep=keep, copies=[Copy(each) for each in destinations]
        )
        coordinator = self.service.coordinator
        request = await coordinator.ended(await coordinator.orchestrator.start_backup(CLUSTER, order))
        assert request.state is RequestState.SUCCESS, request


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Told]:
    async with ToyService(tmp_path, TABLES, nodes=2, new_ids={1: "06747042-5a9a-45e7-8fa0-297abb68448f"}) as service:
        yield Told(service)
