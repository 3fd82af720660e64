"""Where the oracle reads from: a listing of keys with sizes, and bytes. Shares no code with the agent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol


class Reader(Protocol):
    """A destination as the oracle sees it."""

    def list(self) -> Iterator[tuple[str, int]]:
        """Every key with its size in bytes."""

    def get(self, key: str) -> bytes:
        """The bytes of a key."""


class DirectoryReader:
    """A local destination. The agent's unfinished files (below `.helenus-tmp`) are no objects."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def list(self) -> Iterator[tuple[str, int]]:
        for path in sorted(self._root.rglob("*")):
            key = path.relative_to(self._root).as_posix()
            if path.is_file() and not key.startswith(".helenus-tmp/"):
                yield key, path.stat().st_size

    def get(self, key: str) -> bytes:
        return (self._root / key).read_bytes()


class BucketReader:
    """A bucket, by a boto3 client that the test made. `prefix` ends with `/` or is empty."""

    def __init__(self, client: object, bucket: str, prefix: str = "") -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def list(self) -> Iterator[tuple[str, int]]:
        pages = self._client.get_paginator("list_objects_v2")  # type: ignore[attr-defined]
        for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
            for entry in page.get("Contents", ()):
                yield entry["Key"].removeprefix(self._prefix), entry["Size"]

    def get(self, key: str) -> bytes:
        answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)  # type: ignore[attr-defined]
        body: bytes = answer["Body"].read()
        return body
