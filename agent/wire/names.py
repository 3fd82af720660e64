"""One grammar per kind of name: in, a text of a request; out, the same text, or `InvalidName`.

A name is checked before anything is looked up with it: names become parts of paths, object keys and arguments of
nodetool. Keyspaces and tables as Cassandra allows them: letters, digits and underscores; keyspaces up to 48 characters,
a table up to 222 (SchemaConstants.NAME_LENGTH is 48 before 5.0, longer after).
"""

import re
from typing import ClassVar

from kit.errors import InvalidInput

_GRAMMARS = {
    "keyspace": re.compile(r"[A-Za-z0-9_]{1,48}"),
    "table": re.compile(r"[A-Za-z0-9_]{1,222}"),
    "tag": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}"),
    "destination": re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,128}"),
    "command": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"),
    "job": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"),
    "phase": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"),
    "coordinator": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"),
    "backup_id": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"),
    "made_by": re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]{0,199})?"),
    "repository_id": re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}"),
    "script": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"),
    "nonce": re.compile(r"[A-Za-z0-9_-]{1,128}"),
    "cluster_id": re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}"),
    "host_id": re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
}

VIRTUAL_KEYSPACES = frozenset({"system_views", "system_virtual_schema", "system_metrics"})
"""Keyspaces without files."""
NOT_BACKED_UP = VIRTUAL_KEYSPACES | {"system_traces"}
"""Traces are of no use after the day."""
NODE_KEYSPACES = NOT_BACKED_UP | {"system", "system_schema"}
"""Keyspaces of the node itself: never restored on a live cluster."""
CLUSTER_KEYSPACES = frozenset({"system_auth", "system_distributed"})
"""Restored only when asked by name, and merged: emptying them would lock everybody out, the agent included."""

_SHOWN = 80


class InvalidName(InvalidInput):
    """A name outside its grammar; `fields`: what (the kind of name), where (the field), name (cut to 80 characters)."""

    code: ClassVar[str] = "invalid_name"
    todo: ClassVar[str] = "Use only the characters and the length that the kind of name allows (docs/protocol.md)."


def is_name(what: str, name: str) -> bool:
    """Whether `name` is one that `what` (a key of the grammars: keyspace, table, tag, destination, …) allows."""
    return _GRAMMARS[what].fullmatch(name) is not None


def check_name(what: str, name: str, where: str = "") -> str:
    """`name`, when `is_name`.

    Raises InvalidName, which shows the name cut short and with odd characters escaped.
    """
    if not is_name(what, name):
        shown = name[:_SHOWN].encode("unicode_escape").decode("ascii")
        raise InvalidName(f"«{shown}» can't be the name of a {what}", what=what, where=where or what, name=shown)
    return name


def check_tables(tables: dict[str, list[str]], where: str) -> None:
    """Check every keyspace and table of `tables`. Raises InvalidName."""
    for keyspace, names in tables.items():
        check_name("keyspace", keyspace, where)
        for table in names:
            check_name("table", table, f"{where}.{keyspace}")
