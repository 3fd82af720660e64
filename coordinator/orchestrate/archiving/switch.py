"""Archiving switched on or off, or to other destinations: every agent is told, then the nodes whose Cassandra runs with
something else are restarted one after the other.

What makes it safe: nothing is restarted before every agent has taken the order; an order that none took leaves the
former one in force; one that some took stays in force, so that the same order again goes on with the others.
"""

import asyncio
from collections.abc import Mapping

import msgspec

from agent.wire.archiving import ArchiveArguments, ArchiveResult, LogTarget
from agent.wire.commands import Kind
from coordinator.model.archiving import ArchivingSetting, NodeArchiving
from coordinator.model.orders import ArchivingOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.archiving.errors import ArchivingNotTaken, RollingRestartStopped
from coordinator.orchestrate.archiving.nodes import judged, look
from coordinator.orchestrate.archiving.rolling_restart import RollingRestart
from coordinator.orchestrate.archiving.setting import put_back, put_in_force, setting_of
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.muster import missing_nodes, muster
from coordinator.orchestrate.outcome import Outcome, cause_of, failures, nodes_failed
from coordinator.orchestrate.places import Places, target_of
from coordinator.orchestrate.run import Run, Surroundings


class ArchivingScope(msgspec.Struct, frozen=True):
    """`hosts`: who is told, in the order of restarts; `addresses` of these. `missing`: who isn't, host id → why."""

    hosts: list[str]
    addresses: dict[str, str]
    missing: dict[str, str]


class Former(msgspec.Struct, frozen=True):
    """What was in force before."""

    setting: ArchivingSetting | None


async def archiving_scope(around: Surroundings, cluster: str, order: ArchivingOrder) -> ArchivingScope:
    """Whom an order is for, now. Raises `NobodyAnswers`, and `MissingNodes` unless the order is `partial`."""
    present = await muster(around, cluster)
    away = {member.host_id: member for member in present.down if member.host_id not in present.present}
    away |= {member.host_id: member for member in present.missing}
    if away and not order.partial:
        raise missing_nodes([*away.values()], present)
    # Rack by rack: what is down then is as little of the data as can be.
    ring = sorted(present.ring, key=lambda member: (member.dc, member.rack, member.address))
    hosts = [member.host_id for member in ring if member.host_id in {*present.present}]
    return ArchivingScope(
        hosts,
        {member.host_id: member.address for member in ring},
        {host: f"{one.address}: {present.reasons.get(host, 'it is down')}" for host, one in away.items()},
    )


class SwitchFlow:
    """Carries out an order of archiving."""

    def __init__(self, run: Run, order: ArchivingOrder) -> None:
        self._run = run
        self._order = order
        self._around = run.around
        self._places = Places(run.around, run.cluster)

    async def __call__(self) -> Outcome:
        """To the end. Raises what the whole request fails with."""
        run, order, store = self._run, self._order, self._around.store
        former = await run.once("former", self._former, Former)
        await put_in_force(store, run.cluster, order, run.request.id)
        try:
            scope = await run.once("scope", lambda: archiving_scope(self._around, run.cluster, order), ArchivingScope)
            for why in scope.missing.values():
                run.warn(f"{why}: it was not told")
            fan_out = FanOut(
                run,
                job=run.request.id,
                fence=await store.commands.next_fence(run.request.id),
                repair=self._places.repair,
            )
            arguments = ArchiveArguments(
                order.enabled, order.directory, await self._targets(), order.keep, order.tail_seconds
            )
            told = await fan_out.ask("archive", Kind.ARCHIVE, dict.fromkeys(scope.hosts, arguments))
        except Exception:
            if not await self._anybody_took():
                await put_back(store, run.cluster, former.setting)
            raise
        failed = failures(told.values())
        if failed:
            if not any(answer.ok for answer in told.values()):
                await put_back(store, run.cluster, former.setting)
            elif order.directory and any(one.get("code") == "archiving_refused" for one in failed.values()):
                run.aftermath = (
                    f"{order.directory} stays ordered, for other nodes took it, and a POST without backup_directory "
                    f"takes it again: name another backup_directory, or DELETE /{run.cluster}/backups/pit"
                )
            raise nodes_failed("Telling the nodes of archiving", failed)
        restarted = await self._restarted(scope, fan_out, told)
        return await self._outcome(scope, told, restarted)

    async def _former(self) -> Former:
        return Former(await setting_of(self._around.store, self._run.cluster))

    async def _targets(self) -> list[LogTarget]:
        return [
            LogTarget(
                target_of(await self._places.destination(copy.destination), copy.throttle_bytes_per_second),
                copy.compressed,
            )
            for copy in self._order.copies
        ]

    async def _anybody_took(self) -> bool:
        commands = await self._around.store.commands.of(self._run.request.id)
        return any(command.accepted for command in commands)

    async def _restarted(self, scope: ArchivingScope, fan_out: FanOut, told: Mapping[str, Answered]) -> list[str]:
        """The nodes that were restarted, by address. Raises `RollingRestartStopped`, `ClusterNotWhole`."""
        results = {host: msgspec.convert(answer.result, ArchiveResult) for host, answer in told.items()}
        for host, result in results.items():
            if result.tail_refused:
                self._run.warn(f"{scope.addresses[host]} makes no live copies of its log: {result.tail_refused}")
        needy = [host for host in scope.hosts if results[host].restart_needed]
        rolling = RollingRestart(self._run, fan_out, {*scope.missing}, drain=self._order.drain, sleep=self._order.sleep)
        stopped: Answered | None = None
        try:
            stopped = await rolling(needy)
        finally:
            left = [scope.addresses[host] for host in needy if host not in rolling.done]
            done = [scope.addresses[host] for host in scope.hosts if scope.addresses[host] not in left]
            self._run.result |= {"nodes_done": done, "nodes_left": left}
            self._run.aftermath = f"{_some(done)} {self._runs()}, {_some(left)} not yet" if left else ""
        if stopped is not None:
            raise RollingRestartStopped(
                f"The restart of {stopped.address} failed ({cause_of(stopped.error or {})}), no other node was "
                "restarted after it",
                nodes={stopped.address: stopped.error or {}},
                done=done,
                left=left,
            )
        return [scope.addresses[host] for host in needy]

    def _runs(self) -> str:
        return "archive" if self._order.enabled else "don't archive any more"

    async def _outcome(self, scope: ArchivingScope, told: Mapping[str, Answered], restarted: list[str]) -> Outcome:
        wrong = await self._not_so(scope)
        known = {one.address: one.without for one in wrong if one.without}
        directories = {str(answer.result.get("directory", "")) for answer in told.values()} - {""}
        result = {"restarted": restarted, "backup_directory": sorted(directories)}
        count = len(scope.hosts) - len(known)
        message = f"{count} nodes {self._runs()}; restarted: {_some(restarted)}"
        if not known:
            return Outcome(RequestState.SUCCESS, message, result=result)
        names = "; ".join(f"{address}: {why}" for address, why in known.items())
        error = ArchivingNotTaken(f"Not all nodes do as they were told: {names}", nodes=known)
        return Outcome(
            RequestState.ERROR, f"{message}; {error.message}", partial=count > 0, error=error.as_dict(), result=result
        )

    async def _not_so(self, scope: ArchivingScope) -> list[NodeArchiving]:
        """The nodes that were told and do otherwise; agents look themselves a little later than Cassandra is up."""
        until = self._around.monotonic() + self._around.timing.brief
        while True:
            seen = [one for one in await look(self._around, self._run.cluster) if one.host_id in scope.hosts]
            wrong = [node for node in (judged(one, self._order) for one in seen) if node.without]
            if not wrong or self._around.monotonic() >= until:
                return wrong
            await asyncio.sleep(self._around.timing.retry_pause)


def _some(addresses: list[str]) -> str:
    return ", ".join(addresses) or "none"
