"""PREFLIGHT: may this node's part of the restore begin? Changes nothing but makes and tries the staging directories."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from agent.cassandra.directories import Volume, volumes
from agent.cassandra.errors import ControlOfAnotherNode, NotEnoughSpace, StagingRefused
from agent.cassandra.schema_compare import (
    Schemas,
    by_name,
    differences,
    missing_tables,
    names_taken,
    replication_differs,
    views_on,
)
from agent.cassandra.schema_telling import what_differs
from agent.cassandra.staging import Probe, StagingRoot, probe, staging_root
from agent.jobs.restore.errors import NodesMoving
from agent.jobs.restore.notes import RestoreNotes
from agent.jobs.restore.preflight_rules import refuse_what_cannot_be, warnings_of
from agent.jobs.restore.replaced_types import types_in_use
from agent.jobs.restore.source import BackupSource
from agent.jobs.restore.tools import RestoreTools, checked, down_among, references, refuse_moving
from agent.jobs.restore.volumes import StagingPlan, staged_sstables
from agent.model.job import JobContext, Outcome
from agent.wire.commands import RestoreArguments
from agent.wire.results import PreflightResult, TableDifference, VolumeNeed

Refusal = dict[str, Any]


class PreflightJob:
    """See the module."""

    def __init__(self, tools: RestoreTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Everything that speaks against the restore, gathered: one refusal does not hide the next."""
        arguments = checked(context.arguments)
        notes = self._tools.notes(context)
        await context.stages.enter("reading the backup")
        async with self._tools.sources.opened(arguments, context.waiting) as source:
            return Outcome(await self._judge(arguments, notes, source))

    async def _judge(self, arguments: RestoreArguments, notes: RestoreNotes, source: BackupSource) -> PreflightResult:
        node, head, asked = self._tools.node, source.head, arguments.tables
        identity = await node.view.identity()
        present = await node.view.keyspaces()
        live = await self._tools.live(sorted(asked))
        backup = by_name(head.schema)
        members = await self._tools.members()
        found = await asyncio.to_thread(volumes, await node.directories.data())
        excluded = node.settings.exclude_keyspaces
        refusals = refuse_what_cannot_be(arguments, head, identity, excluded, down_among(members))
        try:
            refuse_moving(members)
        except NodesMoving as error:
            refusals.append(error.as_dict())
        try:
            await node.control.prove()
        except ControlOfAnotherNode as error:
            refusals.append(error.as_dict())
        differing: dict[str, list[str]] = {}
        for difference in (found_different := differences(asked, backup, live)):
            differing.setdefault(difference.keyspace, []).append(difference.name)
        refusals += [error.as_dict() for error in types_in_use(differing, backup, live)]
        probes, refused = await self._probes(notes, found)
        held = await asyncio.to_thread(_held, await notes.staging())
        refusals += refused
        plan = StagingPlan(head.data_directories, found)
        files = size = sstables = 0
        for reference in references(head, asked):
            async for _, entries, _ in staged_sstables(source, reference):
                plan.place(entries)
                files, size, sstables = files + len(entries), size + sum(one.size for one in entries), sstables + 1
        needs = _needs(plan, probes, found, held, linked=arguments.source is None)
        backup_views = views_on(asked, backup)
        taken = names_taken(backup_views, live)
        refusals += _refuse_space(needs)
        return PreflightResult(
            files=files,
            bytes=size,
            sstables=sstables,
            tables_in_backup={name: sorted(schema.columns) for name, schema in backup.items()},
            missing_keyspaces=sorted(name for name in asked if name not in present),
            missing_tables=missing_tables(asked, live),
            differences=[_told(one, backup, live) for one in found_different],
            replication_differs=replication_differs(asked, backup, live),
            live_views=views_on(asked, live),
            backup_views=[view for view in backup_views if view not in taken],
            views_enabled=await node.view.views_enabled(),
            volumes=needs,
            refusals=refusals,
            warnings=[
                *await warnings_of(self._tools, arguments, head, backup, live, needs),
                *(f"the view {view.keyspace}.{view.name} is not made: its name is another's now" for view in taken),
            ],
            now=self._tools.clock(),
            auto_snapshot=await node.view.auto_snapshot(),
        )

    async def _probes(self, notes: RestoreNotes, found: Sequence[Volume]) -> tuple[list[Probe], list[Refusal]]:
        """Try every data directory's staging; the roots are noted first, so that CLEAN finds them."""
        run_as = self._tools.node.settings.run_as
        refusals: list[Refusal] = []
        roots = []
        noted = {root.data_directory: root for root in await notes.all_staging()}
        for volume in found:
            try:
                made = await asyncio.to_thread(staging_root, volume.path, notes.job, run_as)
            except StagingRefused as error:
                refusals.append(error.as_dict())
            else:
                roots.append(noted.get(volume.path, made))
        known = await notes.staging()
        await notes.put_staging([*known, *(root for root in roots if root not in known)])
        probes = []
        for root in roots:
            try:
                probes.append(await asyncio.to_thread(probe, root, run_as))
            except (NotEnoughSpace, StagingRefused) as error:
                refusals.append(error.as_dict())
        return probes, refusals


def _told(one: TableDifference, backup: Schemas, live: Schemas) -> TableDifference:
    return msgspec.structs.replace(one, told=what_differs(backup[one.keyspace], live[one.keyspace], one.name))


def _held(roots: Sequence[StagingRoot]) -> dict[str, int]:
    """Data directory → bytes that an earlier run of the job fetched there already."""
    held: dict[str, int] = {}
    for root in roots:
        for place, _, names in os.walk(root.path / "held", followlinks=False):
            for name in names:
                with suppress(FileNotFoundError):
                    size = os.lstat(os.path.join(place, name)).st_size
                    held[root.data_directory] = held.get(root.data_directory, 0) + size
    return held


def _needs(
    plan: StagingPlan, probes: Sequence[Probe], found: Sequence[Volume], held: Mapping[str, int], *, linked: bool
) -> list[VolumeNeed]:
    """Bytes to be held (none where they are links to the snapshot, nor those held already), and once more where imports
    have to be copies."""
    links = bool(probes) and all(one.links for one in probes)
    needs = []
    for volume, size in plan.needs():
        there = sum(held.get(one.path, 0) for one in found if one.device == volume.device)
        fetched = 0 if linked and links else max(0, size - there)
        needs.append(VolumeNeed(volume.path, fetched + (0 if links else size), volume.free_bytes))
    return needs


def _refuse_space(needs: Sequence[VolumeNeed]) -> list[Refusal]:
    short = [need for need in needs if need.needed_bytes > need.free_bytes]
    if not short:
        return []
    told = ", ".join(f"{need.path} lacks {need.needed_bytes - need.free_bytes} bytes" for need in short)
    error = NotEnoughSpace(
        f"the restore does not fit: {told}",
        volumes=[
            {"path": need.path, "needed_bytes": need.needed_bytes, "free_bytes": need.free_bytes} for need in short
        ],
    )
    return [error.as_dict()]
