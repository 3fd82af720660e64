"""The destination is the truth: what agents and coordinator remember may be lost."""

import pytest

from tests.cluster.stores import Seaweed
from tests.real.flows.shop import Shop

pytestmark = pytest.mark.timeout(900)


async def test_fresh_agents_and_a_fresh_coordinator_list_and_restore_what_a_destination_holds(
    shop: Shop, seaweed: Seaweed
) -> None:
    """Promise: with the state of agent and coordinator gone, a destination that is added again lists its backups and
    restores them, local and S3; the next backup there reuses what it finds."""
    service = shop.service
    in_s3 = await service.backup(["shop_all", "shop_Mixed"], shop.s3)
    local_before, s3_before = await service.listed(shop.local), await service.listed(shop.s3)
    assert shop.tag in local_before
    await service.lose_state()
    assert await service.api.get("/backups/destinations") == {}

    shop.local = await service.local("shop")
    shop.s3 = await service.bucket(seaweed, f"flows-{service.cluster.version.replace('.', '-')}")
    assert await service.listed(shop.local) == local_before
    assert await service.listed(shop.s3) == s3_before
    shop.damage()
    await service.restore(shop.tag, shop.local, truncate=True)
    await shop.is_whole()
    shop.execute('DROP KEYSPACE "shop_Mixed"', "DROP TABLE shop_all.people", "TRUNCATE shop_all.orders")
    await service.restore(in_s3, shop.s3, truncate=True)
    await shop.is_whole()

    stored = await service.sizes(shop.local)
    again = await service.backup(["shop_single"], shop.local)
    assert again in await service.listed(shop.local)
    assert {tag for tag, _ in await service.inspected(shop.local)} >= {shop.tag, again}
    assert stored.items() <= (await service.sizes(shop.local)).items()
