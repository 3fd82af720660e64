"""What is put at a place before anything else of a backup: its plan, and a record that says that it runs. In: the plan
and who takes part. Out: the nodes that could not take it, with their errors.

The record makes listings show the backup although the coordinator is lost before its end. Keys that are refused are
waited for, as a command waits for them: for as long as the agent that was refused says.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import msgspec
import structlog

from agent.wire.backups import RUNNING, NodeRecord, Plan, PlannedNode, Record
from coordinator.model.destinations import Destination
from coordinator.orchestrate.copies import NOT_OURS, CopyStates
from coordinator.orchestrate.places import Places, place_id
from coordinator.orchestrate.run import Run
from coordinator.orchestrate.side_by_side import one_error

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
    ) -> dict[str, Errors]:
        """Announce at all places side by side, since nothing may be written to one before: place id → the nodes that
        could not take it, whose copies there have failed. Raises `RequestCancelled`."""

        async def one(place: Destination | None) -> None:
            found = errors[place_id(place)] = await self.announce(place, plan, nodes, missing)
            for host_id, error in found.items():
                states.failed(place_id(place), host_id, error)

        errors: dict[str, Errors] = {}
        with one_error():
            async with asyncio.TaskGroup() as group:
                for place in where:
                    group.create_task(one(place))
        return errors

    async def announce(
        self,
        place: Destination | None,
        plan: Plan,
        nodes: Iterable[PlannedNode],
        missing: Iterable[PlannedNode],
    ) -> Errors:
        """Put the plan (its cluster id is the place's), then the record, by each of `nodes` at its own part, of a
        shared store by one of them; the record also names the `missing`. Raises `RequestCancelled` while it waits."""
        nodes = list(nodes)
        errors = await self._put_plan(place, plan, [node.host_id for node in nodes])
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
        hosts = [node.host_id for node in nodes if node.host_id not in errors]
        # Without it a lost coordinator's backup isn't listed; the final record, put again until it is there, is.
        for host_id, error in (await self._places.put_record(place, record, hosts)).items():
            log.warning("running record not put", tag=plan.tag, host_id=host_id, reason=error.get("message"))
        return errors

    async def _put_plan(self, place: Destination | None, plan: Plan, hosts: Sequence[str]) -> Errors:
        if place is None:
            return await self._put(None, plan, hosts)
        plan = msgspec.structs.replace(plan, cluster_id=place.cluster_id)
        loop = asyncio.get_running_loop()
        began, told = loop.time(), False
        errors: Errors = {}
        again = list(hosts)
        while again:
            found = await self._put(place, plan, again)
            errors = {host: error for host, error in errors.items() if host not in again} | found
            waiting = [host for host, error in errors.items() if loop.time() - began < _patience(error)]
            again = list(hosts) if waiting and place.shared else waiting
            if again:
                self._run.stop_if_cancelled()
                if not told:
                    told = True
                    named = ", ".join(sorted(node.address for node in plan.nodes if node.host_id in waiting))
                    await self._run.update(message=f"{place.id} refuses the keys of {named}: waiting for newer ones")
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._run.around.timing.retry_pause):
                        await self._run.cancelled.wait()
                self._run.stop_if_cancelled()
        if told:
            await self._run.update(message="")
        return errors

    async def _put(self, place: Destination | None, plan: Plan, hosts: Sequence[str]) -> Errors:
        named = place_id(place)
        step = f"begun-{named}"
        if named not in self.begun:
            earlier = await self._run.around.store.requests.step(self._run.request.id, step)
            self.begun[named] = set(earlier["hosts"]) if earlier is not None else set()
        before = frozenset(self.begun[named])
        begun = before.union(hosts)
        await self._set_begun(named, step, begun)
        errors = await self._places.put_plan(place, plan, hosts)
        refused = {host for host, error in errors.items() if _put_nothing(error, first=host not in before)}
        if place is None or not place.shared or refused == set(hosts):
            await self._set_begun(named, step, begun - refused)
        return errors

    async def _set_begun(self, named: str, step: str, hosts: frozenset[str]) -> None:
        if hosts != self.begun[named]:
            self.begun[named] = set(hosts)
            await self._run.note(step, hosts=sorted(hosts))


def _put_nothing(error: Mapping[str, object], *, first: bool) -> bool:
    """Whether nothing of this backup is at a node's part of a place that refused the plan so. A place that refuses
    only now says nothing of what was put before."""
    return error.get("code") in NOT_OURS or (first and error.get("code") in NOT_LET_IN)


def _patience(error: Mapping[str, object]) -> float:
    """Seconds for which newer keys are waited for after this error, by the refused agent's own setting."""
    fields = error.get("fields")
    seconds = fields.get("patience_seconds") if isinstance(fields, Mapping) else None
    return float(seconds) if error.get("code") == DENIED and isinstance(seconds, int | float) else 0.0
