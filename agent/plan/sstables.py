"""The grammar of SSTable component names. In: names of a snapshot or a manifest. Out: SSTables. Pure.

`<version>-<generation>-<format>-<component>`: nb-1-big-Data.db, da-3h5r_1exz_1gq5m2pt5okj23mzwb-bti-Partitions.db,
nb-7-big-SAI+aa+idx+Meta.db. The third dash ends the SSTable's own name; any component may follow. The SSTables of a
legacy index lie in a directory `.<index>`.
"""

import re
from collections.abc import Iterable
from typing import TypeVar

import msgspec

_SSTABLE = r"[a-z]{2}-(?:[0-9]{1,19}|[0-9a-z]{1,24}_[0-9a-z]{1,24}_[0-9a-z]{1,24})-[a-z]{2,8}"
_COMPONENT = re.compile(rf"(?P<sstable>{_SSTABLE})-(?P<component>[A-Za-z0-9_+]+\.[A-Za-z0-9]{{1,16}})")
_INDEX = re.compile(r"\.[A-Za-z0-9_]{1,222}")
_LONGEST = 255

OWN_FILES = ("manifest.json", "schema.cql")
"""What a snapshot writes itself, beside the SSTables."""

DATA = "Data.db"
DIGEST = "Digest.crc32"


class Component(msgspec.Struct, frozen=True):
    """A parsed name. `sstable`: what all components of one SSTable begin with; `index`: the legacy index's name, "" for
    the table itself."""

    sstable: str
    component: str
    index: str = ""

    @property
    def owner(self) -> str:
        """The SSTable's name within the table: `sstable`, after `.<index>/` where it is an index's."""
        return f".{self.index}/{self.sstable}" if self.index else self.sstable

    @property
    def is_data(self) -> bool:
        """Whether it is the table's own Data.db (an index's is not)."""
        return self.component == DATA and not self.index


def parse(name: str) -> Component | None:
    """The component that `name` (relative to the table's directory) is, None for anything else."""
    directory, slash, last = name.rpartition("/")
    if slash and _INDEX.fullmatch(directory) is None:
        return None
    found = _COMPONENT.fullmatch(last)
    if found is None or len(last) > _LONGEST:
        return None
    return Component(found["sstable"], found["component"], directory[1:])


Item = TypeVar("Item")


def group(items: Iterable[tuple[str, Item]]) -> dict[str, list[tuple[str, Item]]]:
    """SSTable (`.<index>/` before it where it is an index's) → its (name, item)s, SSTables and names sorted. Names that
    are no component are left out."""
    found: dict[str, list[tuple[str, Item]]] = {}
    for name, item in items:
        component = parse(name)
        if component is not None:
            found.setdefault(component.owner, []).append((name, item))
    return {sstable: sorted(found[sstable], key=lambda pair: pair[0]) for sstable in sorted(found)}
