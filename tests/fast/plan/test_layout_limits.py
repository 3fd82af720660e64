"""Where exactly one object ends and the next begins, and when exactly remembered bytes are believed."""

from typing import Any

import msgspec
import pytest

from agent.model.snapshot import FileStat, SnapshotTable
from agent.plan.backup import KnownFile, PlannedObject, is_unchanged, plan_sstable
from agent.plan.layout import PACK_LIMIT, PIECE_SIZE, ObjectLayout, Run, component_of, grouped, laid_out, own_packs

MIB = 1024 * 1024


def stat(name: str, size: int, volume: int = 0) -> FileStat:
    """A file of a snapshot."""
    return FileStat(name, "", volume, size, 7, 1_000, "fs")


def objects(*files: FileStat, piece_size: int = PIECE_SIZE) -> list[list[tuple[str, int, int]]]:
    """The objects of the one SSTable that these files are: name, start and length of each run."""
    [group] = grouped(SnapshotTable("ks", "t", "0" * 32, files))
    laid = laid_out(group, piece_size)
    assert all(layout.length == sum(run.length for run in layout.runs) for layout in laid.objects)
    assert laid.size == sum(file.size for file in files)
    return [[(laid.files[run.file].name, run.start, run.length) for run in layout.runs] for layout in laid.objects]


def test_an_sstable_under_a_mebibyte_is_one_object() -> None:
    """Promise: in the order of names, without what is empty; from a mebibyte on the rewritten components are apart."""
    files = [stat("nb-1-big-Statistics.db", 10), stat("nb-1-big-Filter.db", 0), stat("nb-1-big-Summary.db", 5)]
    rest = MIB - 15
    assert objects(*files, stat("nb-1-big-Data.db", rest - 1)) == [
        [("nb-1-big-Data.db", 0, rest - 1), ("nb-1-big-Statistics.db", 0, 10), ("nb-1-big-Summary.db", 0, 5)]
    ]
    assert objects(*files, stat("nb-1-big-Data.db", rest - 3), stat("nb-1-big-Index.db", 3)) == [
        [("nb-1-big-Data.db", 0, rest - 3), ("nb-1-big-Index.db", 0, 3)],
        [("nb-1-big-Statistics.db", 0, 10), ("nb-1-big-Summary.db", 0, 5)],
    ]


def test_a_component_over_a_mebibyte_is_cut_into_pieces() -> None:
    """Promise: pieces of the given size, the last one shorter; up to a mebibyte a component is packed."""
    assert objects(stat("nb-1-big-Data.db", 5 * MIB), stat("nb-1-big-Filter.db", PACK_LIMIT), piece_size=2 * MIB) == [
        [("nb-1-big-Data.db", 0, 2 * MIB)],
        [("nb-1-big-Data.db", 2 * MIB, 2 * MIB)],
        [("nb-1-big-Data.db", 4 * MIB, MIB)],
        [("nb-1-big-Filter.db", 0, PACK_LIMIT)],
    ]
    assert objects(stat("nb-1-big-Data.db", PACK_LIMIT + 1)) == [[("nb-1-big-Data.db", 0, PACK_LIMIT + 1)]]


def test_packs_of_a_large_sstable_are_no_larger_than_a_piece() -> None:
    """Promise: what just fits is in the pack, what doesn't begins the next one."""
    small = [stat(f"nb-1-big-SAI+a{number}.db", MIB) for number in range(3)]
    assert objects(*small, piece_size=2 * MIB) == [
        [("nb-1-big-SAI+a0.db", 0, MIB), ("nb-1-big-SAI+a1.db", 0, MIB)],
        [("nb-1-big-SAI+a2.db", 0, MIB)],
    ]
    assert len(objects(*small, stat("nb-1-big-SAI+a3.db", 1), piece_size=2 * MIB)[1]) == 2


def test_sstables_are_named_and_ordered() -> None:
    """Promise: the largest first, then by name, then by volume; one of two volumes is two; the snapshot's own files are
    left out, others are alone; where Data.db and its digest are is known."""
    table = SnapshotTable(
        "ks",
        "t",
        "0" * 32,
        (
            stat("manifest.json", 99),
            stat("schema.cql", 99),
            stat("nb-2-big-Data.db", 5),
            stat("nb-1-big-Digest.crc32", 2),
            stat("nb-1-big-Data.db", 3),
            stat(".idx/nb-1-big-Data.db", 9),
            stat("nb-1-big-Data.db", 5, volume=1),
            stat("odd", 1),
        ),
    )
    groups = grouped(table)
    assert [(one.name, one.files[0].volume, one.size, one.is_table_data) for one in groups] == [
        (".idx/nb-1-big", 0, 9, False),
        ("nb-1-big", 0, 5, True),
        ("nb-1-big", 1, 5, True),
        ("nb-2-big", 0, 5, True),
        ("odd", 0, 1, False),
    ]
    assert [one.components for one in groups] == [
        ("Data.db",),
        ("Data.db", "Digest.crc32"),
        ("Data.db",),
        ("Data.db",),
        ("odd",),
    ]
    laid = [laid_out(one) for one in groups]
    assert [(one.name, one.data, one.crc, one.is_table_data) for one in laid] == [
        (".idx/nb-1-big", 0, None, False),
        ("nb-1-big", 0, 1, True),
        ("nb-1-big", 0, None, True),
        ("nb-2-big", 0, None, True),
        ("odd", None, None, False),
    ]
    assert [component_of(name) for name in ("nb-1-big-Data.db", ".i/nb-1-big-Data.db", "odd")] == [
        "Data.db",
        "Data.db",
        "odd",
    ]


def test_own_files_are_packed_up_to_the_limit() -> None:
    """Promise: what just fits is in the pack; an empty file takes part without a run; nothing makes no object."""
    assert own_packs([4, 6, 0, 1], 10) == [
        ((0, 1, 2), ObjectLayout((Run(0, 0, 4), Run(1, 0, 6)), 10)),
        ((3,), ObjectLayout((Run(0, 0, 1),), 1)),
    ]
    assert own_packs([0, 0], 10) == []
    assert own_packs([], 10) == []
    assert own_packs([PACK_LIMIT, 1]) == [
        ((0,), ObjectLayout((Run(0, 0, PACK_LIMIT),), PACK_LIMIT)),
        ((1,), ObjectLayout((Run(0, 0, 1),), 1)),
    ]


A, B = b"a" * 32, b"b" * 32
DATA, OTHER = stat("nb-1-big-Data.db", 3 * MIB), stat("nb-1-big-Filter.db", 5)
KNOWN = KnownFile(7, 1_000, 3 * MIB, b"d" * 32, None, (A, B), 0, 2 * MIB)
SMALL, BESIDE = stat("nb-1-big-Data.db", 9), stat("nb-1-big-Filter.db", 5)
PACKED = {
    SMALL.name: KnownFile(7, 1_000, 9, b"d" * 32, None, (A,), 0, 2 * MIB),
    BESIDE.name: KnownFile(7, 1_000, 5, b"d" * 32, None, (A,), 9, 2 * MIB),
}


def planned(
    files: tuple[FileStat, ...], known: dict[str, KnownFile], there: Any = lambda name, length: True
) -> list[PlannedObject]:
    """The plan of the one SSTable that these files are, in pieces of 2 MiB."""
    [group] = grouped(SnapshotTable("ks", "t", "0" * 32, files))
    return plan_sstable(laid_out(group, 2 * MIB), known, there, 2 * MIB)


@pytest.mark.parametrize("changed", [{}, {"size": 8}, {"mtime_ns": 1_001}, {"inode": 8}])
def test_only_the_same_stat_proves_a_file_unchanged(changed: dict[str, int]) -> None:
    """Promise: another size, time or inode, and what was never read, is read anew."""
    assert is_unchanged(SMALL, msgspec.structs.replace(PACKED[SMALL.name], **changed)) == (not changed)
    assert not is_unchanged(SMALL, None)


def test_an_object_is_asked_for_by_its_id_and_plain_bytes() -> None:
    """Promise: only an object that no destination lacks is passed over; each is asked for with what it must hold."""
    asked = []

    def there(name: bytes, length: int) -> bool:
        asked.append((name, length))
        return name == A

    found = planned((DATA,), {DATA.name: KNOWN}, there)
    assert [(one.id, one.read) for one in found] == [(A, False), (B, True)]
    assert asked == [(A, 2 * MIB), (B, MIB)]
    [one] = planned((SMALL, BESIDE), PACKED, there)
    assert (one.id, one.read) == (A, False)
    assert asked[2:] == [(A, 14)]


@pytest.mark.parametrize(
    ("files", "known"),
    [
        ((DATA,), {}),
        ((DATA,), {DATA.name: msgspec.structs.replace(KNOWN, piece_size=MIB)}),
        ((SMALL, BESIDE), {SMALL.name: PACKED[SMALL.name]}),
        ((SMALL, BESIDE), PACKED | {SMALL.name: msgspec.structs.replace(PACKED[SMALL.name], mtime_ns=9)}),
        ((SMALL, BESIDE), PACKED | {BESIDE.name: msgspec.structs.replace(PACKED[BESIDE.name], offset=8)}),
        ((SMALL, BESIDE), PACKED | {BESIDE.name: msgspec.structs.replace(PACKED[BESIDE.name], objects=(B,))}),
        ((SMALL, BESIDE), PACKED | {BESIDE.name: msgspec.structs.replace(PACKED[BESIDE.name], objects=(A, B))}),
        ((SMALL, BESIDE), PACKED | {BESIDE.name: msgspec.structs.replace(PACKED[BESIDE.name], objects=())}),
    ],
)
def test_what_is_not_known_to_be_exactly_that_object_is_read(
    files: tuple[FileStat, ...], known: dict[str, KnownFile]
) -> None:
    """Promise: other pieces, another place in the object, another object, or none: read, whatever the store has."""
    assert [(one.id, one.read) for one in planned(files, known)] == [(None, True)] * len(planned(files, {}))


def test_files_lie_one_after_the_other_in_their_object() -> None:
    """Promise: the third file of a pack is where the first two end."""
    third = stat("nb-1-big-Index.db", 3)
    known = PACKED | {third.name: KnownFile(7, 1_000, 3, b"d" * 32, None, (A,), 14, 2 * MIB)}
    for offset, read in ((14, False), (5, True), (9, True), (0, True)):
        known[third.name] = msgspec.structs.replace(known[third.name], offset=offset)
        [one] = planned((SMALL, BESIDE, third), known)
        assert one.read == read


def test_a_piece_that_is_not_remembered_is_read() -> None:
    """Promise: of a file whose last piece is not known the first one is still taken from memory."""
    short = msgspec.structs.replace(KNOWN, objects=(A,))
    assert [(one.id, one.read) for one in planned((DATA,), {DATA.name: short})] == [(A, False), (None, True)]
