"""What a restore to a point in time takes on each volume. In: the snapshot's tables, segments. Out: counts, bytes
needed beside bytes free, and what the volumes refuse.

SSTables and segments are put where they are staged, and linked from there into Cassandra's directories; what was there
before is renamed and stays. So each byte is needed once, or twice where the kernel refuses links.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from agent.cassandra.directories import Volume, volumes
from agent.cassandra.errors import NotEnoughSpace, StagingRefused
from agent.cassandra.staging import Probe, is_made, probe, remove_root, staging_root
from agent.jobs.restore.source import BackupSource
from agent.jobs.restore.volumes import StagingPlan, staged_sstables
from agent.model.manifest import TableReference
from agent.wire.results import VolumeNeed


class Room(msgspec.Struct, frozen=True):
    """`files`, `bytes`: of SSTables. `refusals`: error objects."""

    files: int
    bytes: int
    volumes: list[VolumeNeed]
    refusals: list[dict[str, Any]]


async def room_for(
    source: BackupSource,
    chosen: Sequence[TableReference],
    segment_bytes: int,
    data: Sequence[str],
    commitlog: str,
    job: str,
    run_as: str,
    *,
    on_server: bool,
) -> Room:
    """Reads the manifest's tables and tries a directory on each volume, which is removed again. Raises what reading
    raises, OSError."""
    found = await asyncio.to_thread(volumes, [*data, commitlog])
    tried, refusals = await asyncio.to_thread(_tried, [volume.path for volume in found], job, run_as)
    links = len(tried) == len(found) and all(one.links for one in tried)
    plan = StagingPlan(source.head.data_directories, found[:-1])
    files = size = 0
    for reference in chosen:
        async for _, entries, _ in staged_sstables(source, reference, indexes=True):
            plan.place(entries)
            files, size = files + len(entries), size + sum(one.size for one in entries)
    times = (0 if on_server and links else 1) + (0 if links else 1)
    needed = {volume.device: needed * times for volume, needed in plan.needs()}
    log = found[-1]
    needed[log.device] = needed.get(log.device, 0) + segment_bytes * (1 if links else 2)
    first: dict[int, Volume] = {}
    for volume in found:
        first.setdefault(volume.device, volume)
    needs = [
        VolumeNeed(volume.path, needed.get(device, 0), volume.free_bytes) for device, volume in sorted(first.items())
    ]
    return Room(files, size, needs, refusals)


def _tried(directories: Sequence[str], job: str, run_as: str) -> tuple[list[Probe], list[dict[str, Any]]]:
    probes: list[Probe] = []
    refusals: list[dict[str, Any]] = []
    for path in directories:
        try:
            root = staging_root(path, job, run_as)
            before = is_made(root)
            try:
                probes.append(probe(root, run_as))
            finally:
                if not before:
                    remove_root(root)
        except (NotEnoughSpace, StagingRefused) as error:
            refusals.append(error.as_dict())
    return probes, refusals
