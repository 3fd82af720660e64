"""A bucket of a million objects that isn't there: in, how many nodes, objects and backups; out, a store whose keys and
manifests are made as they are asked for. What is put is kept, what is deleted is gone, calls are counted as S3 bills
them: a list and a delete for each 1,000 keys.

Objects of a node fall into as many classes as there are backups; backup number n names those of the classes n and
n + 1.
"""

import heapq
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import lru_cache

import msgspec

from agent.model.manifest import FileEntry, Head, Piece, TablePart, TableReference
from agent.repository.form import PLAIN
from agent.repository.keys import (
    backups_prefix,
    data_key,
    manifest_key,
    parse_backup,
    parse_data,
    record_key,
)
from agent.repository.manifest import ManifestWriter
from agent.repository.manifest_frame import FrameHeader, FrameWriter
from agent.storage.protocol import OPEN, Buffer, Entry, Gate, NotFound, Put, Unlocked
from agent.wire.backups import SUCCESS, NodeRecord, Record
from agent.wire.node import NodeIdentity

CLUSTER = "c1"
PIECE = 8 * 1024 * 1024
SIZE = PLAIN.size(PIECE)
"""Stored bytes of each object."""
_PAGE = 1000
_A_TABLE = 200
"""Objects that one table names: its frame stays inline."""
_TABLE_ID = "0" * 32


def host(number: int) -> str:
    return f"{number:08x}-0000-0000-0000-000000000000"


def tag(number: int) -> str:
    return f"t{number:04}"


def _node_of(key: str) -> str:
    return key.partition("/nodes/")[2].partition("/")[0]


class LargeBucket(Unlocked):
    """Keeps the protocol of `Storage`. `objects`: of each node. `now`: the store's clock, unix seconds."""

    def __init__(self, nodes: int, objects: int, backups: int) -> None:
        self.nodes, self.objects, self.backups = nodes, objects, backups
        self.calls: Counter[str] = Counter()
        self.now = 1000.0
        self._step = 2**64 // objects
        self._kept: dict[str, tuple[bytes, float]] = {}
        self._gone: set[str] = set()
        self._gone_data: dict[str, bytearray] = {}
        self._body = lru_cache(maxsize=8)(self._manifest)

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        """See `Storage.put`."""
        self.calls["put"] += 1
        content = b"".join(body)
        if key in self._kept and not replace:
            return Put(created=False, size=len(self._kept[key][0]))
        self._kept[key] = content, self.now
        return Put(created=True, size=len(content))

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        """See `Storage.get`."""
        self.calls["get"] += 1
        content = self._content(key)
        if content is None:
            raise NotFound(f"there is no object {key}", key=key)
        return content[start:] if length is None else content[start : start + length]

    async def head(self, key: str) -> Entry | None:
        """See `Storage.head`."""
        self.calls["head"] += 1
        content = self._content(key)
        return None if content is None else Entry(key, len(content), self._kept.get(key, (b"", 0.0))[1])

    async def list(self, prefix: str) -> AsyncIterator[Entry]:
        """See `Storage.list`. Sizes of manifests and records are made up: only whoever reads one pays for its body."""
        self.calls["list"] += 1
        kept = (Entry(key, len(self._kept[key][0]), self._kept[key][1]) for key in sorted(self._kept))
        found = heapq.merge(kept, self._made(prefix), key=lambda entry: entry.key)
        number = 0
        for entry in found:
            if entry.key.startswith(prefix):
                number += 1
                self.calls["list"] += number > _PAGE and number % _PAGE == 1
                yield entry

    async def delete(self, keys: Sequence[str]) -> None:
        """See `Storage.delete`."""
        self.calls["delete"] += -(-len(keys) // _PAGE)
        for key in keys:
            self._remove(key)

    async def close(self) -> None:
        """Nothing is open."""

    def data_left(self, number: int) -> int:
        """Objects of a node that were not deleted."""
        return self.objects - sum(self._gone_data.get(host(number), b""))

    def _remove(self, key: str) -> None:
        if self._kept.pop(key, None) is not None:
            return
        name = parse_data(f"{key.partition('/data/')[0]}/data/", key)
        if name is None:
            self._gone.add(key)
        else:
            gone = self._gone_data.setdefault(_node_of(key), bytearray(self.objects))
            gone[int(name.name[:16], 16) // self._step] = 1

    def _made(self, prefix: str) -> Iterator[Entry]:
        """What no one put, in order, of the one family of keys that the prefix is about."""
        if prefix.startswith(backups_prefix(CLUSTER)):
            for number in range(self.backups):
                if backups_prefix(CLUSTER, tag(number)).startswith(prefix) or prefix.endswith(f"/{tag(number)}/"):
                    keys = (manifest_key(CLUSTER, tag(number), host(node)) for node in range(self.nodes))
                    yield from (Entry(key, 1, 0.0) for key in keys if key not in self._gone)
        elif "/catalogue/" in prefix:
            keys = (record_key(CLUSTER, tag(number), 1) for number in range(self.backups))
            yield from (Entry(key, self._record_size, 0.0) for key in keys if key not in self._gone)
        elif prefix.endswith("/data/"):
            node = _node_of(prefix)
            gone = self._gone_data.get(node)
            for number in range(self.objects):
                if gone is None or not gone[number]:
                    yield Entry(data_key(CLUSTER, node, bytes.fromhex(self._id(number))), SIZE, 0.0)

    def _id(self, number: int) -> str:
        return f"{number * self._step:016x}{'0' * 48}"

    def _content(self, key: str) -> bytes | None:
        if key in self._kept:
            return self._kept[key][0]
        if key in self._gone:
            return None
        found = parse_backup(CLUSTER, key)
        if found is not None and found.host_id is not None:
            return self._body(int(found.tag[1:]), found.host_id)
        return self._record(int(key.split("/")[-2][1:])) if key.endswith("/1.json") else None

    @property
    def _record_size(self) -> int:
        return len(self._record(0))

    def _record(self, number: int) -> bytes:
        nodes = [NodeRecord(host(node), "127.0.0.1", SUCCESS, {"ks": 1}) for node in range(self.nodes)]
        return msgspec.json.encode(Record(tag(number), "adhoc", 1.0, SUCCESS, {"ks": ["t"]}, nodes, 2.0))

    def _manifest(self, number: int, host_id: str) -> bytes:
        """The body of a node's part of a backup."""
        writer = ManifestWriter()
        classes = [number, number + 1] if number + 1 < self.backups else [number]
        names = [self._id(one) for each in classes for one in range(each, self.objects, self.backups)]
        references = []
        for start in range(0, len(names), _A_TABLE):
            taken, table = names[start : start + _A_TABLE], f"t{start // _A_TABLE}"
            pieces = tuple(Piece(name, 0, PIECE) for name in taken)
            entry = FileEntry("nb-1-big-Data.db", len(taken) * PIECE, 0, "0" * 64, pieces, PIECE)
            frame = FrameWriter(FrameHeader("ks", table, _TABLE_ID))
            frame.add(TablePart((entry,), dict.fromkeys(taken, SIZE)))
            packed = frame.close()
            offset, length = writer.inline(packed, "ks", table)
            references.append(TableReference("ks", table, _TABLE_ID, 1, entry.size, 1, length, offset=offset))
        node = NodeIdentity(host_id, "127.0.0.1", "test", "dc1", "r1", ["1"], "5.0.9", "Murmur3", "v1")
        head = Head(
            1, tag(number), "adhoc", CLUSTER, 1.0, node, ("/data",), (), None, "0.1.0", "a1", "c", tuple(references)
        )
        return b"".join(writer.close(head))
