"""Promise: a network that stalls, breaks or crawls half way is noticed, and no object is half there."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.storage.protocol import Transient
from agent.storage.retrying import Policy, Retrying
from agent.storage.s3.storage import S3Storage
from agent.storage.timeouts import Timeouts
from tests.cluster.stores import S3Server, Toxiproxy, settings_for

LARGE = os.urandom(16 * 1024 * 1024)
"""More than the buffers of a connection hold."""


@pytest.fixture
async def toxic(tmp_path: Path) -> AsyncIterator[Toxiproxy]:
    async with Toxiproxy(tmp_path, address="127.0.20.7") as proxy:
        yield proxy


async def through(toxic: Toxiproxy, server: S3Server, least_rate: float = 4_000_000) -> S3Storage:
    listen = await toxic.proxy("store", f"{server.address}:{server.port}")
    settings = settings_for(server, endpoint=f"http://{listen}")
    return S3Storage(settings, conditional_create=True, patience=Timeouts(1.0, 1.0, least_rate))


@pytest.mark.parametrize(
    ("kind", "attributes"), [("timeout", {"timeout": 0}), ("limit_data", {"bytes": 3_000_000}), ("reset_peer", {})]
)
async def test_a_put_broken_half_way_ends_and_leaves_no_object(
    versity: S3Server, toxic: Toxiproxy, kind: str, attributes: dict[str, int]
) -> None:
    """Promise: a put that the network breaks ends, leaves no object, and can be done again."""
    store = await through(toxic, versity)
    key = f"{uuid.uuid4()}/a"
    await toxic.spoil("store", kind, upstream=True, **attributes)
    async with asyncio.timeout(60):
        with pytest.raises(Transient):
            await store.put(key, [LARGE])
    await toxic.heal()
    assert await store.head(key) is None
    assert (await store.put(key, [LARGE])).created
    assert await store.get(key) == LARGE
    await store.close()


@pytest.mark.parametrize(
    ("kind", "attributes"), [("timeout", {"timeout": 0}), ("limit_data", {"bytes": 3_000_000}), ("reset_peer", {})]
)
async def test_a_get_broken_half_way_ends(
    versity: S3Server, toxic: Toxiproxy, kind: str, attributes: dict[str, int]
) -> None:
    """Promise: a get that the network breaks ends, and the next one gives every byte."""
    store = await through(toxic, versity)
    key = f"{uuid.uuid4()}/a"
    await store.put(key, [LARGE])
    await toxic.spoil("store", kind, upstream=False, **attributes)
    async with asyncio.timeout(60):
        with pytest.raises(Transient):
            await store.get(key)
    await toxic.heal()
    assert await store.get(key) == LARGE
    await store.close()


async def test_a_slow_line_is_no_broken_line(versity: S3Server, toxic: Toxiproxy) -> None:
    """At 1 MB/s two megabytes take longer than every time-out, and arrive: only silence counts as a stall."""
    store = await through(toxic, versity, least_rate=256 * 1024)
    key = f"{uuid.uuid4()}/a"
    await toxic.spoil("store", "bandwidth", upstream=True, rate=1000)
    await toxic.spoil("store", "bandwidth", rate=1000)
    assert (await store.put(key, [LARGE[:2_000_000]])).created
    assert await store.get(key) == LARGE[:2_000_000]
    await store.close()


async def test_an_outage_is_waited_out(versity: S3Server, toxic: Toxiproxy) -> None:
    """The store refuses connections for a while; the put that met it ends well."""
    waits = 0

    async def sleep(seconds: float) -> None:
        nonlocal waits
        waits += 1
        if waits == 3:
            await toxic.enable("store", True)

    inner = await through(toxic, versity)
    store = Retrying(inner, Policy(attempts=10), sleep=sleep)
    await toxic.enable("store", False)
    key = f"{uuid.uuid4()}/a"
    assert (await store.put(key, [LARGE])).created
    assert waits == 3
    await store.close()
