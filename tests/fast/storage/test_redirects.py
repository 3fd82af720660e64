"""Attack row A06 at the agent: a store that sends us elsewhere is not followed, and gets nobody asked."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from agent.storage.azure.storage import AzureStorage
from agent.storage.gcs.storage import GcsStorage
from agent.storage.protocol import Storage, StorageError
from agent.storage.s3.storage import S3Storage
from agent.wire.destinations import AzureSettings, GcsSettings, S3Settings

KEY = "a2V5LW9mLXRlc3Rz"


def s3(endpoint: str) -> Storage:
    settings = S3Settings(path="bucket", access_key="AK", access_secret="the secret", endpoint=endpoint)
    return S3Storage(settings, conditional_create=True)


def gcs(endpoint: str) -> Storage:
    return GcsStorage(GcsSettings(path="bucket", endpoint=endpoint), conditional_create=True)


def azure(endpoint: str) -> Storage:
    settings = AzureSettings(path="bucket", account="acme", account_key=KEY, endpoint=f"{endpoint}/acme")
    return AzureStorage(settings, conditional_create=True)


@asynccontextmanager
async def listener(address: str, answer: bytes = b"") -> AsyncIterator[tuple[str, list[bytes]]]:
    """An address that notes what comes and answers all of it with the same: its URL, what came."""
    came: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.read(4_000))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(note, address, 0)
    yield f"http://{address}:{server.sockets[0].getsockname()[1]}", came
    server.close()
    await server.wait_closed()


# An SDK that refuses an answer leaves its socket to the garbage collector, which tells of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("opened", [s3, gcs, azure])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(opened: Callable[[str], Storage], status: int) -> None:
    """Promise: whatever a store answers, the address that it names is never connected to: reading, listing, writing and
    deleting end with an error."""
    async with listener("127.0.36.21") as (elsewhere, hits):
        head = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {elsewhere}/latest/meta-data\r\nContent-Length: 0\r\n"
        region = "x-amz-bucket-region: eu-west-1\r\nConnection: close\r\n\r\n"
        async with listener("127.0.36.20", (head + region).encode()) as (endpoint, came):
            store = opened(endpoint)
            for call in (partial(store.head, "a"), partial(store.delete, ["a"])):
                with pytest.raises(StorageError):
                    await call()
            with pytest.raises(StorageError):
                async for _ in store.list(""):
                    pass
            await store.close()
            assert came
    gc.collect()  # here, not in whichever test comes next
    assert hits == []
