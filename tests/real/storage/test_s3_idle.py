"""Promise: a limit that falls in the middle of a job starves no stream until the store gives it up for good."""

import asyncio
import os
from pathlib import Path

from agent.storage.limited import Limited
from agent.storage.protocol import Transient
from agent.storage.retrying import Retrying
from agent.storage.s3.storage import S3Storage
from agent.storage.throttle import LEAST_PER_STREAM, STEP, Gates, Stream, TokenBucket
from tests.cluster.stores import BUCKET, Seaweed, settings_for

STREAMS = 16
IDLE_SECONDS = 1


async def test_a_limit_that_falls_under_many_streams(tmp_path: Path) -> None:
    """Sixteen streams share what feeds two: each gets its next piece after the store's idle time-out."""
    fast, slow = STREAMS * LEAST_PER_STREAM, 2 * LEAST_PER_STREAM
    assert STREAMS * STEP / slow > IDLE_SECONDS
    bucket = TokenBucket(fast)
    given_up: list[str] = []

    def on_retry(verb: str, fault: Transient) -> None:
        given_up.append(fault.message)

    async with Seaweed(tmp_path / "weed", address="127.0.20.9", idle_seconds=IDLE_SECONDS) as server:
        await server.make_bucket(BUCKET)
        inner = S3Storage(settings_for(server, connections=STREAMS), conditional_create=True)
        store = Retrying(Limited(inner, Gates(bucket)), on_retry=on_retry)
        content = os.urandom(256 * 1024)
        puts = [
            asyncio.create_task(store.put(f"idle/{number:02d}", [content], gate=Stream()))
            for number in range(2 * STREAMS)
        ]
        await asyncio.sleep(0.5)
        bucket.set_rate(slow)
        async with asyncio.timeout(300):
            done = await asyncio.gather(*puts)
        assert given_up
        assert {put.size for put in done} == {len(content)}
        await store.close()
