"""TOC.txt, the one file of a snapshot that changes after it was taken. In: what it holds now. Out: what is stored of
it.

A new index of the live table is written into it in place, and so through the hard link into the snapshot's: 4.1 appends
the index's components, 5.0 sorts them in among the others [X 4.1: SSTable.appendTOC, 5.0: TOCComponent.updateTOC]. What
is taken from it goes to a new file. Cassandra imports the files that are there, whatever TOC.txt says.
"""

from collections.abc import Collection

from agent.plan.sstables import parse

_TOC = "TOC.txt"


def may_grow(name: str) -> bool:
    """Whether the file of that name is a TOC.txt."""
    component = parse(name)
    return component is not None and component.component == _TOC


def as_listed(content: bytes, components: Collection[str], size: int) -> bytes | None:
    """What a TOC.txt held that was `size` bytes when the snapshot was listed, and has since grown to `content`: the
    lines of the `components` that the snapshot has. Of one that named more already, these lines and empty ones. None
    when that isn't what it held."""
    lines = [
        line for line in content.splitlines(keepends=True) if line.decode("ascii", "replace").strip() in components
    ]
    held = b"".join(lines)
    return held.ljust(size, b"\n") if len(held) <= size else None
