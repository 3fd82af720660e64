"""S3 servers for the storage tests. In: a directory and an address. Out: started servers with a bucket each.

They differ from each other in what they check, how they list, and how they lock, which is the reason to have two.
"""

import json
import sys
from pathlib import Path

import boto3
import msgspec
from botocore.config import Config

from agent.wire.destinations import S3Settings
from tests.cluster import places
from tests.cluster.ports import free_port
from tests.cluster.processes import Child

ACCESS, SECRET, BUCKET = "access", "the-secret-of-the-tests", "bucket"


class Server(msgspec.Struct, frozen=True):
    """A running server with one empty bucket."""

    child: Child
    endpoint: str
    ca_file: Path | None = None

    def settings(self, **fields: object) -> S3Settings:
        """The settings of a destination there, changed by `fields`."""
        settings = S3Settings(path=BUCKET, endpoint=self.endpoint, access_key=ACCESS, access_secret=SECRET)
        return msgspec.structs.replace(settings, **fields)


async def versity(directory: Path, address: str, certificate: tuple[Path, Path] | None = None) -> Server:
    """versitygw, each object a file below `directory`; https with a certificate and its key."""
    (directory / "data" / BUCKET).mkdir(parents=True)
    port = free_port(address)
    tls = ["--cert", str(certificate[0]), "--key", str(certificate[1])] if certificate else []
    program = places.program("versitygw")
    child = Child(
        "versitygw",
        [program, "--port", f"{address}:{port}", "--keep-alive", "--quiet", *tls, "posix", directory / "data"],
        directory / "log",
        env={"ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET},
    )
    child.start()
    await child.until_listening(address, port)
    scheme = "https" if certificate else "http"
    return Server(child, f"{scheme}://{address}:{port}", certificate[0] if certificate else None)


async def seaweed(directory: Path, address: str) -> Server:
    """SeaweedFS: master, volume server, filer and S3 gateway in one process."""
    directory.mkdir(parents=True, exist_ok=True)
    actions = ["Admin", "Read", "Write", "List"]
    keys = {"accessKey": ACCESS, "secretKey": SECRET}
    (directory / "s3.json").write_text(
        json.dumps({"identities": [{"name": "tests", "credentials": [keys], "actions": actions}]})
    )
    ports = {name: free_port(address) for name in ("s3", "master", "volume", "filer")}
    grpc = {name: free_port(address) for name in ("s3", "master", "volume", "filer")}
    argv: list[str | Path] = [
        Path(sys.executable).parent / "weed", "server", "-s3", f"-dir={directory}", f"-ip={address}",
        f"-ip.bind={address}", f"-s3.config={directory / 's3.json'}", "-volume.max=20", "-master.volumeSizeLimitMB=256",
        "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
        *(f"-{name}.port={port}" for name, port in ports.items()),
        *(f"-{name}.port.grpc={port}" for name, port in grpc.items()),
    ]  # fmt: skip
    child = Child("seaweed", argv, directory / "log")
    child.start()
    endpoint = f"http://{address}:{ports['s3']}"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=ACCESS,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )

    async def has_bucket() -> bool:
        try:
            client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"x")
            client.delete_object(Bucket=BUCKET, Key="ready")
        except Exception:  # noqa: BLE001 # not ready yet, in any of many ways
            return False
        return True

    await child.until("ready to store objects", has_bucket, 60)
    client.close()
    return Server(child, endpoint)
