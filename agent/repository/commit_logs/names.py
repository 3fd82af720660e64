"""Keys below `nodes/<host_id>/commitlogs/`: in, segments, losses, versions; out, keys, and back. Pure text.

    segments/<id>.<version>.whole              the record of a closed segment
    segments/<id>.<version>.tail-<bytes>-<µs>  of a copy of so many bytes, all until then, while it was written
    data/<id>/<name>.<codec>                   the bytes, objects as those of backups are
    damaged/<id>.<version>                     that a scrub found the segment's bytes damaged
    losses/<id>.<digest>                       what is known not to come any more, from this segment on
    schemas/<microseconds>-<version>           a schema as it was first seen

Each segment's objects stand alone: what frees one segment can't take another's bytes. Numbers are filled with zeros, so
that keys sort as segments were written.
"""

import re
from typing import NamedTuple

from agent.crypto.digest import digest
from agent.plan.segment_names import SegmentName, parse_segment
from agent.repository.frame import Codec
from agent.repository.keys import encoded, node_prefix

_DIGITS = 18
_RECORD = re.compile(r"([0-9]{18})\.([0-9]{1,4})\.(whole|tail-([0-9]{18})-([0-9]{18}))")
_DAMAGED = re.compile(r"([0-9]{18})\.([0-9]{1,4})")
_OBJECT = re.compile(r"([0-9]{18})/[0-9a-f]{64}\.[a-z0-9]+(?:-[0-9]{1,18})?")


class RecordName(NamedTuple):
    """What a record's key says; `tail`: of a copy taken while it was written, its bytes and until when it has all
    (microseconds since 1970); None of a whole segment."""

    segment: SegmentName
    tail: tuple[int, int] | None


def logs_prefix(cluster_id: str, host_id: str) -> str:
    """All of a node's commit log."""
    return node_prefix(cluster_id, host_id) + "commitlogs/"


def records_prefix(cluster_id: str, host_id: str, segment_id: int | None = None) -> str:
    """The records of all segments, or those of one."""
    prefix = logs_prefix(cluster_id, host_id) + "segments/"
    return prefix if segment_id is None else f"{prefix}{segment_id:0{_DIGITS}}."


def record_key(cluster_id: str, host_id: str, name: str, tail: tuple[int, int] | None = None) -> str:
    """The record of the segment with that file name. Raises ValueError for a name that is none."""
    segment = _parsed(name)
    kind = "whole" if tail is None else f"tail-{tail[0]:0{_DIGITS}}-{tail[1]:0{_DIGITS}}"
    return f"{records_prefix(cluster_id, host_id, segment.id)}{segment.version}.{kind}"


def parse_record(prefix: str, key: str) -> RecordName | None:
    """What a key below the prefix of all records says; None for what is not ours."""
    found = _RECORD.fullmatch(key.removeprefix(prefix)) if key.startswith(prefix) else None
    if found is None:
        return None
    tail = None if found[4] is None else (int(found[4]), int(found[5]))
    return RecordName(SegmentName(int(found[1]), int(found[2])), tail)


def log_data_prefix(cluster_id: str, host_id: str, segment_id: int | None = None) -> str:
    """The objects of all segments, or those of one."""
    prefix = logs_prefix(cluster_id, host_id) + "data/"
    return prefix if segment_id is None else f"{prefix}{segment_id:0{_DIGITS}}/"


def log_data_key(cluster_id: str, host_id: str, segment_id: int, name: bytes, codec: Codec, size: int) -> str:
    """An object of that name (32 bytes) of a segment; a coded one's key bears its stored size, as `data_key` says."""
    suffix = "raw" if codec is Codec.RAW else f"{codec.name.lower()}-{size}"
    return f"{log_data_prefix(cluster_id, host_id, segment_id)}{name.hex()}.{suffix}"


def parse_log_data(prefix: str, key: str) -> int | None:
    """The id of the segment whose object it is, by a key below the prefix of all objects; None for what is not ours."""
    number, slash, rest = key.removeprefix(prefix).partition("/")
    ours = (
        key.startswith(prefix) and slash and rest and len(number) == _DIGITS and number.isascii() and number.isdigit()
    )
    return int(number) if ours else None


def damaged_prefix(cluster_id: str, host_id: str) -> str:
    return logs_prefix(cluster_id, host_id) + "damaged/"


def damaged_key(cluster_id: str, host_id: str, name: str) -> str:
    """The note that a segment is damaged. Raises ValueError for a name that is none."""
    segment = _parsed(name)
    return f"{damaged_prefix(cluster_id, host_id)}{segment.id:0{_DIGITS}}.{segment.version}"


def parse_damaged(prefix: str, key: str) -> SegmentName | None:
    """The segment of a note, by a key below the prefix of all; None for what is not ours."""
    found = _DAMAGED.fullmatch(key.removeprefix(prefix)) if key.startswith(prefix) else None
    return None if found is None else SegmentName(int(found[1]), int(found[2]))


def losses_prefix(cluster_id: str, host_id: str) -> str:
    return logs_prefix(cluster_id, host_id) + "losses/"


def loss_key(cluster_id: str, host_id: str, after: str, before: str) -> str:
    """What is missing between these two segments ("" = none is known there)."""
    place = parse_segment(after) or parse_segment(before)
    number = 0 if place is None else place.id
    return f"{losses_prefix(cluster_id, host_id)}{number:0{_DIGITS}}.{digest(f'{after} {before}'.encode()).hex()[:16]}"


def schemas_prefix(cluster_id: str, host_id: str) -> str:
    return logs_prefix(cluster_id, host_id) + "schemas/"


def schema_key(cluster_id: str, host_id: str, first_seen: float, version: str) -> str:
    return f"{schemas_prefix(cluster_id, host_id)}{int(first_seen * 1_000_000):0{_DIGITS}}-{encoded(version)}"


def _parsed(name: str) -> SegmentName:
    segment = parse_segment(name)
    if segment is None:
        raise ValueError(f"«{name[:80]}» is no segment of a commit log")
    return segment
