"""What a backup of a node needs in a destination. In: an opened repository. Out: keys."""

from agent.repository.keys import data_key, manifest_key
from agent.repository.manifest import read_manifest
from agent.repository.opened import OpenedRepository


async def needed_by(opened: OpenedRepository, tag: str, host_id: str) -> set[str]:
    """The manifest and every object that it names."""
    manifest = await read_manifest(opened, tag, host_id)
    names = {(one.name, one.codec, one.size) for one in manifest.head_objects()}
    for reference in manifest.head.tables:
        names |= {(one.name, one.codec, one.size) async for one in manifest.objects(reference, set())}
    found = {data_key(opened.cluster_id, host_id, name, codec, size) for name, codec, size in names}
    return found | {manifest_key(opened.cluster_id, tag, host_id)}
