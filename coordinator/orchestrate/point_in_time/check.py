"""What the nodes know of a point. In: the order. Out: who takes part, and the verdict over all nodes' checks for the
newest snapshot that fits. Changes nothing.
"""

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agent.wire.commands import Kind
from agent.wire.names import CLUSTER_KEYSPACES, NODE_KEYSPACES
from agent.wire.node import RingMember, Tables
from agent.wire.point_in_time import PitCheckResult
from coordinator.fleet.errors import AgentRefused
from coordinator.fleet.registry import Registry
from coordinator.model.destinations import Destination
from coordinator.model.errors import UnknownKeyspace, UnknownTable
from coordinator.model.orders import PointInTimeOrder
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.errors import KeyspaceRefused
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.muster import Muster, missing_nodes, muster
from coordinator.orchestrate.outcome import cause_of, failures, nodes_failed
from coordinator.orchestrate.places import Places, target_of
from coordinator.orchestrate.point_in_time.elsewhere import elsewhere, no_snapshot, shown_place, told_elsewhere
from coordinator.orchestrate.point_in_time.errors import PointNeedsAll, PointRefused
from coordinator.orchestrate.point_in_time.refusals import LATER_WRITE, PART_UNREADABLE, refusal
from coordinator.orchestrate.point_in_time.scope import PitNode, PitScope, asked_tables
from coordinator.orchestrate.point_in_time.snapshots import beside, candidates, why_incomplete
from coordinator.orchestrate.point_in_time.times import told_point, told_time
from coordinator.orchestrate.point_in_time.unarchived import Unarchived, unarchived_nodes
from coordinator.orchestrate.point_in_time.verdict import PitSituation, PitVerdict, judge, staying, taken_between
from coordinator.orchestrate.restore.verdict import most_skew
from coordinator.orchestrate.run import Run

WITHOUT_CAUSE = ("cancelled", "request_cancelled")
"""Codes of nodes that only stopped because another one had failed."""

PART_LOST = frozenset(
    {
        "backup_deleted", "backup_not_found", "manifest_absent", "manifest_incomplete", "manifest_invalid",
        "object_damaged", "object_unreadable", "snapshot_damaged", "snapshot_missing", "snapshot_unreadable",
    }
)  # fmt: skip
"""What an agent says of its part of a backup that is gone or damaged."""


def causes(answers: Mapping[str, Answered]) -> dict[str, dict[str, object]]:
    """Address → error of the nodes that failed, those left out that only stopped for others."""
    failed = failures(answers.values())
    return {address: error for address, error in failed.items() if error.get("code") not in WITHOUT_CAUSE} or failed


def unread_parts(answers: Mapping[str, Answered]) -> dict[str, dict[str, object]]:
    """Address → error of the nodes that can't read their part of a backup; none when anything else failed as well."""
    failed = causes(answers)
    return failed if all(error.get("code") in PART_LOST for error in failed.values()) else {}


def unread_refusals(tag: str, lost: Mapping[str, dict[str, object]]) -> list[dict[str, object]]:
    """A refusal for each node that can't read its part of the backup."""
    return [
        refusal(
            PART_UNREADABLE,
            f"{address}: its part of the backup {tag} can't be read: {cause_of(error)}",
            node=address,
            tag=tag,
            error=error,
        )
        for address, error in sorted(lost.items())
    ]


def parts_unread(
    pit_micros: int,
    unread: list[dict[str, object]],
    passed_over: Mapping[str, str],
    others: Sequence[Mapping[str, Any]],
) -> PointRefused:
    """The error where a backup is old enough, and no such one can be read. `others`: other places, as `elsewhere`."""
    told = "; ".join(str(each["message"]) for each in unread)
    return PointRefused(
        f"The tables can't be brought to {told_point(pit_micros)}: {told}{told_elsewhere(others)}",
        refusals=unread,
        elsewhere=[*others],
        warnings=[f"the backup {tag} is passed over: {why}" for tag, why in passed_over.items()],
    )


def refuse_keyspaces(order: PointInTimeOrder) -> None:
    """Raises `KeyspaceRefused` for what is never put back to a point: it is the cluster's own."""
    named = sorted({*(order.keyspaces or {})} & (NODE_KEYSPACES | CLUSTER_KEYSPACES))
    if named:
        raise KeyspaceRefused(f"{', '.join(named)} can't be brought to a point in time", keyspaces=named)


def nodes_of(registry: Registry, cluster: str, ring: Sequence[RingMember]) -> list[PitNode]:
    """The ring's members, each with its agent, as far as one is known."""
    nodes = []
    for member in ring:
        agent = registry.known(cluster, member.host_id)
        if agent is not None:
            nodes.append(PitNode(member.host_id, member.address, agent.url))
    return nodes


class PitChecks:
    """Checks one order."""

    def __init__(self, run: Run, order: PointInTimeOrder, fan_out: FanOut) -> None:
        self._run = run
        self.order = order
        self._fan_out = fan_out
        self._places = Places(run.around, run.cluster)

    async def scope(self, started: list[str]) -> PitScope:
        """The whole ring; `started`: addresses of nodes that were started first. Raises `PointNeedsAll`,
        `NobodyAnswers`, `NoSuchDestination`."""
        present = await muster(self._run.around, self._run.cluster)
        if present.missing:
            raise missing_nodes(present.missing, present, PointNeedsAll)
        source = await self._places.optional(self.order.destination)
        logs = await self._places.optional(self.order.pit_destination)
        limit = self.order.throttle_bytes_per_second
        return PitScope(
            nodes=nodes_of(self._run.around.registry, self._run.cluster, present.ring),
            source=None if source is None else target_of(source, limit),
            logs=None if logs is None else target_of(logs, limit),
            started=started,
        )

    async def verdict(self, scope: PitScope) -> PitVerdict:
        """Of the newest snapshot that was taken on every node before the point, that every node can read, and that has
        no later write; when all have one, of the newest. Raises `NoSnapshot`, `PointRefused` where parts that can't be
        read are all that there is, `NodesFailed`, `UnknownKeyspace`, `UnknownTable`."""
        order = self.order
        present = await muster(self._run.around, self._run.cluster)
        source = await self._places.optional(order.destination)
        asked = asked_tables(order)
        listed = await self._places.backups(source)
        tags, passed_over = candidates(listed, order.pit_micros, asked)
        ring = {member.host_id: member.address for member in present.ring}
        without = await unarchived_nodes(self._run.around, self._run.cluster, order.pit_destination)
        blemished: PitVerdict | None = None
        unread: list[dict[str, object]] = []
        for tag in tags:
            why, lost = await self._why_incomplete(source, tag, ring)
            if why:
                passed_over[tag] = why
                unread += unread_refusals(tag, lost)
                continue
            answers = await self._ask(tag, scope, asked, beside(listed, tag, asked) if order.check else [])
            if refusals := unread_refusals(tag, unread_parts(answers)):
                unread += refusals
                passed_over[tag] = "; ".join(str(each["message"]) for each in refusals)
                continue
            found = {answer.address: msgspec.convert(answer.result, PitCheckResult) for answer in answers.values()}
            verdict = await asyncio.to_thread(judge, self._situation(tag, asked, present, without), found)
            _, until = taken_between(found)
            if until * 1_000_000 > verdict.pit_micros:
                last = max(found, key=lambda address: found[address].taken_until)
                passed_over[tag] = f"it was taken on {last} only at {told_time(until)}"
                continue
            later = [each for each in verdict.refusals if each["code"] == LATER_WRITE]
            if later:
                passed_over[tag] = str(later[0]["message"])
                blemished = blemished or verdict
                continue
            return await self._all_there(verdict, passed_over, present)
        if blemished is None and unread:
            others = await elsewhere(self._run.around, self._run.cluster, order)
            raise parts_unread(order.pit_micros, unread, passed_over, others)
        if blemished is None:
            raise await no_snapshot(self._run.around, self._run.cluster, order, listed, passed_over)
        return await self._all_there(blemished, {}, present)

    async def _why_incomplete(
        self, source: Destination | None, tag: str, ring: Mapping[str, str]
    ) -> tuple[str, dict[str, dict[str, object]]]:
        """Why the backup can't be used ("": it can), and address → error of the nodes that can't read their part."""
        try:
            joined = await self._places.backup(source, tag)
        except AgentRefused as error:
            if error.agent_code not in PART_LOST:
                raise
            return f"it can't be read ({error.message})", {}
        lost = {} if joined is None else {ring.get(host_id, host_id): told for host_id, told in joined.unread.items()}
        return why_incomplete(joined, ring), lost

    async def _ask(self, tag: str, scope: PitScope, asked: Tables, others: list[str]) -> dict[str, Answered]:
        """The phase is named by the backup and not by its place in the listing, which changes between two lives: an
        earlier life's answer about another backup must not be taken for this one's. Raises `NodesFailed` unless it is
        the backup's parts that can't be read."""
        told = scope.arguments(self.order, tag, self.order.pit_micros, asked, others)
        answers = await self._fan_out.ask(
            f"pit_check-{zlib.crc32(tag.encode())}", Kind.PIT_CHECK, dict.fromkeys(scope.hosts, told)
        )
        if any(not answer.ok for answer in answers.values()) and not unread_parts(answers):
            raise nodes_failed(f"Looking into the backup {tag}", causes(answers))
        return answers

    def _situation(self, tag: str, asked: Tables, present: Muster, without: dict[str, Unarchived]) -> PitSituation:
        return PitSituation(
            tag=tag,
            pit_micros=self.order.pit_micros,
            asked=asked,
            ring=present.ring,
            skews=present.skews,
            most_skew=most_skew(self._run.around.timing.force_margin),
            force=self.order.force,
            without=without,
        )

    async def _all_there(self, verdict: PitVerdict, passed_over: dict[str, str], present: Muster) -> PitVerdict:
        """With what there is to say of the choice of backup and tables, and where backup and log are. Raises
        `UnknownKeyspace`, `UnknownTable` for what was asked and did not exist at the point."""
        when = told_point(verdict.pit_micros)
        for keyspace, tables in (self.order.keyspaces or {}).items():
            found = verdict.tables.get(keyspace, [])
            if not found and not tables:
                raise UnknownKeyspace(f"At {when} there was no keyspace {keyspace}", field="keyspaces")
            if lacking := [f"{keyspace}.{table}" for table in sorted({*tables} - {*found})]:
                raise UnknownTable(f"At {when} there was no table {', '.join(lacking)}", field="keyspaces")
        told = [f"the backup {tag} is passed over: {why}" for tag, why in passed_over.items()]
        others = [] if self.order.keyspaces else staying(verdict.tables, present.keyspaces)
        if others:
            told.append(
                "no keyspace was named: taken are all tables of the backup but those of system keyspaces; these stay "
                f"as they are: {', '.join(others)}"
            )
        return msgspec.structs.replace(
            verdict,
            warnings=[*verdict.warnings, *told],
            destination=shown_place(await self._places.optional(self.order.destination)),
            pit_destination=shown_place(await self._places.optional(self.order.pit_destination)),
        )
