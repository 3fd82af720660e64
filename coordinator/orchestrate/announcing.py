"""What is put at a place before anything else of a backup: its plan, and a record that says that it runs. In: the plan
and who takes part. Out: the nodes that could not take it, with their errors.

The record makes listings show the backup although the coordinator is lost before its end. Keys that are refused are
waited for, as a command waits for them: for as long as the agent that was refused says; so is an agent that doesn't
answer. What was announced is noted: a later life of the coordinator asks nobody again, for a node that has its part
may be gone by then.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import msgspec
import structlog

from agent.wire.backups import RUNNING, NodeRecord, Plan, PlannedNode, Record
from coordinator.fleet.errors import AgentUnreachable
from coordinator.model.destinations import Destination
from coordinator.orchestrate.copies import NOT_OURS, CopyStates
from coordinator.orchestrate.places import Places, is_shared, place_id
from coordinator.orchestrate.run import Run
from coordinator.orchestrate.side_by_side import one_error
from kit.groups import TaskGroup

DENIED = "storage_denied"
"""The agents' code for keys that a store refuses."""
NOT_LET_IN = frozenset({DENIED, "destination_read_only", "directory_denied"})
"""The agents' codes for a place that takes nothing from them now; only keys are waited for."""

log = structlog.get_logger(__name__)

Errors = dict[str, dict[str, object]]
"""host id → error object"""


class Announcer:
    """Announces one request's backup at its places. `begun`: place id → host ids at whose part something of it may be,
    also of what an earlier life of the coordinator put (of a shared destination all of them, or none): nowhere else is
    anything to be undone."""

    def __init__(self, run: Run, places: Places) -> None:
        self._run = run
        self._places = places
        self.begun: dict[str, set[str]] = {}

    async def announce_all(
        self,
        where: Iterable[Destination | None],
        plan: Plan,
        nodes: Sequence[PlannedNode],
        missing: Sequence[PlannedNode],
        states: CopyStates,
        *,
        anew: bool = False,
        by: Sequence[str] = (),
    ) -> dict[str, Errors]:
        """Announce at all places side by side, since nothing may be written to one before: place id → the nodes that
        could not take it, whose copies there have failed. `anew`: also what was announced already. `by`: host ids of
        the agents that put it, where those of `nodes` themselves can't all. Raises `RequestCancelled`."""

        async def one(place: Destination | None) -> None:
            step = f"announced-{place_id(place)}"
            noted = None if anew else await self._run.around.store.requests.step(self._run.request.id, step)
            if noted is None:
                found = await self._announce(place, plan, nodes, missing, by or [node.host_id for node in nodes])
                await self._run.note(step, errors=found)
            else:
                found = noted["errors"]
                await self._begun_at(place_id(place))
            errors[place_id(place)] = found
            for host_id, error in found.items():
                states.failed(place_id(place), host_id, error)

        errors: dict[str, Errors] = {}
        with one_error():
            async with TaskGroup() as group:
                for place in where:
                    group.create_task(one(place))
        return errors

    async def _announce(
        self,
        place: Destination | None,
        plan: Plan,
        nodes: Sequence[PlannedNode],
        missing: Sequence[PlannedNode],
        by: Sequence[str],
    ) -> Errors:
        """Put the plan (its cluster id is the place's), then the record, by each of the hosts at its own part, of a
        shared store by one of them; the record also names the `missing`. Raises `RequestCancelled` while it waits."""
        errors = await self._put_plan(place, plan, by)
        record = Record(
            plan.tag,
            plan.backup_id,
            plan.time,
            RUNNING,
            plan.keyspaces,
            [
                *(NodeRecord(node.host_id, node.address, RUNNING, {}) for node in nodes),
                *(NodeRecord(node.host_id, node.address, "missing", {}) for node in missing),
            ],
        )
        hosts = [host_id for host_id in by if host_id not in errors]
        # Without it a lost coordinator's backup isn't listed; the final record, put again until it is there, is.
        for host_id, error in (await self._places.put_record(place, record, hosts)).items():
            log.warning("running record not put", tag=plan.tag, host_id=host_id, reason=error.get("message"))
        return errors

    async def _put_plan(self, place: Destination | None, plan: Plan, hosts: Sequence[str]) -> Errors:
        if place is not None:
            plan = msgspec.structs.replace(plan, cluster_id=place.cluster_id)
        loop = asyncio.get_running_loop()
        began, told = loop.time(), ""
        errors: Errors = {}
        again = list(hosts)
        while again:
            found = await self._put(place, plan, again)
            errors = {host: error for host, error in errors.items() if host not in again} | found
            waiting = [host for host, error in errors.items() if loop.time() - began < self._patience(error)]
            again = list(hosts) if waiting and is_shared(place) else waiting
            if again:
                self._run.stop_if_cancelled()
                why = _why(place, plan, {host: errors[host] for host in waiting})
                if why != told:
                    told = why
                    await self._run.update(message=why)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._run.around.timing.retry_pause):
                        await self._run.cancelled.wait()
                self._run.stop_if_cancelled()
        if told:
            await self._run.update(message="")
        return errors

    def _patience(self, error: Mapping[str, object]) -> float:
        """Seconds for which the same is tried again after this error: for newer keys by the refused agent's own
        setting, for an agent as all phases wait for it."""
        if error.get("code") == AgentUnreachable.code:
            return self._run.around.timing.agent_return
        fields = error.get("fields")
        seconds = fields.get("patience_seconds") if isinstance(fields, Mapping) else None
        return float(seconds) if error.get("code") == DENIED and isinstance(seconds, int | float) else 0.0

    async def _begun_at(self, named: str) -> set[str]:
        """The nodes at whose part of the place something may be, those of earlier lives included."""
        if named not in self.begun:
            earlier = await self._run.around.store.requests.step(self._run.request.id, f"begun-{named}")
            self.begun[named] = set(earlier["hosts"]) if earlier is not None else set()
        return self.begun[named]

    async def _put(self, place: Destination | None, plan: Plan, hosts: Sequence[str]) -> Errors:
        named = place_id(place)
        before = frozenset(await self._begun_at(named))
        begun = before.union(hosts)
        await self._set_begun(named, begun)
        errors = await self._places.put_plan(place, plan, hosts)
        refused = {host for host, error in errors.items() if _put_nothing(error, first=host not in before)}
        if not is_shared(place) or refused == set(hosts):
            await self._set_begun(named, begun - refused)
        return errors

    async def _set_begun(self, named: str, hosts: frozenset[str]) -> None:
        if hosts != self.begun[named]:
            self.begun[named] = set(hosts)
            await self._run.note(f"begun-{named}", hosts=sorted(hosts))


def _put_nothing(error: Mapping[str, object], *, first: bool) -> bool:
    """Whether nothing of this backup is at a node's part of a place that refused the plan so. A place that refuses
    only now says nothing of what was put before."""
    return error.get("code") in NOT_OURS or (first and error.get("code") in NOT_LET_IN)


def _why(place: Destination | None, plan: Plan, errors: Errors) -> str:
    """What is waited for, as a sentence."""

    def named(hosts: Iterable[str]) -> str:
        return ", ".join(sorted(addresses.get(host, host) for host in hosts))

    addresses = {node.host_id: node.address for node in plan.nodes}
    silent = {host for host, error in errors.items() if error.get("code") == AgentUnreachable.code}
    told = []
    if refused := errors.keys() - silent:
        told.append(f"{place_id(place)} refuses the keys of {named(refused)}: waiting for newer ones")
    if silent:
        told.append(f"waiting for the agent of {named(silent)}")
    return "; ".join(told)
