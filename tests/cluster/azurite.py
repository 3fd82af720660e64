"""Azurite, Azure Blob Storage as its vendor makes it for tests, on loopback.

In: a directory and an address. Out: a server with one account; every start uses the same directory and port.
"""

import asyncio
import secrets
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient, ContainerClient, ContainerSasPermissions, generate_container_sas

from agent.wire.destinations import AzureSettings
from tests.cluster import places
from tests.cluster.ports import free_port
from tests.cluster.processes import Child
from tests.cluster.stores import BUCKET, Server

ACCOUNT = "helenustests"
API_VERSION = "2021-12-02"


class Azurite(Server):
    """Its account's key is made anew for each server. `certificate`: it speaks TLS with it."""

    def __init__(
        self, directory: Path, *, address: str = "127.0.0.1", certificate: tuple[Path, Path] | None = None
    ) -> None:
        program = places.azurite() / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
        if not program.exists():
            raise places.MissingPart("azurite", "make fetch")
        directory.mkdir(parents=True, exist_ok=True)
        self.address = address
        self.port = free_port(address)
        self.key = b64encode(secrets.token_bytes(64)).decode()
        self._scheme = "https" if certificate else "http"
        tls: list[str | Path] = ["--cert", certificate[0], "--key", certificate[1]] if certificate else []
        self.child = Child(
            "azurite",
            [
                *("node", program, "--blobHost", address, "--blobPort", str(self.port), "--location", directory),
                *("--silent", "--disableTelemetry", *tls),
            ],
            directory / "azurite.log",
            env={"AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.key}"},
        )

    @property
    def endpoint(self) -> str:
        """The URL to talk to; the account stands in its path."""
        return f"{self._scheme}://{self.address}:{self.port}/{ACCOUNT}"

    async def make_bucket(self, name: str) -> None:
        """Make an empty container; one that is there stays as it is."""

        def make() -> None:
            with self._service() as service:
                try:
                    service.create_container(name)
                except ResourceExistsError:
                    return

        await asyncio.to_thread(make)

    def settings(self, bucket: str, **fields: object) -> dict[str, Any]:
        """A destination in the container as the API takes it, changed by `fields`."""
        known = {"account": ACCOUNT, "endpoint": self.endpoint, "account_key": self.key}
        return {"provider": "azure", "path": bucket, **known, **fields}

    def reader(self, bucket: str) -> "ContainerReader":
        """The container as the oracle reads it."""
        return ContainerReader(self._service().get_container_client(bucket))

    def sas(self, permissions: str) -> str:
        """A signature for `BUCKET` that ends in an hour. `permissions` as Azure spells them: «racwdl»."""
        return generate_container_sas(
            ACCOUNT,
            BUCKET,
            account_key=self.key,
            permission=ContainerSasPermissions.from_string(permissions),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )

    def _service(self) -> BlobServiceClient:
        credential = {"account_name": ACCOUNT, "account_key": self.key}
        return BlobServiceClient(self.endpoint, credential=credential, api_version=API_VERSION, retry_total=0)


def azure_settings(server: Azurite, **fields: object) -> AzureSettings:
    """The settings of a destination in the server's `BUCKET`, changed by `fields`."""
    return msgspec.convert(server.settings(BUCKET, **fields), AzureSettings)


class ContainerReader:
    """A container as the oracle sees it."""

    def __init__(self, client: ContainerClient) -> None:
        self._client = client

    def list(self) -> Iterator[tuple[str, int]]:
        """Every key with its size in bytes."""
        for blob in self._client.list_blobs():
            yield blob.name, blob.size

    def get(self, key: str) -> bytes:
        """The bytes of a key."""
        return self._client.download_blob(key).readall()
