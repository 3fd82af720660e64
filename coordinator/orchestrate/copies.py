"""What became of each node's part at each destination, and the records and outcome that follow from it."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from agent.wire.backups import SUCCESS, NodeRecord, PlannedNode, Record
from agent.wire.commands import DeleteArguments, Kind, State, Target
from agent.wire.destinations import ON_SERVER
from agent.wire.results import UploadResult
from coordinator.model.destinations import Destination
from coordinator.model.orders import Copy
from coordinator.model.requests import RequestState
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.outcome import NOT_THERE, Outcome, cause_of, failures, nodes_failed
from coordinator.orchestrate.places import Places, place_id, target_of
from coordinator.orchestrate.run import Run

RECORD_ATTEMPTS = 4
NOT_OURS = frozenset({"backup_exists", "backup_deleted"})
"""Codes of a plan that was refused because the tag is taken, or was and is still to be swept."""


class CopyStates:
    """Per destination and node: not decided yet, success with sizes, or failed with an error. The first word counts."""

    def __init__(self, nodes: Sequence[PlannedNode], missing: Sequence[PlannedNode]) -> None:
        self._nodes = list(nodes)
        self._missing = list(missing)
        self._done: dict[tuple[str, str], dict[str, int]] = {}
        self._failed: dict[tuple[str, str], dict[str, Any]] = {}
        self._gone: dict[str, dict[str, Any]] = {}
        self._taken: set[tuple[str, str]] = set()
        self._kept: dict[tuple[str, str], NodeRecord] = {}
        self.warnings: list[str] = []
        """what the nodes' copies have to say to a person, each with its node"""

    def succeeded(self, place: str, host_id: str, sizes: dict[str, int]) -> None:
        """The node's part is whole there; `sizes`: keyspace → bytes."""
        if (place, host_id) not in self._failed:
            self._done[place, host_id] = sizes

    def failed(self, place: str, host_id: str, error: dict[str, Any]) -> None:
        """The node's part won't be there."""
        if (place, host_id) not in self._done:
            self._failed.setdefault((place, host_id), error)

    def failed_everywhere(self, host_id: str, error: dict[str, Any]) -> None:
        """The node fell out altogether."""
        self._gone.setdefault(host_id, error)

    def taken(self, place: str, host_id: str) -> None:
        """Another backup has the tag there, as `not_ours` tells."""
        self._taken.add((place, host_id))

    def kept(self, place: str, line: NodeRecord) -> None:
        """The node's part was whole there before: what comes of it now takes nothing from the record."""
        self._kept[place, line.host_id] = line

    def fail_rest(self, places: Iterable[str], error: dict[str, Any]) -> None:
        """The whole request failed: whatever isn't decided yet has this error."""
        for place in places:
            for node in self._nodes:
                self.failed(place, node.host_id, error)

    def open(self, place: str, host_id: str | None = None) -> bool:
        """Whether the node (any node) can still have its part there."""
        hosts = [node.host_id for node in self._nodes] if host_id is None else [host_id]
        return any((place, host) not in self._failed and host not in self._gone for host in hosts)

    def not_ours(self, place: str, host_id: str) -> bool:
        """Whether the place refused the plan, or the node its snapshot, for another backup's sake, whose records are no
        business of this one's."""
        return (place, host_id) in self._taken or (self._failed.get((place, host_id)) or {}).get("code") in NOT_OURS

    def errors(self) -> dict[str, dict[str, Any]]:
        """Address → first error."""
        found: dict[str, dict[str, Any]] = {}
        for node in self._nodes:
            own = [self._gone[node.host_id]] if node.host_id in self._gone else []
            own += [error for (_, host_id), error in self._failed.items() if host_id == node.host_id]
            if own:
                found[node.address] = own[0]
        return found

    def any_failed(self, place: str) -> bool:
        """Whether a node that was asked did not come to its end there, whatever the place held before."""
        hosts = [node.host_id for node in self._nodes if (place, node.host_id) not in self._done]
        return any((place, host) in self._failed or host in self._gone for host in hosts)

    def records(self, place: str) -> list[NodeRecord]:
        """The nodes' lines of the listing record."""
        lines = [self._line(place, node) for node in self._nodes]
        lines += [NodeRecord(node.host_id, node.address, "missing", {}) for node in self._missing]
        return [line if line.state == SUCCESS else self._kept.get((place, line.host_id), line) for line in lines]

    def _line(self, place: str, node: PlannedNode) -> NodeRecord:
        sizes = self._done.get((place, node.host_id))
        if sizes is not None:
            return NodeRecord(node.host_id, node.address, SUCCESS, sizes)
        error = self._failed.get((place, node.host_id)) or self._gone.get(node.host_id)
        return NodeRecord(node.host_id, node.address, "failed", {}, error)


def targets(
    copies: Iterable[Copy], destinations: Sequence[Destination], hosts: Iterable[str], states: CopyStates
) -> dict[str, list[Target]]:
    """Host id → where the node still can have its part, with each copy's own limit; nodes that can't anywhere are left
    out."""
    throttles = {copy.destination: copy.throttle_bytes_per_second for copy in copies}
    found = {
        host_id: [target_of(place, throttles[place.id]) for place in destinations if states.open(place.id, host_id)]
        for host_id in hosts
    }
    return {host_id: chosen for host_id, chosen in found.items() if chosen}


def upload_states(answers: Iterable[Answered], places: Sequence[str], states: CopyStates) -> None:
    """Sort the results of upload or sync commands into `states`."""
    for answer in answers:
        result = msgspec.convert(answer.result or {"targets": {}}, UploadResult)
        for place in places:
            target = result.targets.get(place)
            if target is not None:
                states.warnings += [f"{answer.address}: {text}" for text in target.warnings]
            if target is not None and target.outcome == "success":
                states.succeeded(place, answer.host_id, target.sizes)
            elif target is not None:
                states.failed(place, answer.host_id, dict(target.error or answer.error or {}))
            elif answer.state is State.SUCCESS:
                states.failed(place, answer.host_id, {"code": "agent_misbehaved", "message": "no word of this target"})
            else:
                states.failed(place, answer.host_id, answer.error or {})


def state_of(records: Sequence[NodeRecord]) -> str:
    """The state of a backup at a place from its nodes' lines."""
    good = sum(record.state == "success" for record in records)
    return "success" if good == len(records) and good else "partial" if good else "failed"


async def close_copies(
    run: Run,
    places: Places,
    where: Sequence[Destination | None],
    hosts: Sequence[str],
    states: CopyStates,
    record: Record,
) -> Outcome:
    """Put each place's record (`record` gives tag, times and keyspaces), let one-shot destinations be forgotten, and
    sum up."""
    for warning in states.warnings:
        run.warn(warning)
    statuses: dict[str, tuple[str, bool]] = {}
    summary: dict[str, Any] = {}
    owed_records: dict[str, list[str]] = {}
    address_of = {line.host_id: line.address for line in states.records(ON_SERVER)}
    for place in where:
        named = place_id(place)
        lines = states.records(named)
        state = state_of(lines)
        whole = msgspec.structs.replace(record, state=state, nodes=lines, finished=run.around.clock())
        own = [host_id for host_id in hosts if not states.not_ours(named, host_id)]
        owed = await _put_record(run, places, place, whole, own)
        if owed:
            # It can still be restored by its tag: plan and manifests tell.
            owed_records[named] = [address_of.get(host_id, host_id) for host_id in owed]
            for address in owed_records[named]:
                run.warn(f"owed: the listing record could not be put to {named} by {address}")
        whole_now = state == "success" and not states.any_failed(named)
        statuses[named] = ("success", False) if whole_now else ("error", state in ("partial", "success"))
        parts = sum(line.state == "success" for line in lines)
        summary[named] = {"state": state, "parts": parts, "bytes": sum(sum(line.sizes.values()) for line in lines)}
    await forget_one_shots(run, places, where)
    errors = states.errors()
    missing = sorted((line.address, line.host_id) for line in states.records(ON_SERVER) if line.state == "missing")
    good = all(status == "success" for status, _ in statuses.values())
    error: dict[str, Any] | None = None
    if errors:
        error = nodes_failed("The backup", errors).as_dict()
    some = any(status == "success" or partly for status, partly in statuses.values())
    told = (
        "done"
        if good
        else "; ".join(
            [
                *(f"{address}: {cause_of(error)}" for address, error in errors.items()),
                *(f"{address} is missing" for address, _ in missing),
            ]
        )
    )
    result: dict[str, Any] = {"destinations": summary}
    if owed_records:
        result["owed_record"] = owed_records
    if missing:
        result["missing_nodes"] = [{"address": address, "host_id": host_id} for address, host_id in missing]
    return Outcome(
        state=RequestState.SUCCESS if good else RequestState.ERROR,
        message=told or "not done",
        partial=some and not good,
        error=error,
        result=result,
        statuses=statuses,
    )


async def mark_undone(
    run: Run, fan_out: FanOut, place: Destination, hosts: Sequence[str], delete: DeleteArguments
) -> None:
    """Mark a cancelled backup as deleted at a destination: by each of the nodes, of a shared store by one."""
    arguments = msgspec.structs.replace(delete, target=target_of(place))
    chosen = hosts[:1] if place.shared else hosts
    answers = await fan_out.ask(f"undo-mark-{place.id}", Kind.DELETE, dict.fromkeys(chosen, arguments), undoing=True)
    owe(run, answers.values(), f"the delete mark in {place.id}")


def owe(run: Run, answers: Iterable[Answered], what: str) -> None:
    """Name the nodes on which something stays to be cleared; where there was nothing, nothing does."""
    for address, error in failures(answers).items():
        if error.get("code") not in NOT_THERE:
            run.warn(f"owed on {address}: {what} ({error.get('message', '')})")


async def _put_record(
    run: Run, places: Places, place: Destination | None, record: Record, hosts: Sequence[str]
) -> list[str]:
    """Put the record, trying again where that fails: without it a destination's listing doesn't show the backup. Host
    ids of the nodes that could not; of a shared store none as soon as one could."""
    left = list(hosts)
    for attempt in range(RECORD_ATTEMPTS):
        if attempt:
            await asyncio.sleep(run.around.timing.retry_pause)
        left = list(await places.put_record(place, record, left))
        if not left:
            break
    return left


async def forget_one_shots(run: Run, places: Places, where: Sequence[Destination | None]) -> None:
    """Let the one-shot destinations be forgotten, by the agents now and by the coordinator with the request's end;
    one that another running request uses is left to that."""
    for place in where:
        if place is None or not place.one_shot or not await _may_forget(run, places, place.id):
            continue
        for address, error in (await places.forget(place.id)).items():
            run.warn(f"owed on {address}: forgetting the settings of {place.id} ({error.get('message', '')})")


async def _may_forget(run: Run, places: Places, destination_id: str) -> bool:
    """Whether nobody else needs the settings; then nothing begins with them any more. A change of them that is under
    way is waited for: an agent that is told of it late would hold the secrets for ever."""
    key, leaving = (run.cluster, destination_id), run.around.leaving
    while True:
        async with leaving.turn(run.cluster):
            if await places.users(destination_id, but=run.request.id):
                return False
            if key not in leaving.coming and not await places.telling(destination_id):
                leaving.forgotten.add(key)
                run.forget.add(destination_id)
                return True
        await asyncio.sleep(run.around.timing.retry_pause)
