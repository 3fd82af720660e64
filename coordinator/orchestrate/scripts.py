"""The scripts that a backup has run on its nodes. In: names and nodes. Out: the nodes on which they failed, and what
that makes of the request.

Each is sent once to each node: one that failed, was interrupted or whose agent was lost is not sent again, for nobody
knows what it does when it runs twice.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from agent.wire.commands import Kind, ScriptArguments
from coordinator.model.orders import BackupOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.errors import ScriptsNotSupported
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.outcome import Outcome, nodes_failed
from coordinator.orchestrate.parts import POST_SCRIPT, PRE_SCRIPT
from coordinator.orchestrate.run import Surroundings

BEFORE, AFTER = "The script before the snapshot", "The script after the snapshot"

Errors = Mapping[str, Mapping[str, Any]]
"""address → error object"""


def refuse_older_agents(around: Surroundings, cluster: str, order: BackupOrder, hosts: Sequence[str]) -> None:
    """Raise `ScriptsNotSupported` where the order names a script and an agent of `hosts` doesn't know what that is."""
    if not order.pre_script and not order.post_script:
        return
    older = {}
    for host_id in hosts:
        agent = around.registry.known(cluster, host_id)
        if agent is not None and agent.report is not None and Kind.SCRIPT not in agent.report.features:
            older[agent.address] = agent.report.agent_version
    if older:
        told = ", ".join(f"{address} ({version})" for address, version in older.items())
        raise ScriptsNotSupported(f"The agents of these nodes can't run scripts: {told}", nodes=older)


async def run_scripts(
    fan_out: FanOut, order: BackupOrder, when: Literal["pre", "post"], hosts: Sequence[str]
) -> dict[str, Answered]:
    """Run the order's script on the nodes; their ends. Raises `RequestCancelled`."""
    phase, name = (PRE_SCRIPT, order.pre_script) if when == "pre" else (POST_SCRIPT, order.post_script)
    return await fan_out.ask(phase, Kind.SCRIPT, dict.fromkeys(hosts, ScriptArguments(name, order.tag, when)))


def with_failed_scripts(outcome: Outcome, failed: Errors) -> Outcome:
    """How a request ends whose script after the snapshot has failed: what was backed up is as good as without it, and
    is listed as it is; the request has not done all that it was asked for."""
    if not failed:
        return outcome
    error = nodes_failed(AFTER, failed)
    some = outcome.partial or any(status == "success" for status, _ in outcome.statuses.values())
    done = outcome.state is RequestState.SUCCESS
    return msgspec.structs.replace(
        outcome,
        state=RequestState.ERROR,
        message=error.message if done else f"{outcome.message}; {error.message}",
        partial=some,
        error=outcome.error or error.as_dict(),
        result={**outcome.result, "post_script": {address: dict(each) for address, each in failed.items()}},
        statuses={
            place: ("error", True) if status == "success" else (status, partly)
            for place, (status, partly) in outcome.statuses.items()
        },
    )
