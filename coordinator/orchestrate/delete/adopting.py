"""Has the part of nodes that left the ring swept by the agents of others. In: the nodes, the hosts whose agents answer,
and a fan-out. Out: what each adoption came to.
"""

from collections.abc import Sequence

import msgspec

from agent.wire.commands import Kind, SweepArguments
from coordinator.model.cluster import MissingNode
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.delete.adoption import ADOPT, adopters
from coordinator.orchestrate.fan_out import FanOut


async def adopt(
    fan_out: FanOut, gone: Sequence[MissingNode], hosts: Sequence[str], sweep: SweepArguments
) -> list[tuple[MissingNode, Answered]]:
    """Have every node that left swept by another one's agent, as `sweep` says. Raises what `FanOut.ask` raises; what an
    agent answers instead of doing it is in its answer."""
    ends = []
    for number, taken in enumerate(adopters(gone, hosts), 1):
        phase = ADOPT if number == 1 else f"{ADOPT}-{number}"
        orders = {host: msgspec.structs.replace(sweep, adopt=node.host_id) for host, node in taken.items()}
        answers = await fan_out.ask(phase, Kind.SWEEP, orders)
        ends += [(node, answers[host]) for host, node in taken.items()]
    return ends
