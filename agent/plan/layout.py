"""Which objects a table's files go into: in, the files of a snapshot; out, SSTables with their objects. Pure.

Design §3.4: a large component is cut into pieces; components up to 1 MiB of one SSTable share an object, except
Statistics.db and Summary.db, which Cassandra rewrites in place and which share another; a whole SSTable under 1 MiB is
one object. What the snapshot itself wrote (manifest.json, schema.cql) is never packed with components: it shares
objects with its like of other tables. The layout depends on names and sizes only, so that the same SSTable always gives
the same objects.
"""

from collections.abc import Iterable, Sequence
from operator import itemgetter
from sys import intern

import msgspec

from agent.model.snapshot import FileStat, SnapshotTable
from agent.plan.sstables import DATA, DIGEST, OWN_FILES, parse

PACK_LIMIT = 1024 * 1024
"""Bytes up to which a component is packed, and below which a whole SSTable is one object."""
PIECE_SIZE = 8 * 1024 * 1024
"""Bytes of a piece; by measurement, and recorded per file, so that it may change."""
_REWRITTEN = ("Statistics.db", "Summary.db")


class Run(msgspec.Struct, frozen=True, gc=False):
    """Bytes of one file, given by its place in the SSTable's files, that follow each other in an object."""

    file: int
    start: int
    length: int


class ObjectLayout(msgspec.Struct, frozen=True):
    """An object's content: runs one after the other, `length` plain bytes in all."""

    runs: tuple[Run, ...]
    length: int


class SSTable(msgspec.Struct, frozen=True):
    """Files that belong together and the objects they go into. `name` of the form `[.index/]nb-1-big`, or a single
    file's own name. `data` and `crc`: places of Data.db and Digest.crc32 in `files`."""

    name: str
    files: tuple[FileStat, ...]
    objects: tuple[ObjectLayout, ...]
    size: int
    data: int | None = None
    crc: int | None = None

    @property
    def is_table_data(self) -> bool:
        """Whether it is an SSTable of the table itself: a legacy index has its own, in a directory below."""
        return self.data is not None and "/" not in self.name


class Group(msgspec.Struct, frozen=True, gc=False):
    """An SSTable whose layout is still to be made: a table may have very many. `components` of its `files`, which are
    sorted by name."""

    name: str
    files: tuple[FileStat, ...]
    components: tuple[str, ...]
    size: int

    @property
    def is_table_data(self) -> bool:
        """See `SSTable.is_table_data`."""
        return DATA in self.components and "/" not in self.name


def grouped(table: SnapshotTable) -> list[Group]:
    """The table's files by SSTable, largest first, without the snapshot's own files."""
    groups: dict[tuple[str, int], list[tuple[str, str, FileStat]]] = {}
    for file in table.files:
        if file.name in OWN_FILES:
            continue
        parsed = parse(file.name)
        # There are few components and very many files: their names are kept once.
        owner, component = (parsed.owner, intern(parsed.component)) if parsed else (file.name, file.name)
        groups.setdefault((owner, file.volume), []).append((file.name, component, file))
    found = []
    while groups:
        (name, _), members = groups.popitem()
        members.sort(key=itemgetter(0))
        files = tuple(file for _, _, file in members)
        components = tuple(component for _, component, _ in members)
        found.append(Group(name, files, components, sum(file.size for file in files)))
    found.sort(key=lambda group: (-group.size, group.name, group.files[0].volume))
    return found


def component_of(name: str) -> str:
    """The component's part of a file's name, the whole name when it is no SSTable's."""
    component = parse(name)
    return component.component if component else name


def own_packs(sizes: Sequence[int], limit: int = PACK_LIMIT) -> list[tuple[tuple[int, ...], ObjectLayout]]:
    """Objects for the snapshot's own files, given by their sizes: places of the files, and the layout over them."""
    packs = []
    taken: list[int] = []
    for place in [*range(len(sizes)), None]:
        full = place is None or sum(sizes[i] for i in taken) + sizes[place] > limit
        if full and taken:
            runs = tuple(Run(index, 0, sizes[i]) for index, i in enumerate(taken) if sizes[i])
            if runs:
                packs.append((tuple(taken), ObjectLayout(runs, sum(run.length for run in runs))))
            taken = []
        if place is not None:
            taken.append(place)
    return packs


def laid_out(group: Group, piece_size: int = PIECE_SIZE) -> SSTable:
    """The SSTable with its objects."""
    files, components = group.files, group.components
    objects: list[ObjectLayout] = []
    if group.size < PACK_LIMIT:
        objects += _packs(files, range(len(files)), piece_size)
    else:
        for place, file in enumerate(files):
            if file.size > PACK_LIMIT:
                objects += _pieces(place, file.size, piece_size)
        small = [place for place, file in enumerate(files) if file.size <= PACK_LIMIT]
        objects += _packs(files, [place for place in small if components[place] not in _REWRITTEN], piece_size)
        objects += _packs(files, [place for place in small if components[place] in _REWRITTEN], piece_size)
    places = {component: place for place, component in enumerate(components)}
    return SSTable(group.name, files, tuple(objects), group.size, places.get(DATA), places.get(DIGEST))


def _pieces(place: int, size: int, piece_size: int) -> Iterable[ObjectLayout]:
    for start in range(0, size, piece_size):
        length = min(piece_size, size - start)
        yield ObjectLayout((Run(place, start, length),), length)


def _packs(files: tuple[FileStat, ...], places: Iterable[int], limit: int) -> Iterable[ObjectLayout]:
    runs: list[Run] = []
    length = 0
    for place in places:
        size = files[place].size
        if runs and length + size > limit:
            yield ObjectLayout(tuple(runs), length)
            runs, length = [], 0
        if size:
            runs.append(Run(place, 0, size))
            length += size
    if runs:
        yield ObjectLayout(tuple(runs), length)
