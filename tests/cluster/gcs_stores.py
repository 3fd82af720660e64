"""A real server of Google's JSON API on loopback. In: a directory and an address. Out: a server that keeps its objects
over a restart, as `stores` has them for S3. Bound to no event loop."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
import requests

from agent.wire.destinations import GcsSettings
from tests.cluster import places
from tests.cluster.ports import free_port
from tests.cluster.processes import Child
from tests.cluster.stores import BUCKET, Server
from tests.oracle.reader import Reader


class FakeGcs(Server):
    """fake-gcs-server: each object is a file below `<directory>/data/<bucket>`. It takes any credentials and none, and
    makes a bucket that an upload names; preconditions it judges under a lock."""

    def __init__(
        self, directory: Path, *, address: str = "127.0.0.1", certificate: tuple[Path, Path] | None = None
    ) -> None:
        """`certificate`: PEM files of certificate and key; with them it speaks https."""
        self.address = address
        self.port = free_port(address)
        self.data = directory / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.scheme = "https" if certificate else "http"
        tls: list[str | Path] = (
            ["-cert-location", certificate[0], "-private-key-location", certificate[1]] if certificate else []
        )
        self.child = Child(
            "fake-gcs-server",
            [
                places.program("fake-gcs-server"),
                *("-scheme", self.scheme, "-host", address, "-port", str(self.port)),
                *tls,
                *("-backend", "memory", "-log-level", "error"),
                *("-public-host", f"{address}:{self.port}", "-external-url", f"{self.scheme}://{address}:{self.port}"),
            ],
            directory / "fake-gcs-server.log",
        )

    @property
    def endpoint(self) -> str:
        """The URL to talk to."""
        return f"{self.scheme}://{self.address}:{self.port}"

    async def make_bucket(self, name: str) -> None:
        """Make an empty bucket; one that is there stays as it is."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.endpoint}/storage/v1/b", json={"name": name}, ssl=False) as answer,
        ):
            assert answer.status in (200, 409), await answer.text()

    def settings(self, bucket: str, **fields: object) -> dict[str, Any]:
        """A destination in the bucket as the API takes it, changed by `fields`."""
        return {"provider": "gcs", "path": bucket, "endpoint": self.endpoint, **fields}

    def reader(self, bucket: str) -> Reader:
        """What the oracle reads the bucket with."""
        return GcsReader(self.endpoint, bucket)


class GcsReader:
    """A bucket as the oracle sees it, asked without the SDK."""

    def __init__(self, endpoint: str, bucket: str) -> None:
        self._objects = f"{endpoint}/storage/v1/b/{bucket}/o"

    def list(self) -> Iterator[tuple[str, int]]:
        """Every key with its size in bytes."""
        token = ""
        while True:
            answer = requests.get(self._objects, params={"pageToken": token, "maxResults": "1000"}, timeout=60)
            answer.raise_for_status()
            page = answer.json()
            for entry in page.get("items", ()):
                yield entry["name"], int(entry["size"])
            token = page.get("nextPageToken", "")
            if not token:
                return

    def get(self, key: str) -> bytes:
        """The bytes of a key."""
        address = f"{self._objects}/{quote(key, safe='')}"
        answer = requests.get(address, params={"alt": "media"}, timeout=60)
        answer.raise_for_status()
        return answer.content


def gcs_settings_for(server: FakeGcs, **fields: object) -> GcsSettings:
    """The settings of a destination in the server's `BUCKET`, changed by `fields`."""
    return msgspec.convert(server.settings(BUCKET, **fields), GcsSettings)
