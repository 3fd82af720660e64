"""Deleting a backup: the mark, the sweep, the space, and what other backups need of the same bytes."""

import os

import pytest
from cassandra.cluster import Session

from tests.cluster.backup_service import BackupService
from tests.cluster.stores import Seaweed
from tests.real.flows.shop import Shop

pytestmark = pytest.mark.timeout(900)
BLOB = 100_000  # bytes; of random content, so that no two rows share an object


def _write(session: Session, keyspace: str, table: str, first: int, count: int) -> None:
    statement = session.prepare(f"INSERT INTO {keyspace}.{table} (id, body) VALUES (?, ?)")
    for number in range(first, first + count):
        session.execute(statement, (number, os.urandom(BLOB)))


def _ids(session: Session, keyspace: str, table: str) -> set[int]:
    return {row.id for row in session.execute(f"SELECT id FROM {keyspace}.{table}")}


def _data(sizes: dict[str, int]) -> int:
    return sum(size for key, size in sizes.items() if "/data/" in key)


@pytest.mark.parametrize("place", ["local", "s3"])
async def test_a_deleted_backup_frees_its_space_and_the_others_still_restore(
    shop: Shop, seaweed: Seaweed, place: str
) -> None:
    """Promise: a delete frees the bytes that it says and that no other backup needs; the deleted backup is not listed
    and not restored; the others restore, and the oracle reads every byte of them. With the last backup all data is
    gone, and remove_destination forgets the settings."""
    service, session = shop.service, shop.session
    keyspace = f"deleting_{place}"
    destination = await _destination(service, seaweed, place)
    shop.execute(
        f"CREATE KEYSPACE {keyspace} WITH replication = {{'class': 'NetworkTopologyStrategy', 'dc1': 1}}",
        f"CREATE TABLE {keyspace}.stays (id int PRIMARY KEY, body blob)",
        f"CREATE TABLE {keyspace}.changes (id int PRIMARY KEY, body blob)",
    )
    for table in ("stays", "changes"):
        _write(session, keyspace, table, 0, 20)
    first = await service.backup([keyspace], destination)
    shop.execute(f"TRUNCATE {keyspace}.changes")
    _write(session, keyspace, "changes", 100, 10)
    second = await service.backup([keyspace], destination)
    third = await service.backup([keyspace], destination)
    before = _data(await service.sizes(destination))
    assert {tag for tag, _ in await service.inspected(destination)} == {first, second, third}

    freed = (await service.delete(first, destination))["details"]
    after = _data(await service.sizes(destination))
    assert freed["bytes_freed"] >= 20 * BLOB
    assert freed["objects_removed"] > 0
    assert before - after == freed["bytes_freed"]
    assert set(await service.listed(destination)) == {second, third}
    assert (await service.refusal(first, destination, truncate=True))["code"] in {"unknown_backup", "backup_deleted"}
    assert {tag for tag, _ in await service.inspected(destination)} == {second, third}

    shop.execute(f"DROP TABLE {keyspace}.stays", f"TRUNCATE {keyspace}.changes")
    await service.restore(second, destination, truncate=True)
    assert _ids(session, keyspace, "stays") == set(range(20))
    assert _ids(session, keyspace, "changes") == set(range(100, 110))

    await service.delete(second, destination)
    assert {tag for tag, _ in await service.inspected(destination)} == {third}
    await service.delete(third, destination, remove_destination=True)
    assert _data(await service.sizes(destination)) == 0
    assert destination not in await service.api.get("/backups/destinations")
    shop.execute(f"DROP KEYSPACE {keyspace}")


async def _destination(service: BackupService, seaweed: Seaweed, place: str) -> str:
    if place == "local":
        return await service.local("deleting")
    return await service.bucket(seaweed, f"deleting-{service.cluster.version.replace('.', '-')}")
