"""Which objects files go into, and what of them must be read, for any files."""

from hypothesis import given
from hypothesis import strategies as st

from agent.model.snapshot import FileStat, SnapshotTable
from agent.plan.backup import KnownFile, plan_sstable
from agent.plan.layout import PACK_LIMIT, ObjectLayout, SSTable, component_of, grouped, laid_out, own_packs

MIB = 1024 * 1024
PIECE = 2 * MIB
SIZES = st.one_of(st.integers(0, 5_000), st.sampled_from([0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 5 * MIB + 7]))
COMPONENTS = ["Data.db", "Index.db", "Statistics.db", "Summary.db", "Filter.db", "Digest.crc32", "SAI+aa+i+Meta.db"]
SSTABLES = ["nb-1-big", "oa-3gx_0a_1b2c-bti", ".idx/nb-1-big"]


@st.composite
def tables(draw: st.DrawFn) -> SnapshotTable:
    """A table with some SSTables and the snapshot's own files."""
    names = [f"{sstable}-{component}" for sstable in SSTABLES for component in COMPONENTS]
    chosen = draw(st.lists(st.sampled_from([*names, "manifest.json", "schema.cql", "odd file"]), unique=True))
    files = [FileStat(name, "", 0, draw(SIZES), inode, 1_000 + inode, "fs") for inode, name in enumerate(chosen)]
    return SnapshotTable("ks", "t", "0" * 32, tuple(files))


def laid(table: SnapshotTable) -> list[SSTable]:
    """The table's SSTables with their objects, largest first."""
    return [laid_out(group, PIECE) for group in grouped(table)]


@given(tables())
def test_every_byte_is_in_exactly_one_object(table: SnapshotTable) -> None:
    """Promise: nothing is left out and nothing is stored twice; objects are never larger than a piece."""
    covered: dict[str, list[tuple[int, int]]] = {}
    for sstable in laid(table):
        for layout in sstable.objects:
            assert 0 < layout.length == sum(run.length for run in layout.runs) <= PIECE
            for run in layout.runs:
                covered.setdefault(sstable.files[run.file].name, []).append((run.start, run.length))
    for file in table.files:
        if file.name in ("manifest.json", "schema.cql"):
            assert file.name not in covered
            continue
        end = 0
        for start, length in sorted(covered.get(file.name, [])):
            assert start == end
            end += length
        assert end == file.size


@given(tables())
def test_packs_are_made_as_the_design_says(table: SnapshotTable) -> None:
    """Promise: rewritten components share their own object, large ones are alone, a small SSTable is one object."""
    for sstable in laid(table):
        if 0 < sstable.size < PACK_LIMIT:
            assert len(sstable.objects) == 1
            continue
        for layout in sstable.objects:
            inside = [sstable.files[run.file] for run in layout.runs]
            assert len(inside) == 1 or all(file.size <= PACK_LIMIT for file in inside)
            rewritten = [component_of(file.name) in ("Statistics.db", "Summary.db") for file in inside]
            assert all(rewritten) or not any(rewritten)


@given(tables(), st.randoms())
def test_the_layout_does_not_depend_on_the_order_of_files(table: SnapshotTable, random: "st.DataObject") -> None:
    """Promise: the same SSTable always gives the same objects."""
    shuffled = list(table.files)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = SnapshotTable(table.keyspace, table.table, table.table_id, tuple(shuffled))
    assert laid(again) == laid(table)


@given(tables(), st.sets(st.integers(0, 30)))
def test_only_unchanged_files_are_taken_from_memory(table: SnapshotTable, changed: set[int]) -> None:
    """Promise: an object is reused exactly when every file in it has the stat it had, and a destination has it."""
    for sstable in laid(table):
        known = {}
        ids: dict[int, list[tuple[int, int, ObjectLayout]]] = {}
        for number, layout in enumerate(sstable.objects):
            for run in layout.runs:
                ids.setdefault(run.file, []).append((run.start, number, layout))
        for place, file in enumerate(sstable.files):
            pieces = sorted(ids.get(place, []), key=lambda one: one[0])
            offset = 0
            if pieces:
                for run in pieces[0][2].runs:
                    if run.file == place:
                        break
                    offset += run.length
            known[file.name] = KnownFile(
                file.inode,
                file.mtime_ns - (file.inode in changed),
                file.size,
                b"d" * 32,
                None,
                tuple(bytes([number]) * 32 for _, number, _ in pieces),
                offset,
                PIECE,
            )
        planned = plan_sstable(sstable, known, lambda name, length: name[0] != 1, PIECE)
        for number, one in enumerate(planned):
            stale = any(sstable.files[run.file].inode in changed for run in one.layout.runs)
            assert one.id == (None if stale else bytes([number]) * 32)
            assert one.read == (stale or number == 1)
        assert all(one.read for one in plan_sstable(sstable, {}, lambda name, length: True, PIECE))


@given(st.lists(st.integers(0, 700)))
def test_own_files_are_packed_in_order(sizes: list[int]) -> None:
    """Promise: every own file with bytes is in one object, and objects keep to the limit."""
    packs = own_packs(sizes, 1_000)
    places = [place for pack, _ in packs for place in pack]
    assert places == sorted(places)
    assert set(places) >= {place for place, size in enumerate(sizes) if size}
    for pack, layout in packs:
        assert 0 < layout.length <= 1_000
        assert [(run.file, run.length) for run in layout.runs] == [
            (index, sizes[place]) for index, place in enumerate(pack) if sizes[place]
        ]
