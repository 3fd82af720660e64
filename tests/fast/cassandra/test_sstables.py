"""Names of SSTable components: what Cassandra writes is understood, what could leave a directory is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cassandra.errors import UnsafeName
from agent.cassandra.sstables import checked, is_staged
from agent.plan.sstables import group, parse

WRITTEN = [
    ("nb-1-big-Data.db", "nb-1-big", "Data.db", ""),
    ("oa-3h5r_1exz_1gq5m2pt5okj23mzwb-big-Index.db", "oa-3h5r_1exz_1gq5m2pt5okj23mzwb-big", "Index.db", ""),
    ("da-3h5r_1exz_1gq5m2pt5okj23mzwb-bti-Partitions.db", "da-3h5r_1exz_1gq5m2pt5okj23mzwb-bti", "Partitions.db", ""),
    ("nb-7-big-SAI+aa+my_idx+BalancedTree.db", "nb-7-big", "SAI+aa+my_idx+BalancedTree.db", ""),
    ("nb-7-big-SAI+aa+GroupComplete.db", "nb-7-big", "SAI+aa+GroupComplete.db", ""),
    ("nb-12-big-Digest.crc32", "nb-12-big", "Digest.crc32", ""),
    ("nb-12-big-TOC.txt", "nb-12-big", "TOC.txt", ""),
    (".by_Name/nb-2-big-Statistics.db", "nb-2-big", "Statistics.db", "by_Name"),
]

HOSTILE = [
    "../nb-1-big-Data.db",
    "..",
    "",
    "/etc/passwd",
    "nb-1-big-Data.db\0",
    "nb-1-big-Data.db\n",
    "nb-1-big-../Data.db",
    ".idx/../nb-1-big-Data.db",
    ".idx/.idx/nb-1-big-Data.db",
    "../.idx/nb-1-big-Data.db",
    "a/nb-1-big-Data.db",
    "./nb-1-big-Data.db",
    "nb-1-big-" + "a" * 300 + ".db",
    "nb--big-Data.db",
    "nb-1-big-Data",
    'nb-1-big-"Data".db',
    "owner",
]


@pytest.mark.parametrize(("name", "sstable", "component", "index"), WRITTEN)
def test_what_cassandra_writes_is_understood(name: str, sstable: str, component: str, index: str) -> None:
    """Integer and uuid ids, big and bti, SAI and legacy indexes: the third dash ends the SSTable's name."""
    found = parse(name)
    assert found is not None
    assert (found.sstable, found.component, found.index) == (sstable, component, index)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_is_no_component_is_refused(name: str) -> None:
    """A manifest in other hands can't make the agent write elsewhere."""
    with pytest.raises(UnsafeName) as caught:
        checked(name)
    assert caught.value.code == "unsafe_name"


@given(st.text(max_size=60) | st.text(alphabet="nb1-igDat.db/+_\0", max_size=40))
def test_no_accepted_name_leaves_its_directory(name: str) -> None:
    """Whatever text comes: accepted means a plain name, or one directory of a legacy index."""
    try:
        checked(name)
    except UnsafeName:
        return
    parts = name.split("/")
    assert len(parts) <= 2
    assert all(part not in ("", ".", "..") for part in parts)
    assert "\0" not in name


def test_a_name_is_as_long_as_a_file_system_takes() -> None:
    """Promise: 255 characters of a file's own name are the last that is understood, in an index's directory too."""
    longest = f"nb-1-big-{'a' * 243}.db"
    assert len(longest) == 255
    for name in (longest, f".idx/{longest}"):
        assert parse(name) is not None
        assert parse(name.replace("aaa", "aaaa", 1)) is None


def test_an_index_of_its_own_directory_and_notes_are_not_staged() -> None:
    """Import rebuilds a legacy index; SAI components travel with their SSTable."""
    assert is_staged("nb-1-big-SAI+aa+i+Meta.db")
    assert not is_staged(".i/nb-1-big-Data.db")
    assert not is_staged("manifest.json")
    assert not is_staged("schema.cql")


def test_files_are_grouped_by_sstable() -> None:
    """A legacy index's SSTable is one of its own."""
    names = ["nb-2-big-Data.db", "nb-1-big-Data.db", "nb-1-big-Filter.db", ".i/nb-1-big-Data.db", "manifest.json"]
    found = group((name, None) for name in names)
    assert list(found) == [".i/nb-1-big", "nb-1-big", "nb-2-big"]
    assert [name for name, _ in found["nb-1-big"]] == ["nb-1-big-Data.db", "nb-1-big-Filter.db"]


def test_what_is_grouped_is_not_compared() -> None:
    """Promise: of two items under one name the first stays first, whatever they are."""
    found = group([("nb-1-big-Data.db", {"second": 2}), ("nb-1-big-Data.db", {"first": 1})])
    assert found == {"nb-1-big": [("nb-1-big-Data.db", {"second": 2}), ("nb-1-big-Data.db", {"first": 1})]}
