"""The names of everything in a repository: in, ids and names; out, keys, and back. Pure text.

Names are percent-encoded, so that a key holds only letters, digits, `_.-%~/`, and are compared exactly. `~` begins only
names of our own that no encoded name can equal.
"""

import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from agent.crypto.digest import digest
from agent.repository.frame import Codec

ROOT = "helenus/v1/"
REPOSITORY = ROOT + "repository.json"
KEY_SLOTS = ROOT + "keys/"
CLAIMS = ROOT + "claims/"
CLUSTERS = ROOT + "clusters/"
NAMES = ROOT + "names/"
"""An index of clusters by name: cluster.json can't be found without listing all data."""
CHECKS = "helenus-check/"
"""What a destination's check writes, and a crash of it may leave: it counts as nothing."""
SWEEP = "~sweep"
"""The name of a sweep's own intent: not a tag, for `~` is always encoded in one."""
ADOPTED = "~adopted"
"""The name of the mark in the prefix of a node that left the ring, which another node's agent sweeps."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LONGEST = 200
_CODECS = {codec.name.lower(): codec for codec in Codec}
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


class DataName(NamedTuple):
    """What a data key says: the object's name in hex and its codec. Only both together are an object. `size`: the
    stored bytes that the key promises; None where the codec raw leaves no choice."""

    name: str
    codec: Codec
    size: int | None = None


class CatalogueName(NamedTuple):
    """What a catalogue key says: the tag, and the record's number, or None for the deletion mark."""

    tag: str
    number: int | None


class ManifestName(NamedTuple):
    """What a manifest key says; `host_id` is None for plan.json."""

    tag: str
    host_id: str | None


def encoded(name: str) -> str:
    """A name as one segment of a key."""
    text = quote(name, safe="").replace("~", "%7E")
    return text.replace(".", "%2E") if text.strip(".") == "" else text


def decoded(segment: str) -> str | None:
    """The name of a segment; None when it is not what `encoded` gives."""
    try:
        name = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        return None
    return name if name and encoded(name) == segment else None


def slot_key(number: int) -> str:
    """A key slot of an encrypted repository."""
    return f"{KEY_SLOTS}{number}.json"


def parse_slot(key: str) -> int | None:
    """The number of a key slot; None for what is not ours."""
    number, dot, suffix = key.removeprefix(KEY_SLOTS).partition(".")
    ours = key.startswith(KEY_SLOTS) and dot and suffix == "json" and _NUMBER.fullmatch(number)
    return int(number) if ours else None


def claims_prefix(key: str) -> str:
    """Where agents say that they are about to make that key (agent.repository.sole_creation)."""
    return f"{CLAIMS}{key.removeprefix(ROOT)}/"


def cluster_prefix(cluster_id: str) -> str:
    return f"{CLUSTERS}{encoded(cluster_id)}/"


def named_prefix(cluster_name: str) -> str:
    """Where the ids of the clusters of that name stand, an object each."""
    name = encoded(cluster_name)
    if len(name) > _LONGEST:
        name = "~" + digest(cluster_name.encode()).hex()
    return f"{NAMES}{name}/"


def named_key(cluster_name: str, cluster_id: str) -> str:
    return named_prefix(cluster_name) + encoded(cluster_id)


def cluster_key(cluster_id: str) -> str:
    """cluster.json: name and id."""
    return cluster_prefix(cluster_id) + "cluster.json"


def catalogue_prefix(cluster_id: str, tag: str | None = None) -> str:
    """All listing records and marks of a cluster, or those of one tag."""
    prefix = cluster_prefix(cluster_id) + "catalogue/"
    return prefix if tag is None else f"{prefix}{encoded(tag)}/"


def record_key(cluster_id: str, tag: str, number: int) -> str:
    return f"{catalogue_prefix(cluster_id, tag)}{number}.json"


def deleted_key(cluster_id: str, tag: str) -> str:
    return catalogue_prefix(cluster_id, tag) + "deleted"


def parse_catalogue(cluster_id: str, key: str) -> CatalogueName | None:
    """What a key below the catalogue is; None for what is not ours."""
    prefix = catalogue_prefix(cluster_id)
    segment, slash, rest = key.removeprefix(prefix).partition("/")
    tag = decoded(segment)
    if not key.startswith(prefix) or not slash or tag is None:
        return None
    if rest == "deleted":
        return CatalogueName(tag, None)
    number, dot, suffix = rest.partition(".")
    return CatalogueName(tag, int(number)) if dot and suffix == "json" and _NUMBER.fullmatch(number) else None


def backups_prefix(cluster_id: str, tag: str | None = None) -> str:
    """All plans and manifests of a cluster, or those of one tag."""
    prefix = cluster_prefix(cluster_id) + "backups/"
    return prefix if tag is None else f"{prefix}{encoded(tag)}/"


def plan_key(cluster_id: str, tag: str) -> str:
    return backups_prefix(cluster_id, tag) + "plan.json"


def manifest_key(cluster_id: str, tag: str, host_id: str) -> str:
    return f"{backups_prefix(cluster_id, tag)}{encoded(host_id)}.manifest"


def parse_backup(cluster_id: str, key: str) -> ManifestName | None:
    """What a key below backups/ is; None for what is not ours."""
    prefix = backups_prefix(cluster_id)
    segment, slash, rest = key.removeprefix(prefix).partition("/")
    tag = decoded(segment)
    if not key.startswith(prefix) or not slash or tag is None:
        return None
    if rest == "plan.json":
        return ManifestName(tag, None)
    host_id = decoded(rest.removesuffix(".manifest")) if rest.endswith(".manifest") else None
    return None if host_id is None else ManifestName(tag, host_id)


def node_prefix(cluster_id: str, host_id: str) -> str:
    """All that one node wrote but its manifests."""
    return f"{cluster_prefix(cluster_id)}nodes/{encoded(host_id)}/"


def data_prefix(cluster_id: str, host_id: str) -> str:
    return node_prefix(cluster_id, host_id) + "data/"


def data_key(cluster_id: str, host_id: str, name: bytes, codec: Codec = Codec.RAW, size: int = 0) -> str:
    """An object of that name (32 bytes). What a codec makes of the same bytes depends on its release and level, so that
    a coded object's key bears its stored size: a cut one shows in a listing, as a raw one does."""
    text = name.hex()
    suffix = "raw" if codec is Codec.RAW else f"{codec.name.lower()}-{size}"
    return f"{data_prefix(cluster_id, host_id)}{text[:2]}/{text}.{suffix}"


def parse_data(prefix: str, key: str) -> DataName | None:
    """What a key below the data prefix `prefix` is; None for what is not ours.

    An unknown codec is not ours either: a person's copy (`….raw.bak`) proves nothing, and what a newer version stored
    can be neither read nor judged by this one, so that it is neither reused nor swept.
    """
    directory, _, last = key.removeprefix(prefix).partition("/")
    name, _, suffix = last.partition(".")
    word, dash, number = suffix.partition("-")
    codec = _CODECS.get(word)
    if not key.startswith(prefix) or codec is None or not _DIGEST.fullmatch(name) or directory != name[:2]:
        return None
    if codec is Codec.RAW:
        return None if dash else DataName(name, codec)
    return DataName(name, codec, int(number)) if _NUMBER.fullmatch(number) else None


def intents_prefix(cluster_id: str, host_id: str) -> str:
    return node_prefix(cluster_id, host_id) + "intents/"


def intent_key(cluster_id: str, host_id: str, tag: str) -> str:
    return intents_prefix(cluster_id, host_id) + encoded(tag)


def sweep_key(cluster_id: str, host_id: str) -> str:
    return intents_prefix(cluster_id, host_id) + SWEEP


def adopted_key(cluster_id: str, host_id: str) -> str:
    return intents_prefix(cluster_id, host_id) + ADOPTED


def parse_intent(prefix: str, key: str) -> str | None:
    """The tag of an intent's key, `SWEEP` and `ADOPTED` for those marks, None for what is not ours."""
    segment = key.removeprefix(prefix)
    if not key.startswith(prefix):
        return None
    return segment if segment in (SWEEP, ADOPTED) else decoded(segment)
