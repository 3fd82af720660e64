"""Toy agents of any checkout, as a process: `python toys.py CHECKOUT DIRECTORY`. They run that checkout's HTTP side,
runner, journal and event log. It prints their addresses as a line of JSON, and ends when its standard input does.

It is run by its path, so that whatever it imports is the checkout's."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

NODES = 2
TABLES = {"shop": ["orders", "users"]}


def features(tree: Path) -> list[str]:
    """What the checkout's real agents tell of: kinds of commands, and features that it names as constants."""
    import agent.wire.node as wire
    from agent.wire.commands import Kind

    source = (tree / "agent" / "daemon" / "node_report.py").read_text()
    named = [name for name in ("EVENTS_INTERVAL", "NODE_KNOWN") if name in source]
    return [*sorted(kind.value for kind in Kind), *(getattr(wire, name) for name in named)]


async def main(tree: Path, directory: Path) -> None:
    """Serve until standard input ends."""
    import msgspec

    from tests.cluster.toy_agent import ToyAgent
    from tests.cluster.toy_cluster import ToyCluster

    told = features(tree)

    class Toy(ToyAgent):
        async def report(self, **asked: Any) -> Any:
            return msgspec.structs.replace(await super().report(**asked), features=told)

    agents = [Toy(node, directory / f"agent{node.number}") for node in ToyCluster(NODES, TABLES).nodes]
    for agent in agents:
        await agent.start()
    sys.stdout.write(json.dumps([agent.url for agent in agents]) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    for agent in agents:
        await agent.stop()


if __name__ == "__main__":
    sys.path[0] = sys.argv[1]
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
