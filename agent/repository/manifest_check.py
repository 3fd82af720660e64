"""Whether a manifest may be believed: in, its decoded head and parts; out, nothing, or an error.

A destination may be in other hands: nothing of a manifest becomes a path, an offset or an allocation before it was
looked at here. Pure.
"""

import re
from collections.abc import Sequence

from msgspec import UnsetType

from agent.model.manifest import MANIFEST_FORMAT, FileEntry, Head, TablePart, TableReference
from agent.repository.bounded import MOST_PIECE
from agent.repository.errors import ManifestInvalid, RepositoryFormatNewer
from agent.repository.form import MOST_OVERHEAD
from agent.repository.frame import OVERHEAD, Codec
from agent.wire.names import InvalidName, check_name

MOST_FILES = 100_000_000
MOST_SIZE = 1 << 56
MOST_VOLUMES = 1 << 20
LEAST_PIECE = 1024 * 1024
"""Pieces are 1 MiB at least, the last of a file apart: it bounds what a manifest can make us keep."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_TABLE_ID = re.compile(r"[0-9a-f]{32}")
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FILE = re.compile(r"(?:\.[A-Za-z0-9_]{1,254}/)?[A-Za-z0-9_+][A-Za-z0-9_+.-]{0,254}")


def check_head(head: Head, cluster_id: str, tag: str, host_id: str, length: int, *, on_server: bool = False) -> None:
    """`head` as of a manifest whose frames end at byte `length`, asked for by these three names."""
    if head.format > MANIFEST_FORMAT:
        raise RepositoryFormatNewer(f"the manifest's head has format {head.format}, up to {MANIFEST_FORMAT} is known")
    found = (head.cluster_id, head.tag, head.node.host_id)
    if (found[1:] if on_server else found) != ((tag, host_id) if on_server else (cluster_id, tag, host_id)):
        raise ManifestInvalid(
            "the manifest is of another cluster, backup or node than its name says", found=list(found)
        )
    _check_objects(head.own_objects, head.own_coded)
    _check_left_out(head.lacking)
    seen = set()
    names: dict[tuple[str, str], set[tuple[int, str]]] = {}
    for reference in head.tables:
        _check_reference(reference, length)
        table = (reference.keyspace, reference.table)
        if table in seen:
            raise ManifestInvalid(f"the manifest names {table[0]}.{table[1]} twice")
        seen.add(table)
        _check_times(reference.own, reference.own_times)
        for entry in reference.own:
            _check_file(entry, len(head.data_directories), names.setdefault(table, set()), on_server=on_server)
            if not on_server:
                _check_pieces(entry, head.own_objects, head.own_coded)


def check_written(part: TablePart, *, on_server: bool = False) -> None:
    """What is about to be written must be what a reader takes. Raises ManifestInvalid, which names the file."""
    check_part(part, MOST_VOLUMES, set(), on_server=on_server)


def is_file_name(name: str) -> bool:
    """Whether a file of that name, relative to its table's directory, may be in a manifest."""
    return _FILE.fullmatch(name) is not None and ".." not in name and all(len(part) <= 255 for part in name.split("/"))


def check_part(part: TablePart, volumes: int, names: set[tuple[int, str]], *, on_server: bool) -> None:
    """A part of a table with `volumes` data directories; its names are added to `names`."""
    _check_objects(part.objects, part.coded)
    if max(part.objects.values(), default=0) > MOST_PIECE + MOST_OVERHEAD:
        raise ManifestInvalid("the manifest names an object that is larger than any of ours")
    _check_times(part.files, part.times)
    for entry in part.files:
        _check_file(entry, volumes, names, on_server=on_server)
        if not on_server:
            _check_pieces(entry, part.objects, part.coded)


def _check_left_out(left_out: dict[str, str]) -> None:
    for name, code in left_out.items():
        try:
            keyspace, _, table = name.partition(".")
            check_name("keyspace", keyspace)
            check_name("table", table)
        except InvalidName as error:
            raise ManifestInvalid(f"the manifest lacks a table that can't exist: {error.message}") from error
        if not _CODE.fullmatch(code):
            raise ManifestInvalid(f"the manifest lacks {name} for no reason that there is")


def _check_reference(reference: TableReference, length: int) -> None:
    try:
        check_name("keyspace", reference.keyspace)
        check_name("table", reference.table)
    except InvalidName as error:
        raise ManifestInvalid(f"the manifest names a table that can't exist: {error.message}") from error
    where = f"{reference.keyspace}.{reference.table}"
    if not _TABLE_ID.fullmatch(reference.table_id):
        raise ManifestInvalid(f"the table id of {where} is none")
    if not (0 <= reference.files <= MOST_FILES and 0 <= reference.bytes <= MOST_SIZE and reference.sstables >= 0):
        raise ManifestInvalid(f"the counts of {where} are impossible")
    if reference.object is not None:
        good = reference.offset is None and _DIGEST.fullmatch(reference.object) and reference.length > OVERHEAD
    else:
        good = reference.offset is not None and reference.offset >= 0 < reference.length
        good = good and (reference.offset or 0) + reference.length <= length
    if not good:
        raise ManifestInvalid(f"the frame of {where} lies nowhere")


def _check_objects(objects: dict[str, int], coded: dict[str, int]) -> None:
    for name, size in objects.items():
        if not _DIGEST.fullmatch(name) or not OVERHEAD < size <= MOST_SIZE:
            raise ManifestInvalid("the manifest names an object that can't exist", object=name[:80], size=size)
    for name, codec in coded.items():
        if name not in objects or codec not in Codec.__members__.values():
            raise ManifestInvalid("the manifest names an unknown codec", object=name[:80], codec=codec)


def _check_file(entry: FileEntry, volumes: int, names: set[tuple[int, str]], *, on_server: bool) -> None:
    if not is_file_name(entry.name) or (entry.volume, entry.name) in names:
        shown = entry.name[:80].encode("unicode_escape").decode("ascii")
        raise ManifestInvalid(f"the manifest names a file that can't be, or twice: «{shown}»", name=shown)
    names.add((entry.volume, entry.name))
    if not 0 <= entry.size <= MOST_SIZE or not 0 <= entry.volume < volumes:
        raise ManifestInvalid(f"size or volume of {entry.name} are impossible", name=entry.name)
    if not on_server and (not _DIGEST.fullmatch(entry.digest) or entry.piece_size < LEAST_PIECE):
        raise ManifestInvalid(f"digest or piece size of {entry.name} are impossible", name=entry.name)


def _check_times(files: Sequence[FileEntry], times: Sequence[int] | UnsetType) -> None:
    if not isinstance(times, UnsetType) and len(times) != len(files):
        raise ManifestInvalid(f"the manifest has {len(times)} times of {len(files)} files")


def _check_pieces(entry: FileEntry, objects: dict[str, int], coded: dict[str, int]) -> None:
    left = entry.size
    for piece in entry.pieces:
        stored = objects.get(piece.object)
        # Every piece but the last is exactly one run, because the file's digest is over the digests of its runs.
        if piece.length != min(left, entry.piece_size) or piece.length <= 0 or piece.offset < 0:
            raise ManifestInvalid(f"the pieces of {entry.name} do not make the file", name=entry.name)
        end = piece.offset + piece.length
        # Of a coded object the stored size tells little; more than any object holds is asked of none.
        if stored is None or end > MOST_PIECE or (end + OVERHEAD > stored and piece.object not in coded):
            raise ManifestInvalid(f"a piece of {entry.name} lies outside its object", name=entry.name)
        left -= piece.length
    if left:
        raise ManifestInvalid(f"the pieces of {entry.name} do not make the file", name=entry.name)
