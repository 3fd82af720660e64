"""Openings of destinations: shared, current, closed when nobody needs them; and waiting for newer settings."""

import asyncio
from pathlib import Path

import pytest

from agent.repository.errors import UnknownDestination
from agent.storage.protocol import Storage
from agent.wire.destinations import LocalSettings
from tests.fast.repository.destination_site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "destinations")


async def test_a_storage_is_opened_anew_only_for_what_it_must_know(site: Site) -> None:
    """Promise: whether the store creates conditionally is told to the provider by an opening; ids and epochs aren't
    its affair, and cost those who use the store nothing."""
    destinations = site.destinations
    await site.put(1)
    assert destinations.generation("store") is None
    async with destinations.borrowed("store") as first:
        assert destinations.generation("store") == first.generation
        await destinations.remember("store", 1, repository_id="r1", key_epoch=1)
        assert destinations.generation("store") == first.generation
        await destinations.remember("store", 1, conditional_create=True)
        assert destinations.generation("store") is None
        async with destinations.borrowed("store") as second:
            assert second.generation > first.generation
    [kept] = site.open
    assert kept is second.storage
    assert kept.record.conditional_create
    await destinations.remember("store", 1, conditional_create=True)
    assert destinations.generation("store") == second.generation


async def test_those_who_come_together_share_one_opening(site: Site) -> None:
    """Promise: a command's many streams open a store once."""
    await site.put(1)
    site.storages.clear()

    async def use() -> Storage:
        async with site.destinations.borrowed("store") as borrowed:
            return borrowed.storage

    storages = await asyncio.gather(*(use() for _ in range(10)))
    assert storages == site.storages * 10


async def test_settings_that_change_while_a_store_is_being_opened_count(site: Site) -> None:
    """Promise: nobody gets a store of older settings, and it doesn't stay open."""
    await site.put(1)
    site.meanwhile = lambda: site.put(2, LocalSettings("a", throttle_bytes_per_second=5))
    async with site.destinations.borrowed("store") as borrowed:
        [storage] = site.open
        assert borrowed.storage is storage
        assert storage.record.revision == 2


async def test_a_destination_that_goes_while_it_is_being_opened_leaves_nothing_open(site: Site) -> None:
    """Promise: whoever was about to use it is told that it is unknown; its storage is closed."""
    await site.put(1)
    site.meanwhile = lambda: site.destinations.delete("store")
    with pytest.raises(UnknownDestination):
        async with site.destinations.borrowed("store"):
            raise AssertionError("it is gone")
    assert len(site.storages) == 2
    assert site.open == []


async def test_an_opening_is_renewed_if_it_is_still_the_current_one(site: Site) -> None:
    """Promise: who met wrong keys makes the next use read them anew; who is late closes nobody's newer store."""
    destinations = site.destinations
    await site.put(1)
    async with destinations.borrowed("store") as first:
        await destinations.renew("store", first.generation)
        assert [storage for storage in site.open if storage is first.storage], "it is in use"
        async with destinations.borrowed("store") as second:
            assert second.storage is not first.storage
        await destinations.renew("store", first.generation)
        assert destinations.generation("store") == second.generation
    assert site.open == [second.storage]
    await destinations.close()
    assert site.open == []
    assert destinations.generation("store") is None


async def test_waiting_for_newer_settings_ends_with_them_or_with_its_time(site: Site) -> None:
    """Promise: whoever waits is told of the next change, and only of one that comes after it began to wait."""
    destinations = site.destinations
    await site.put(1)
    assert not await destinations.changed("store", 0.0)
    waiting = [asyncio.create_task(destinations.changed("store", 60.0)) for _ in range(2)]
    await asyncio.sleep(0)
    await site.put(2)
    assert await asyncio.gather(*waiting) == [True, True]
    assert not await destinations.changed("store", 0.0)
