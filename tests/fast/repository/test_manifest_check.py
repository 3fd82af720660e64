"""Where exactly a manifest ceases to be believed: the last value that is taken, and the first that isn't."""

from typing import Any

import msgspec
import pytest

from agent.model.manifest import MANIFEST_FORMAT, Head, Piece, TablePart
from agent.repository.bounded import MOST_PIECE
from agent.repository.errors import ManifestInvalid, RepositoryFormatNewer
from agent.repository.form import MOST_OVERHEAD
from agent.repository.frame import OVERHEAD
from agent.repository.manifest_check import (
    LEAST_PIECE,
    MOST_FILES,
    MOST_SIZE,
    MOST_VOLUMES,
    check_head,
    check_part,
    check_written,
    is_file_name,
)
from tests.fast.repository.manifests import CLUSTER, HOST, MIB, TAG, file, head, part, reference

LENGTH = 1_000
"""Where the frames of the manifests below end."""
ID = "0" * 64


def checked(about: Head, *, on_server: bool = False) -> None:
    """Asked for by the names that it has."""
    check_head(about, CLUSTER, TAG, HOST, LENGTH, on_server=on_server)


def refused(one: TablePart, *, volumes: int = 1, on_server: bool = False) -> ManifestInvalid:
    """The error of a part that isn't believed."""
    with pytest.raises(ManifestInvalid) as told:
        check_part(one, volumes, set(), on_server=on_server)
    return told.value


def with_piece(
    *pieces: Piece, objects: dict[str, int], coded: dict[str, int] | None = None, **changed: Any
) -> TablePart:
    """A part of one file of these pieces."""
    size = sum(piece.length for piece in pieces)
    return TablePart((file(**{"size": size, "pieces": pieces, **changed}),), objects, codecs=coded or {})


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("nb-1-big-Data.db", True),
        (".idx/nb-1-big-Data.db", True),
        ("x" * 255, True),
        ("x" * 256, False),
        ("." + "i" * 254 + "/" + "x" * 255, True),
        ("." + "i" * 255 + "/x", False),
        ("a..b", False),
        ("a.b", True),
        (".a/.b", False),
        ("a/b", False),
    ],
)
def test_names_of_files(name: str, good: bool) -> None:
    """Promise: a file's name is one that Cassandra gives and a file system takes; no other becomes a path."""
    assert is_file_name(name) == good


@pytest.mark.parametrize(
    "changed",
    [
        {"files": 0, "bytes": 0, "sstables": 0},
        {"files": MOST_FILES, "bytes": MOST_SIZE},
        {"offset": 0, "length": LENGTH},
        {"offset": LENGTH - 1, "length": 1},
        {"offset": None, "object": ID, "length": OVERHEAD + 1},
    ],
)
def test_the_last_that_a_reference_may_say(changed: dict[str, Any]) -> None:
    """Promise: the limits themselves are still taken."""
    checked(head(reference(b"", **({"length": 10} | changed))))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"files": MOST_FILES + 1}, "the counts of ks.t are impossible"),
        ({"bytes": MOST_SIZE + 1}, "the counts of ks.t are impossible"),
        ({"bytes": -1}, "the counts of ks.t are impossible"),
        ({"files": -1}, "the counts of ks.t are impossible"),
        ({"sstables": -1}, "the counts of ks.t are impossible"),
        ({"table_id": "0" * 33}, "the table id of ks.t is none"),
        ({"offset": 1, "length": LENGTH}, "the frame of ks.t lies nowhere"),
        ({"offset": 0, "length": 0}, "the frame of ks.t lies nowhere"),
        ({"offset": -1, "length": 9}, "the frame of ks.t lies nowhere"),
        ({"offset": None, "length": 9}, "the frame of ks.t lies nowhere"),
        ({"offset": 8, "object": ID, "length": OVERHEAD + 1}, "the frame of ks.t lies nowhere"),
        ({"offset": None, "object": ID, "length": OVERHEAD}, "the frame of ks.t lies nowhere"),
        ({"offset": None, "object": ID[1:], "length": OVERHEAD + 1}, "the frame of ks.t lies nowhere"),
        ({"keyspace": "a b"}, "the manifest names a table that can't exist: "),
        ({"table": "a/b"}, "the manifest names a table that can't exist: "),
    ],
)
def test_the_first_that_a_reference_may_not_say(changed: dict[str, Any], says: str) -> None:
    """Promise: what lies beyond them is refused by the table's name."""
    with pytest.raises(ManifestInvalid) as told:
        checked(head(reference(b"", **({"length": 10} | changed))))
    assert told.value.message.startswith(says)


@pytest.mark.parametrize("wrong", ["cluster_id", "tag", "host_id"])
@pytest.mark.parametrize("on_server", [False, True])
def test_a_head_is_of_its_name(wrong: str, on_server: bool) -> None:
    """Promise: a manifest that says another backup or node is refused with what it says; another cluster too, unless it
    is a snapshot's own, which stays where it is when a cluster is renamed."""
    names = {"cluster_id": CLUSTER, "tag": TAG, "host_id": HOST}
    asked = names | {wrong: "other"}
    arguments = (head(), asked["cluster_id"], asked["tag"], asked["host_id"], LENGTH)
    if on_server and wrong == "cluster_id":
        check_head(*arguments, on_server=True)
        return
    with pytest.raises(ManifestInvalid, match="of another cluster, backup or node than its name says") as told:
        check_head(*arguments, on_server=on_server)
    assert told.value.fields == {"found": [CLUSTER, TAG, HOST]}


@pytest.mark.parametrize(
    ("left_out", "says"),
    [
        ({"ks.t": "sstable_corrupt", "ks.u": "a" * 64}, None),
        ({"ks": "sstable_corrupt"}, "can't exist"),
        ({".t": "sstable_corrupt"}, "can't exist"),
        ({"ks.t.u": "sstable_corrupt"}, "can't exist"),
        ({"ks.../t": "sstable_corrupt"}, "can't exist"),
        ({"ks.t": ""}, "no reason"),
        ({"ks.t": "a" * 65}, "no reason"),
        ({"ks.t": "its\nown"}, "no reason"),
    ],
)
def test_what_was_left_out_are_tables_and_codes(left_out: dict[str, str], says: str | None) -> None:
    """Promise: nothing of a foreign manifest reaches a person or another manifest but names and codes."""
    about = head(left_out=left_out)
    if says is None:
        checked(about)
        return
    with pytest.raises(ManifestInvalid, match=says):
        checked(about)


def test_a_later_head_asks_for_the_later_release() -> None:
    """Promise: the newest format that this release writes is read, the next one is refused by its number."""
    checked(head(format=MANIFEST_FORMAT))
    with pytest.raises(RepositoryFormatNewer, match=f"format {MANIFEST_FORMAT + 1}, up to {MANIFEST_FORMAT} is known"):
        checked(head(format=MANIFEST_FORMAT + 1))


def test_own_files_are_judged_as_those_of_parts() -> None:
    """Promise: name, volume, pieces and times of a snapshot's own files; on the server, where the bytes lie in the
    snapshot, no pieces."""
    own = file("schema.cql")
    objects = {piece.object: PLAIN_SIZE for piece in own.pieces}
    checked(head(reference(b"", length=10, own=(own,)), own_objects=objects))
    checked(head(reference(b"", length=10, own=(own,), own_times=(1,)), own_objects=objects))
    checked(head(reference(b"", length=10, own=(own,))), on_server=True)
    two = head(
        reference(b"", length=10, own=(own,)), reference(b"", length=10, own=(own,), table="u"), own_objects=objects
    )
    checked(two)
    for wrong, says in (
        ({"own": (own, own)}, "can't be, or twice"),
        ({"own": (msgspec.structs.replace(own, volume=1),)}, "size or volume of schema.cql are impossible"),
        ({"own": (own,), "own_times": (1, 2)}, "2 times of 1 files"),
    ):
        with pytest.raises(ManifestInvalid, match=says):
            checked(head(reference(b"", length=10, **wrong), own_objects=objects))
    with pytest.raises(ManifestInvalid, match=r"a piece of schema\.cql lies outside its object"):
        checked(head(reference(b"", length=10, own=(own,))))
    with pytest.raises(ManifestInvalid, match="lies outside its object"):
        check_head(head(reference(b"", length=10, own=(own,))), CLUSTER, TAG, HOST, LENGTH)
    with pytest.raises(ManifestInvalid, match=r"names ks\.t twice"):
        checked(head(reference(b"", length=10), reference(b"", length=10)))
    with pytest.raises(ManifestInvalid, match="names an object that can't exist"):
        checked(head(own_objects={"x": PLAIN_SIZE}))
    with pytest.raises(ManifestInvalid, match="names an unknown codec"):
        checked(head(own_objects=objects, own_codecs={ID: 1}))


PLAIN_SIZE = OVERHEAD + 5


@pytest.mark.parametrize("size", [OVERHEAD + 1, MOST_PIECE + MOST_OVERHEAD])
def test_the_smallest_and_the_largest_object(size: int) -> None:
    """Promise: an object of one byte, and the largest that any agent seals."""
    check_part(TablePart((), {ID: size}), 1, set(), on_server=False)


@pytest.mark.parametrize(
    ("one", "says", "fields"),
    [
        (TablePart((), {ID: OVERHEAD}), "names an object that can't exist", {"object": ID, "size": OVERHEAD}),
        (TablePart((), {ID: MOST_SIZE + 1}), "names an object that can't exist", {"object": ID, "size": MOST_SIZE + 1}),
        (TablePart((), {"f" * 99: 60}), "names an object that can't exist", {"object": "f" * 80, "size": 60}),
        (TablePart((), {ID: MOST_PIECE + MOST_OVERHEAD + 1}), "larger than any of ours", {}),
        (TablePart((), {ID: MOST_SIZE}), "larger than any of ours", {}),
        (TablePart((), {ID: 60}, codecs={ID: 2}), "names an unknown codec", {"object": ID, "codec": 2}),
        (TablePart((), {ID: 60}, codecs={"f" * 99: 1}), "names an unknown codec", {"object": "f" * 80, "codec": 1}),
        (TablePart((file(size=0),), {}, times=(1, 2)), "has 2 times of 1 files", {}),
        (part(file(volume=3)), "size or volume of nb-1-big-Data.db are impossible", {"name": "nb-1-big-Data.db"}),
        (part(file(volume=-1)), "size or volume of nb-1-big-Data.db are impossible", {"name": "nb-1-big-Data.db"}),
        (part(file(size=0), file(size=0)), "a file that can't be, or twice: ", {"name": "nb-1-big-Data.db"}),
        (part(file("é" * 99, size=0)), "a file that can't be, or twice: ", {"name": r"\xe9" * 80}),
        (part(file(digest="0" * 63)), "digest or piece size of nb-1-big-Data.db", {"name": "nb-1-big-Data.db"}),
        (
            part(file(piece_size=LEAST_PIECE - 1)),
            "digest or piece size of nb-1-big-Data.db are impossible",
            {"name": "nb-1-big-Data.db"},
        ),
    ],
)
def test_what_no_part_may_say(one: TablePart, says: str, fields: dict[str, Any]) -> None:
    """Promise: each is refused by its own words, and what it is about stands in fields, cut where it is long."""
    told = refused(one, volumes=3)
    assert says in told.message
    assert told.fields == fields


def test_the_last_that_a_file_may_say() -> None:
    """Promise: the last volume, an empty file, the smallest pieces, a time for each; the same name on two volumes."""
    check_part(
        part(file(volume=2), file(size=0, volume=1, name="b"), file(volume=0, piece_size=LEAST_PIECE)),
        3,
        set(),
        on_server=False,
    )
    check_part(TablePart((file(size=0),), {}, times=(1,)), 1, set(), on_server=False)
    names: set[tuple[int, str]] = set()
    check_part(part(file(size=0)), 1, names, on_server=False)
    assert names == {(0, "nb-1-big-Data.db")}
    with pytest.raises(ManifestInvalid, match="twice"):
        check_part(part(file(size=0)), 1, names, on_server=False)


def test_on_the_server_sizes_and_names_are_judged_alone() -> None:
    """Promise: a snapshot that stays has no pieces nor digests; what becomes a path or a number is judged."""
    bare = file(size=MOST_SIZE, digest="", piece_size=0, pieces=())
    check_part(TablePart((bare,), {}), 1, set(), on_server=True)
    check_written(TablePart((msgspec.structs.replace(bare, volume=MOST_VOLUMES - 1),), {}), on_server=True)
    for wrong in ({"size": MOST_SIZE + 1}, {"size": -1}, {"volume": 1}, {"name": "../x"}):
        refused(TablePart((msgspec.structs.replace(bare, **wrong),), {}), on_server=True)
    refused(TablePart((bare,), {}))


def test_what_is_written_is_what_is_read() -> None:
    """Promise: an agent notices what no reader would take before it stores it."""
    check_written(part(file()))
    for wrong in (part(file(volume=MOST_VOLUMES)), part(file(digest="")), part(file(name="../x"))):
        with pytest.raises(ManifestInvalid):
            check_written(wrong)


FIRST, SECOND = "1" * 64, "2" * 64


@pytest.mark.parametrize(
    "one",
    [
        with_piece(Piece(ID, 0, MOST_PIECE), objects={ID: MOST_PIECE + OVERHEAD}, piece_size=MOST_PIECE),
        with_piece(Piece(ID, MOST_PIECE - 1, 1), objects={ID: MOST_PIECE + OVERHEAD}),
        with_piece(Piece(ID, 7, 5), objects={ID: 12 + OVERHEAD}),
        with_piece(Piece(ID, 7, 5), objects={ID: 1 + OVERHEAD}, coded={ID: 1}),
        with_piece(
            Piece(FIRST, 0, MIB), Piece(SECOND, 0, 1), objects={FIRST: MIB + OVERHEAD, SECOND: 60}, piece_size=MIB
        ),
    ],
)
def test_pieces_that_make_the_file(one: TablePart) -> None:
    """Promise: a piece may reach exactly to its object's end, a coded object may be smaller, the last piece shorter."""
    check_part(one, 1, set(), on_server=False)


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (
            with_piece(Piece(ID, 7, 5), objects={ID: 11 + OVERHEAD}),
            "a piece of nb-1-big-Data.db lies outside its object",
        ),
        (with_piece(Piece(ID, 7, 5), objects={FIRST: 99}), "a piece of nb-1-big-Data.db lies outside its object"),
        (
            with_piece(Piece(ID, MOST_PIECE, 1), objects={ID: MOST_PIECE + OVERHEAD + 1}),
            "a piece of nb-1-big-Data.db lies outside its object",
        ),
        (
            with_piece(Piece(ID, MOST_PIECE, 1), objects={ID: 60}, coded={ID: 1}),
            "a piece of nb-1-big-Data.db lies outside its object",
        ),
        (with_piece(Piece(ID, -1, 5), objects={ID: 99}), "the pieces of nb-1-big-Data.db do not make the file"),
        (with_piece(Piece(ID, 0, 5), objects={ID: 99}, size=6), "the pieces of nb-1-big-Data.db do not make the file"),
        (with_piece(Piece(ID, 0, 5), objects={ID: 99}, size=4), "the pieces of nb-1-big-Data.db do not make the file"),
        (
            with_piece(Piece(ID, 0, 5), Piece(ID, 5, 0), objects={ID: 99}),
            "the pieces of nb-1-big-Data.db do not make the file",
        ),
        (
            with_piece(Piece(FIRST, 0, MIB), objects={FIRST: MIB + OVERHEAD}, piece_size=MIB, size=MIB + 1),
            "the pieces of nb-1-big-Data.db do not make the file",
        ),
        (
            with_piece(
                Piece(FIRST, 0, MIB - 1), Piece(SECOND, 0, 2), objects={FIRST: MIB + 60, SECOND: 60}, piece_size=MIB
            ),
            "the pieces of nb-1-big-Data.db do not make the file",
        ),
    ],
)
def test_pieces_that_do_not(one: TablePart, says: str) -> None:
    """Promise: no byte of a file is read from beyond its object, and none is missing or there twice."""
    told = refused(one)
    assert told.message == says
    assert told.fields == {"name": "nb-1-big-Data.db"}
