"""Has the part of nodes that left the ring swept, scrubbed or trimmed by the agents of others. In: the nodes, the hosts
whose agents answer, and a fan-out. Out: what each adoption came to.
"""

from collections.abc import Sequence

import msgspec

from agent.wire.archiving import TrimLogsArguments
from agent.wire.commands import Kind, ScrubArguments, SweepArguments
from coordinator.model.cluster import NamedNode
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.delete.adoption import ADOPT, adopters
from coordinator.orchestrate.fan_out import FanOut


async def adopt(
    fan_out: FanOut, gone: Sequence[NamedNode], hosts: Sequence[str], sweep: SweepArguments
) -> list[tuple[NamedNode, Answered]]:
    """Have every node that left swept by another one's agent, as `sweep` says. Raises what `FanOut.ask` raises; what an
    agent answers instead of doing it is in its answer."""
    ends = []
    for number, taken in enumerate(adopters(gone, hosts), 1):
        phase = ADOPT if number == 1 else f"{ADOPT}-{number}"
        orders = {host: msgspec.structs.replace(sweep, adopt=node.host_id) for host, node in taken.items()}
        answers = await fan_out.ask(phase, Kind.SWEEP, orders)
        ends += [(node, answers[host]) for host, node in taken.items()]
    return ends


async def for_others(
    fan_out: FanOut,
    phase: str,
    kind: Kind,
    gone: Sequence[NamedNode],
    hosts: Sequence[str],
    arguments: ScrubArguments | TrimLogsArguments,
) -> list[Answered]:
    """Have the same done for every node that left, in rounds `<phase>-1` and so on; the answers as if they came from
    those nodes. Raises what `FanOut.ask` raises."""
    answers = []
    for number, taken in enumerate(adopters(gone, hosts), 1):
        orders = {host: msgspec.structs.replace(arguments, adopt=node.host_id) for host, node in taken.items()}
        found = await fan_out.ask(f"{phase}-{number}", kind, orders)
        answers += [
            msgspec.structs.replace(found[host], host_id=node.host_id, address=node.address or node.host_id)
            for host, node in taken.items()
        ]
    return answers
