"""A toy service in a process of its own, for clients that wait: `python -m tests.cluster.toy_process DIRECTORY`.

It writes one line, {"coordinator": url, "agent": url, "node": address, "request": id}, when it serves, and ends when
its standard input does. There are the keyspaces, backups and destinations that the examples of openapi.yaml name, so
that a client which sends these meets more than refusals. Whatever is ordered happens in memory and below the directory:
nothing is asked of any other machine.
"""

import asyncio
import sys
from pathlib import Path

import msgspec

from agent.wire.destinations import S3Settings
from coordinator.model.orders import BackupOrder, Copy
from kit import logs
from tests.cluster.toy_coordinator import CLUSTER
from tests.cluster.toy_service import ToyService

TABLES = {
    "Keyspace1": ["users", "dates"],
    "Keyspace2": ["t"],
    "OpsCenter": ["bestpractice_results", "rollups60", "events"],
}
PLACE = "fe85800f3f4043a88fbe76fc45b22b19"
PLACES = (PLACE, "06747042-5a9a-45e7-8fa0-297abb68448f", "bdcff9240b614ebda64938bafb2abb09")
TAGS = (
    "opscenter_adhoc_2015-10-15-21-48-47-UTC",
    "opscenter_adhoc_2017-03-17-15-06-09-UTC",
    "opscenter_adhoc_2017-07-28-20-04-40-UTC",
)


async def furnished(service: ToyService) -> str:
    """Make what the examples name; the id of a request that has ended."""
    coordinator = service.coordinator
    for number, place in enumerate(PLACES):
        await coordinator.destination(place, S3Settings(path=f"example-{number}", access_key="A", access_secret="s"))
    request = ""
    for number, tag in enumerate(TAGS):
        order = BackupOrder(tag=tag, time=1_445_000_000 + number, keep=True, copies=[Copy(place) for place in PLACES])
        request = (await coordinator.ended(await coordinator.orchestrator.start_backup(CLUSTER, order))).id
    return request


async def main(directory: Path) -> None:
    """Serve until standard input ends."""
    logs.configure("warning", "console", logs.Redactor())
    async with ToyService(directory, TABLES, nodes=2, checked=False) as service:
        told = {
            "coordinator": service.url,
            "agent": service.agents[0].url,
            "node": service.agents[0].node.address,
            "request": await furnished(service),
        }
        sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
