"""What a later version wrote is refused by the number of its format, and left as it is."""

import re
import struct
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from agent.crypto.digest import digest
from agent.repository.errors import RepositoryFormatNewer
from agent.repository.keys import REPOSITORY, manifest_key
from agent.wire.commands import SweepArguments
from kit.errors import HelenusError
from tests.fast.jobs.agent_in_memory import Command
from tests.fast.jobs.node import HOST
from tests.fast.tampering.site import CLUSTER, TARGET, Site

NEWER = 7


async def _repository(site: Site) -> None:
    site.put(REPOSITORY, msgspec.json.encode({"repository_id": TARGET.repository_id, "format": NEWER}))


async def _manifest(site: Site) -> None:
    key = manifest_key(CLUSTER, "t1", HOST)
    body = site.body(key)
    before = body[:-84] + struct.pack(">I", NEWER) + body[-80:-32]
    site.put(key, before + digest(before))


async def _head(site: Site) -> None:
    await site.forge(head=lambda head: msgspec.structs.replace(head, format=NEWER))


async def _object(site: Site) -> None:
    key = site.made.places["data object"].key
    header, payload = site.body(key)[:20], site.body(key)[20:-32]
    header = header[:4] + bytes([NEWER]) + header[5:]
    site.put(key, header + payload + digest(header + digest(payload)))


@pytest.mark.parametrize("wrote", [_repository, _manifest, _head, _object])
async def test_a_newer_format_is_refused_by_its_number(site: Site, wrote: Callable[[Site], Awaitable[None]]) -> None:
    """Promise: a repository, manifest, head or object of a later format is told by its number and what is known; no
    restore takes anything of it."""
    await wrote(site)
    with pytest.raises(HelenusError) as caught:
        await site.restore(tables={"shop": ["orders"]})
    assert isinstance(caught.value, RepositoryFormatNewer)
    assert f"format {NEWER}" in caught.value.message
    assert re.search(r"\d", caught.value.message.partition(f"format {NEWER}")[2])


@pytest.mark.parametrize("wrote", [_manifest, _head])
async def test_a_sweep_leaves_all_beside_a_newer_manifest(site: Site, wrote: Callable[[Site], Awaitable[None]]) -> None:
    """Promise: an older agent's sweep deletes nothing where it can't read what is needed."""
    await wrote(site)
    before = dict(site.store._objects)
    agent = site.backup_agent()
    with pytest.raises(RepositoryFormatNewer):
        await agent.sweep.run(Command("sweep", SweepArguments(TARGET)))
    agent.close()
    assert site.store._objects == before
