"""A manifest that somebody forged, whole in itself: names that lead elsewhere and frames that fill the memory."""

import struct
import tracemalloc

import msgspec
import pytest
import zstandard

from agent.crypto.digest import digest
from agent.model.manifest import Head, TablePart
from agent.repository.errors import ManifestInvalid
from agent.repository.keys import manifest_key
from kit.errors import HelenusError
from tests.fast.jobs.node import HOST
from tests.fast.tampering.site import CLUSTER, Site

ORDERS = {"shop": ["orders"]}
KEY = manifest_key(CLUSTER, "t1", HOST)
MIB = 1024 * 1024


async def refused(site: Site) -> HelenusError:
    """The error of a restore that wrote nothing outside of its directory, and nothing that has a name in it."""
    before = site.outside()
    with pytest.raises(HelenusError) as caught:
        await site.restore(tables=ORDERS)
    assert site.outside() == before
    assert (caught.value.fields["tag"], caught.value.fields["host_id"], caught.value.fields["key"]) == ("t1", HOST, KEY)
    assert KEY in caught.value.message
    return caught.value


async def test_an_honest_manifest_that_was_made_so_is_restored(site: Site) -> None:
    """Promise: what the forgeries differ in is what they are refused for."""
    await site.forge()
    wanted = {f"shop/orders/{name[2]}" for name in site.made.files if name[:2] == ("shop", "orders")}
    assert set(await site.restore(tables=ORDERS)) == wanted


@pytest.mark.parametrize(
    "name",
    ["../../../../outside", "..", ".idx/../../outside", "/tmp/outside", "a/b", "nb-1-big-Data.db\0", ".../x", "nb..db"],
)
async def test_a_file_name_that_leads_elsewhere_is_refused(site: Site, name: str) -> None:
    """Promise: no name of a manifest becomes a path before it was looked at; backup, table and key are told."""

    def forged(part: TablePart) -> TablePart:
        first, *others = part.files
        return msgspec.structs.replace(part, files=(msgspec.structs.replace(first, name=name), *others))

    await site.forge(part=forged)
    error = await refused(site)
    assert isinstance(error, ManifestInvalid)
    assert (error.fields["keyspace"], error.fields["table"]) == ("shop", "orders")
    assert "shop.orders" in error.message


@pytest.mark.parametrize("changed", ["keyspace", "table"])
@pytest.mark.parametrize("name", ["../orders", "..", "a/b", "", "a\0b"])
async def test_a_keyspace_or_table_that_leads_elsewhere_is_refused(site: Site, changed: str, name: str) -> None:
    """Promise: neither does the name of a keyspace or table."""

    def forged(head: Head) -> Head:
        return msgspec.structs.replace(head, tables=(msgspec.structs.replace(head.tables[0], **{changed: name}),))

    await site.forge(head=forged)
    assert isinstance(await refused(site), ManifestInvalid)


@pytest.mark.parametrize("directory", ["../../outside", "/../outside", "/etc", ""])
async def test_a_data_directory_of_a_backup_is_no_place_to_write_to(site: Site, directory: str) -> None:
    """Promise: the backup's data directories are only compared with the node's own (a path with `..` may be honest:
    Cassandra's archive has one by default); files are staged beside the node's, whatever they say."""
    await site.forge(head=lambda head: msgspec.structs.replace(head, data_directories=(directory,)))
    before = site.outside()
    assert len(await site.restore(tables=ORDERS)) == 16
    assert site.outside() == before


def bomb(size: int, *, told: bool = True) -> bytes:
    """`size` blanks, compressed; `told`: the frame says how much it unpacks to."""
    parameters = zstandard.ZstdCompressionParameters(window_log=20, write_content_size=told)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size if told else -1)
    block = b" " * MIB
    return b"".join([*(packer.compress(block) for _ in range(size // MIB)), packer.flush()])


async def test_a_bomb_in_a_frame_is_not_unpacked(site: Site) -> None:
    """Promise: a small frame can't fill the memory; the table is told."""
    await site.forge(frame=bomb(128 * MIB))
    tracemalloc.start()
    try:
        error = await refused(site)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()
    assert isinstance(error, ManifestInvalid)
    assert (error.fields["keyspace"], error.fields["table"]) == ("shop", "orders")


@pytest.mark.parametrize(("size", "told"), [(300, True), (64, False)], ids=["large", "untold"])
async def test_a_bomb_in_the_head_is_not_unpacked(site: Site, size: int, told: bool) -> None:
    """Promise: neither can a head that is larger than any honest one, or doesn't say how large it is."""
    tail = bomb(size * MIB, told=told)
    before = b"HELENUSM" + tail + struct.pack(">8sIQQ", b"HELENUST", 1, 8, len(tail)) + digest(tail)
    site.put(KEY, before + digest(before))
    tracemalloc.start()
    try:
        error = await refused(site)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()
    assert isinstance(error, ManifestInvalid)
