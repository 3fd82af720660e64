"""The files that a snapshot wrote itself, as a pass has stored them: what manifests need of them."""

from dataclasses import dataclass, field

from agent.model.manifest import FileEntry
from kit.errors import HelenusError


@dataclass(frozen=True)
class StoredOwnFiles:
    """(keyspace, table) → entries of its own files, and the objects that they are in (id, plain bytes). `errors`: of
    tables some of whose own files could not be had, and are left out."""

    entries: dict[tuple[str, str], list[FileEntry]]
    objects: list[tuple[bytes, int]]
    errors: dict[tuple[str, str], HelenusError] = field(default_factory=dict)
