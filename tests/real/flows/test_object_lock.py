"""The main job in a bucket under object lock: a real Cassandra 4.1, agent, coordinator and SeaweedFS. Backup, reuse,
kill, restore and delete as people ask for them."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.cluster.crash_site import TERMINAL_SECONDS, CrashSite
from tests.cluster.moments import S3_BACKUP, named
from tests.cluster.scratch import ScratchCluster
from tests.cluster.stores import Seaweed
from tests.oracle.reader import Reader

pytestmark = pytest.mark.asyncio(loop_scope="module")
DAYS = 3


class BothSides:
    """The locked bucket and its control location, as the oracle reads them."""

    def __init__(self, *readers: Reader) -> None:
        self._readers = readers

    def list(self) -> Iterator[tuple[str, int]]:
        """Every key with its size, in order."""
        return iter(sorted(entry for reader in self._readers for entry in reader.list()))

    def get(self, key: str) -> bytes:
        """The bytes of a key, from the side that has it."""
        for reader in self._readers:
            if any(there == key for there, _ in reader.list()):
                return reader.get(key)
        raise KeyError(key)


class LockedBuckets:
    """Buckets of SeaweedFS under object lock, each with a control bucket (`ObjectStore`)."""

    def __init__(self, server: Seaweed) -> None:
        self._server = server

    @property
    def endpoint(self) -> str:
        """The server's."""
        return self._server.endpoint

    async def make_bucket(self, name: str) -> None:
        """Both buckets."""
        await self._server.make_locked_bucket(name)
        await self._server.make_bucket(f"{name}-control")

    def settings(self, bucket: str, **fields: object) -> dict[str, Any]:
        """A destination under lock, as a person sends it."""
        lock = {"mode": "compliance", "days": DAYS, "control": f"{bucket}-control"}
        return self._server.settings(bucket, object_lock=lock, **fields)

    def reader(self, bucket: str) -> Reader:
        """Of both buckets."""
        return BothSides(self._server.reader(bucket), self._server.reader(f"{bucket}-control"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    one_node_41: ScratchCluster, seaweed: Seaweed, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[CrashSite]:
    directory = tmp_path_factory.mktemp("locked")
    async with CrashSite(directory, one_node_41, store=LockedBuckets(seaweed), jolokia=True) as site:
        yield site


async def test_the_main_job_under_object_lock(site: CrashSite) -> None:
    """Promise: an agent that is killed at each stage of a backup which reuses objects publishes it; it is restored with
    every row; a delete hides it and tells what is locked and until when, and the other backup stays whole."""
    first = await site.backup()
    await site.arm_agent(S3_BACKUP[0])
    request = await site.start_backup()
    await site.die(named(S3_BACKUP[1:], site.keyspace))
    second = str((await site.succeeded(request, TERMINAL_SECONDS))["tag"])
    await site.disaster()
    await site.succeeded(await site.start_restore(second))
    await site.all_is_well()

    dry = await site.ask("DELETE", f"/backups?tag={first}&destination={site.place}&dry_run=true")
    told = (await site.succeeded(str(dry)))["details"]["would_free"]
    assert told["locked_bytes"] == told["bytes"] > 0
    details = (await site.succeeded(await site.start_delete(first)))["details"]
    assert (details["bytes_freed"], details["locked_bytes"]) == (0, told["locked_bytes"])
    assert details["first_unlocked_at"] <= told["all_unlocked_at"]
    listed = await site.ask("GET", f"/backups?destination={site.place}")
    assert (first in listed, second in listed) == (False, True)
    await site.all_is_well(rows=False)
