"""PREFLIGHT: may this node's part of the restore begin? Changes nothing but makes and tries the staging directories."""

import asyncio
from collections.abc import Sequence
from typing import Any

from agent.cassandra.directories import Volume, volumes
from agent.cassandra.errors import NotEnoughSpace, StagingRefused
from agent.cassandra.schema_compare import (
    by_name,
    differences,
    missing_tables,
    replication_differs,
    views_on,
)
from agent.cassandra.staging import Probe, probe, staging_root
from agent.jobs.preflight_rules import refuse_what_cannot_be, warnings_of
from agent.jobs.replaced_types import types_in_use
from agent.jobs.restore_errors import NodesMoving
from agent.jobs.restore_notes import RestoreNotes
from agent.jobs.restore_source import BackupSource
from agent.jobs.restore_tools import RestoreTools, checked, down_among, references, refuse_moving
from agent.jobs.restore_volumes import StagingPlan, staged_sstables
from agent.model.job import JobContext, Outcome
from agent.wire.commands import RestoreArguments
from agent.wire.results import PreflightResult, VolumeNeed

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
        differing: dict[str, list[str]] = {}
        for difference in (found_different := differences(asked, backup, live)):
            differing.setdefault(difference.keyspace, []).append(difference.name)
        refusals += [error.as_dict() for error in types_in_use(differing, backup, live)]
        probes, refused = await self._probes(notes, found)
        refusals += refused
        plan = StagingPlan(head.data_directories, found)
        files = size = sstables = 0
        for reference in references(head, asked):
            async for _, entries in staged_sstables(source, reference):
                plan.place(entries)
                files, size, sstables = files + len(entries), size + sum(one.size for one in entries), sstables + 1
        needs = _needs(plan, probes, linked=arguments.source is None)
        refusals += _refuse_space(needs)
        return PreflightResult(
            files=files,
            bytes=size,
            sstables=sstables,
            tables_in_backup={name: sorted(schema.columns) for name, schema in backup.items()},
            missing_keyspaces=sorted(name for name in asked if name not in present),
            missing_tables=missing_tables(asked, live),
            differences=found_different,
            replication_differs=replication_differs(asked, backup, live),
            live_views=views_on(asked, live),
            backup_views=views_on(asked, backup),
            views_enabled=await node.view.views_enabled(),
            volumes=needs,
            refusals=refusals,
            warnings=await warnings_of(self._tools, arguments, head, backup, live, needs),
            now=self._tools.clock(),
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


def _needs(plan: StagingPlan, probes: Sequence[Probe], *, linked: bool) -> list[VolumeNeed]:
    """Held bytes (none where they are links to the snapshot), and once more where imports have to be copies."""
    links = bool(probes) and all(one.links for one in probes)
    times = (0 if linked and links else 1) + (0 if links else 1)
    return [VolumeNeed(volume.path, size * times, volume.free_bytes) for volume, size in plan.needs()]


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
