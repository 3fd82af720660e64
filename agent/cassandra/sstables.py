"""Names of files that came from outside (a manifest). In: a name. Out: the component that it is, or `UnsafeName`."""

from agent.cassandra.errors import UnsafeName
from agent.plan.sstables import OWN_FILES, Component, parse


def checked(name: str) -> Component | None:
    """`parse` for a name that came from outside (a manifest): None for what lies beside SSTables, else it must be a
    component. Raises `UnsafeName`."""
    if name in OWN_FILES:
        return None
    found = parse(name)
    if found is None:
        shown = name[:120].encode("unicode_escape").decode("ascii")
        raise UnsafeName(f"«{shown}» is no component of an SSTable", name=shown)
    return found


def is_staged(name: str) -> bool:
    """Whether a restore puts the file before Cassandra: components of the table itself. An index in a directory of its
    own is left out, the import rebuilds it. Raises `UnsafeName`."""
    found = checked(name)
    return found is not None and not found.index
