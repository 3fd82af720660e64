"""The independent checker: in, one or more destinations of a cluster; out, nothing, or all that is wrong.

It asserts the invariants of the design after every step of a test, and keeps what it saw to compare with the next look:

I1  a manifest names only objects that exist, with the size it says
I2  an object's name is the digest of its plain bytes
I3  no key ever gets other bytes (intents apart)
I4  nothing that a manifest of an undeleted backup needs is gone, and no such manifest is; deleted is only what somebody
    said that it is (`deleted`): a mark by itself excuses nothing, it is a finding
I5  what was reported `success` has its manifest: to whoever asked (`expect`), and by a listing record

and reads every byte of every file of every undeleted backup: file digests, sizes, Cassandra's own Digest.crc32. When
all that was asked for has ended (`idle`), no intent may be left.
"""

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.oracle.formats import (
    DATA,
    INLINE,
    TABLE,
    ZSTD,
    Broken,
    Keys,
    b3,
    document_of,
    head_of,
    name_of,
    parts_of,
    place_of,
    plain_of,
    segments,
)
from tests.oracle.keys import keys_of
from tests.oracle.listing import Listing, lies
from tests.oracle.reader import Reader

ROOT = "helenus/v1/"
_OBJECT = re.compile(r"[0-9a-f]{64}\.(?:raw|zstd-[1-9][0-9]*)")


class OracleFailed(AssertionError):
    """Everything that was found wrong."""

    def __init__(self, findings: list[str]) -> None:
        super().__init__("the oracle found:\n  " + "\n  ".join(findings))
        self.findings = findings


@dataclass
class Backup:
    """One node's part of a backup, as it was read. `files`: (keyspace, table, name) → SHA-256 of its bytes."""

    tag: str
    host_id: str
    head: dict[str, Any]
    files: dict[tuple[str, str, str], str] = field(default_factory=dict)


class Oracle:
    """One destination, looked at again and again. `per_node`: it is one node's own directory, of a cluster of more.
    `keys`: those of an encrypted one, or its passphrase."""

    def __init__(self, reader: Reader, *, per_node: bool = False, keys: Keys | bytes | None = None) -> None:
        self._reader = reader
        self._keys = keys
        self._per_node = per_node
        self._seen: dict[str, bytes] = {}
        self._manifests: set[tuple[str, str]] = set()
        self._expected: set[tuple[str, str]] = set()
        self._gone: set[str] = set()

    def expect(self, tag: str, host_ids: Iterable[str]) -> None:
        """A command reported success for these nodes' parts of `tag`: from now on they must be there (I5), also of a
        backup that was deleted and has been copied here anew."""
        self._gone.discard(tag)
        self._expected.update((tag, host_id) for host_id in host_ids)

    def deleted(self, tag: str) -> None:
        """Somebody deletes the backup, or cancels it: it may bear a mark, and its manifests may go."""
        self._gone.add(tag)

    def check(self, *, idle: bool = False) -> dict[tuple[str, str], Backup]:
        """Look at everything. (tag, host id) → backup, of those that are not deleted. `idle`: all that was asked for
        has ended. Raises OracleFailed."""
        if isinstance(self._keys, bytes):
            self._keys = keys_of(self._reader, self._keys)
        look = _Look(self._reader, self._keys)
        look.run()
        look.judge_listings(per_node=self._per_node)
        findings = look.findings
        findings += [
            f"I4: {tag} bears the mark of a deleted backup, and nobody deleted it"
            for tag in sorted(look.deleted - self._gone)
        ]
        if idle:
            findings += [f"{key} is left although nothing works here" for key in look.intents]
        for key, digest in look.digests.items():
            if self._seen.get(key, digest) != digest:
                findings.append(f"I3: {key} has got other bytes")
        for tag, host_id in sorted((self._manifests | self._expected) - set(look.backups)):
            if tag not in self._gone:
                findings.append(
                    f"I4/I5: the manifest of {tag} of the node {host_id} is not there, and nobody deleted it"
                )
        if findings:
            raise OracleFailed(findings)
        self._seen = look.digests
        self._manifests = set(look.backups)
        self._expected = {pair for pair in self._expected if pair[0] not in self._gone}
        return look.backups


class _Look:
    """One look at a destination."""

    def __init__(self, reader: Reader, keys: Keys | None) -> None:
        self._reader = reader
        self._keys = keys
        self._sizes = dict(reader.list())
        self.findings: list[str] = []
        self.digests: dict[str, bytes] = {}
        self.deleted: set[str] = set()
        self.intents: list[str] = []
        self.backups: dict[tuple[str, str], Backup] = {}
        self._listings: dict[str, Listing] = {}

    def run(self) -> None:
        manifests = []
        for key in self._sizes:
            parts = segments(key.removeprefix(ROOT))
            if not key.startswith(ROOT):
                if not key.startswith("helenus-check/"):
                    self.findings.append(f"{key} is no key of a repository")
                continue
            match parts:
                case ["keys", name] if name.endswith(".json"):
                    self._remember(key)
                case ["repository.json"] | ["names", _, _] | ["clusters", _, "cluster.json"]:
                    self._remember(key)
                case ["clusters", _, "nodes", _, "intents", _]:
                    self.intents.append(key)
                case ["clusters", cluster, "nodes", _, "data", directory, name] if _OBJECT.fullmatch(name):
                    self._object(key, directory, name.partition(".")[0], cluster)
                case ["clusters", _, "nodes", _, "damaged", _, name] if _OBJECT.fullmatch(name):
                    pass  # a note that an object was found damaged: it needs no object
                case ["clusters", _, "catalogue", tag, "deleted"]:
                    self.deleted.add(tag)
                case ["clusters", cluster, "catalogue", tag, name] if name.removesuffix(".json").isdecimal():
                    self._listing(tag).records[int(name.removesuffix(".json"))] = self._json(key, cluster)
                case ["clusters", cluster, "backups", tag, "plan.json"]:
                    self._listing(tag).plan = self._json(key, cluster)
                case ["clusters", cluster, "backups", tag, name] if name.endswith(".manifest"):
                    manifests.append((key, cluster, tag, name.removesuffix(".manifest")))
                    self._remember(key)
                case _:
                    self.findings.append(f"{key} is no key of a repository")
        for key, cluster, tag, host_id in manifests:
            if tag not in self.deleted:
                self._manifest(key, cluster, tag, host_id)

    def judge_listings(self, *, per_node: bool) -> None:
        """Plans and records of what is not deleted, by the manifests that were read."""
        for tag, listing in sorted(self._listings.items()):
            if tag in self.deleted:
                continue
            heads = {host_id: backup.head for (each, host_id), backup in self.backups.items() if each == tag}
            try:
                self.findings += lies(listing, heads, per_node=per_node)
            except (KeyError, TypeError) as error:
                self.findings.append(f"plan or records of {tag}: {type(error).__name__}: {error}")

    def _listing(self, tag: str) -> Listing:
        return self._listings.setdefault(tag, Listing(tag))

    def _remember(self, key: str) -> bytes:
        content = self._reader.get(key)
        if len(content) != self._sizes[key]:
            self.findings.append(f"{key} is listed with {self._sizes[key]} bytes and has {len(content)}")
        self.digests[key] = b3(content)
        return content

    def _json(self, key: str, cluster: str) -> dict[str, Any]:
        content = self._remember(key)
        try:
            read: dict[str, Any] = json.loads(document_of(content, key, cluster, self._keys))
        except (ValueError, Broken, KeyError, struct.error) as error:
            self.findings.append(f"{key} can't be read: {error}")
            return {}
        return read

    def _object(self, key: str, directory: str, name: str, cluster: str) -> None:
        """By itself. Whether a sealed one is what its name says shows when a manifest gives its id."""
        stored = self._remember(key)
        try:
            plain = plain_of(stored, None, None, cluster, self._keys)
            if directory != name[:2] or (self._keys is None and b3(plain).hex() != name):
                self.findings.append(f"I2: {key} holds other bytes than its name says")
        except Broken as error:
            self.findings.append(f"I2: {key}: {error}")

    def _manifest(self, key: str, cluster: str, tag: str, host_id: str) -> None:
        where = f"the manifest of {tag} of {host_id}"
        try:
            content = self._reader.get(key)
            head = head_of(content, key, cluster, self._keys)
            if (head["tag"], head["cluster_id"], head["node"]["host_id"]) != (tag, cluster, host_id):
                raise Broken("it is of another backup, cluster or node than its key says")
            backup = Backup(tag, host_id, head)
            node = _Node(self, f"{ROOT}clusters/{cluster}/nodes/{host_id}/data/", cluster, self._keys)
            own = head.get("own_objects", {})
            node.named(own, head.get("own_codecs", {}), where)
            for table in head["tables"]:
                frame = content[table["offset"] :][: table["length"]] if table.get("offset") else b""
                if frame and self._keys is not None:
                    place = place_of(key, table["keyspace"], table["table"])
                    frame = plain_of(frame, INLINE, place, cluster, self._keys)
                self._table(node, frame, table, own, backup)
        except (Broken, KeyError, ValueError, TypeError, IndexError) as error:
            self.findings.append(f"{where}: {type(error).__name__}: {error}")
        else:
            self.backups[tag, host_id] = backup

    def _table(self, node: "_Node", frame: bytes, table: dict[str, Any], own: dict[str, int], backup: Backup) -> None:
        name = f"{table['keyspace']}.{table['table']} of {backup.tag}"
        if table.get("object"):
            node.named({table["object"]: table["length"]}, {}, name)
            frame = node.plain(table["object"], TABLE)
        header, parts = parts_of(frame)
        if [header["keyspace"], header["table"], header["table_id"]] != [
            table["keyspace"],
            table["table"],
            table["table_id"],
        ]:
            raise Broken(f"the frame of {name} is another table's")
        files = [(entry, own) for entry in table.get("own", ())]
        for part in parts:
            node.named(part["objects"], part.get("codecs", {}), name)
            files += [(entry, part["objects"]) for entry in part["files"]]
        if (len(files), sum(entry[1] for entry, _ in files)) != (table["files"], table["bytes"]):
            raise Broken(f"{name} has other files than its reference says")
        contents: dict[tuple[int, str], tuple[int, bytes]] = {}
        for entry, objects in files:
            file, size, volume, _, _, _ = entry
            if not 0 <= volume < len(backup.head["data_directories"]):
                raise Broken(f"{file} of {name} lies on no volume")
            whole = hashlib.sha256()
            crc = 0
            begin = b""
            for piece in node.pieces(entry, objects, name):
                whole.update(piece)
                crc = zlib.crc32(piece, crc)
                begin = begin or bytes(piece[:64])
            if (volume, file) in contents:
                raise Broken(f"{file} is named twice in {name}")
            contents[volume, file] = (crc, begin)
            backup.files[table["keyspace"], table["table"], file] = whole.hexdigest()
            if size == 0 and entry[4]:
                raise Broken(f"{file} of {name} has pieces and no bytes")
        for (volume, file), (_, text) in contents.items():
            if file.endswith("-Digest.crc32"):
                data = (volume, file.removesuffix("Digest.crc32") + "Data.db")
                if data in contents and int(text) != contents[data][0]:
                    self.findings.append(f"{data[1]} of {name} has another CRC-32 than its Digest.crc32 says")


class _Node:
    """The objects of one node."""

    def __init__(self, look: _Look, prefix: str, cluster: str, keys: Keys | None) -> None:
        self._look = look
        self._prefix = prefix
        self._cluster = cluster
        self._keys = keys
        self._suffixes: dict[str, str] = {}

    def named(self, objects: dict[str, int], codecs: dict[str, int], where: str) -> None:
        """I1 for these objects."""
        for digest, size in objects.items():
            self._suffixes[digest] = f"zstd-{size}" if codecs.get(digest) == ZSTD else "raw"
            found = self._look._sizes.get(self._key(digest))
            if found != size:
                self._look.findings.append(f"I1: {where} names {digest} with {size} bytes, the store has {found}")

    def plain(self, digest: str, kind: int = DATA) -> bytes:
        if self._key(digest) not in self._look._sizes:
            raise Broken(f"the object {digest} is missing")
        stored = self._look._reader.get(self._key(digest))
        plain = plain_of(stored, kind, bytes.fromhex(digest), self._cluster, self._keys)
        if b3(plain).hex() != digest:
            raise Broken(f"I2: the object {digest} holds other bytes than its name says")
        return plain

    def pieces(self, entry: list[Any], objects: dict[str, int], where: str) -> Iterable[bytes]:
        """The file's bytes, piece by piece, compared with its digest."""
        name, size, _, digest, pieces, piece_size = entry
        runs = b""
        total = 0
        for object_id, offset, length in pieces:
            if object_id not in objects:
                raise Broken(f"{name} of {where} lies in an object that the manifest does not name")
            piece = self.plain(object_id)[offset : offset + length]
            if len(piece) != length or length != min(piece_size, size - total):
                raise Broken(f"a piece of {name} of {where} is not as long as it should be")
            total += length
            runs += b3(piece)
            yield piece
        if total != size or b3(runs + size.to_bytes(8, "big")).hex() != digest:
            self._look.findings.append(f"{name} of {where} has other bytes than its digest says")

    def _key(self, digest: str) -> str:
        name = name_of(digest, self._keys)
        return f"{self._prefix}{name[:2]}/{name}.{self._suffixes[digest]}"
