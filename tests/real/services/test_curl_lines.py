"""The curl lines of OpsCenter's text, one after the other, by curl itself against a real node.

They are as they are printed (tests/data/opscenter_examples.txt) but for what is another machine's: host and port, the
ids of destinations and backups, keys and address of the store, a time, the directory for the log. Of the node that is
excluded from restores there is none here, so nobody is. No shell reads them.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cassandra.cluster import Session

from tests.cluster.opscenter import OpsCenter
from tests.cluster.opscenter_examples import differences, examples
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import AgentProcess, CoordinatorProcess
from tests.cluster.stores import Seaweed

pytestmark = pytest.mark.timeout(900)
C = "Test_Cluster"
BUCKET = "example-opscenter-backups-1"
ROWS = 50
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DESTINATION = re.compile(r"\b(?:[0-9a-f]{32}|[01]6747042(?:-\w{4}){3}-297abb68448[fg]|fee2232c(?:-\w{4}){3}-\w{12})\b")
_TAG = re.compile(r"opscenter_[A-Za-z0-9_.-]+-UTC")


class Person:
    """Types the text's lines; everything that they answer is compared with what is printed."""

    def __init__(self, coordinator: CoordinatorProcess, store: Seaweed, session: Session, archive: Path) -> None:
        self.api = OpsCenter(coordinator)
        self.session = session
        self.destination = ""
        self.typed: list[str] = []
        self._words = {
            "http://127.0.0.1:8888": coordinator.url,
            "http://192.168.1.1:8888": coordinator.url,
            "AKIAIDGKF45VQXGUYIQQ": store.access_key,
            "gMizFwIoFHzIo7RrNmXUUd9zKea8hSkh6+wXLCT1": store.access_secret,
            '"provider": "s3"': f'"provider": "s3", "endpoint": "{store.endpoint}"',
            '"192.168.100.7"': "",
            "/var/tmp": str(archive),
        }

    async def types(self, name: str, *, tag: str = "", names: bool = False, **words: str) -> Any:
        """The answer of a line, which has the printed keys and types; `names`: its keys are names."""
        example = examples()[name].with_words({**self._words, **words})
        command = [_DESTINATION.sub(self.destination or "no destination yet", word) for word in example.curl]
        command = [_TAG.sub(tag, word) for word in command] if tag else command
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        )
        output, told = await asyncio.wait_for(process.communicate(), 120)
        assert process.returncode == 0, told.decode()
        answer = json.loads(output)
        assert differences(example.printed, answer, "<names>" if names else "") == [], (name, answer)
        self.typed.append(name)
        return answer

    async def orders(self, name: str, **more: Any) -> dict[str, Any]:
        """The end of the request that a line begins."""
        request = await self.types(name, **more)
        request = request["request_id"] if isinstance(request, dict) else request
        assert _UUID.fullmatch(request), request
        return await self.api.follow(request)

    async def until_something_is_safe(self) -> None:
        """Return once the logs tell a time."""
        logs = await self.api.get("/backups/pit/logs")
        while None in logs.values():
            await asyncio.sleep(0.5)
            logs = await self.api.get("/backups/pit/logs")

    def users(self) -> int:
        """How many there are."""
        return len(list(self.session.execute('SELECT id FROM "Keyspace1".users')))


@pytest_asyncio.fixture(loop_scope="function")
async def person(tmp_path: Path, seaweed: Seaweed) -> AsyncIterator[Person]:
    """A node with the text's keyspaces, its agent, and a coordinator that asks for no token, as the text's lines send
    none: it listens on loopback."""
    await seaweed.make_bucket(BUCKET)
    async with ScratchCluster(tmp_path / "cassandra", nodes=1, name=C) as cluster:
        agent = AgentProcess(cluster.nodes[0], tmp_path / "agent", changes={"sweep": {"margin_seconds": 0.5}})
        open_to_all = {"http": {"token_file": ""}}
        coordinator = CoordinatorProcess([agent], tmp_path / "coordinator", cluster=C, changes=open_to_all)
        session = await cluster.session()
        for keyspace, tables in (("Keyspace1", ("users", "dates")), ("Keyspace2", ("t",)), ("OpsCenter", ("events",))):
            replication = "{'class': 'NetworkTopologyStrategy', 'dc1': 1}"
            session.execute(f'CREATE KEYSPACE "{keyspace}" WITH replication = {replication}')
            for table in tables:
                session.execute(f'CREATE TABLE "{keyspace}".{table} (id int PRIMARY KEY)')
                for number in range(ROWS):
                    session.execute(f'INSERT INTO "{keyspace}".{table} (id) VALUES ({number})')
        await agent.start(90)
        await coordinator.start(90)
        try:
            yield Person(coordinator, seaweed, session, cluster.nodes[0].directory / "archive")
        finally:
            await coordinator.stop()
            await agent.stop()


async def test_every_line_does_what_the_text_says(person: Person) -> None:
    """Promise: a console or script that was written by the text works: each line is taken, answers in the printed form,
    and what it orders is done; the rows that were deleted are there again."""
    for name in ("pit-check", "pit-run"):
        refused = await person.types(name)
        assert refused["message"].startswith("No snapshots found before date and time: 12-15-2015 01:")
        assert refused["message"].endswith(" UTC")
    added = await person.types("add-a-destination")
    person.destination = added["destination_id"]["id"]
    assert (await person.orders("edit-a-destination"))["destinations"] == [person.destination]
    assert list(await person.types("destinations", names=True)) == [person.destination]
    assert (await person.types("destination"))["path"] == BUCKET

    on_server = (await person.orders("run-on-server"))["tag"]
    stored = (await person.orders("run-to-a-destination"))["tag"]
    assert set(await person.api.get(f"/backups?destination={person.destination}")) == {stored}
    assert set(await person.types("backups", names=True, **{"1334857272": str(int(time.time()))})) == {on_server}
    await person.orders("sync", tag=on_server)
    assert set(await person.api.get(f"/backups?destination={person.destination}")) == {stored, on_server}
    assert await person.types("graphs", tag=stored, names=True) == {}
    whole = await person.api.follow(
        await person.api.post("/backups/run", {"destinations": ["OPSC_ON_SERVER", person.destination]})
    )
    for scope in ("", "keyspace-", "table-"):
        for place in ("on-server", "from-a-destination"):
            person.session.execute('TRUNCATE "Keyspace1".users')
            await person.orders(f"restore-{scope}{place}", tag=whole["tag"])
            assert person.users() == ROWS, (scope, place)

    await person.orders("enable-pit")
    archiving = await person.types("get-pit")
    assert (archiving["enabled"], set(archiving["destinations"])) == (True, {person.destination, "OPSC_ON_SERVER"})
    async with asyncio.timeout(120):
        await person.until_something_is_safe()
    [safe] = (await person.types("pit-logs", names=True)).values()
    assert safe <= time.time()
    await person.orders("disable-pit")

    events = [event["type"] for event in await person.api.get("/backup-activity")]
    assert (events.count("restore"), events.count("backup")) == (6, 5)
    assert len(await person.types("backup-activity")) == 6

    await person.orders("delete-a-backup", tag=stored)
    assert await person.types("destinations", names=True) == {}
    person.destination = (await person.types("add-a-destination"))["destination_id"]["id"]
    assert stored not in await person.api.get(f"/backups?destination={person.destination}")
    await person.orders("delete-a-destination")
    assert set(person.typed) == set(examples())
