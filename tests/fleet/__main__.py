"""Simulated agents as a process: `python -m tests.fleet --agents 1000 --port 21000`. Prints one line once they listen,
and what they were asked when SIGTERM ends it. Every agent has an address of 127.0.0.0/8, all of them one port."""

import argparse
import asyncio
import json
import signal

from agent.wire.node import EVENTS_INTERVAL, NODE_KNOWN
from tests.fleet.frozen import Frozen
from tests.fleet.node import Pace
from tests.fleet.server import Fleet


async def serve(options: argparse.Namespace) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    features = () if options.old else (EVENTS_INTERVAL, NODE_KNOWN)
    frozen = Frozen(options.agents, options.tables, options.network, options.port, features)
    async with Fleet(frozen, options.port, Pace(upload=options.seconds), options.backups) as fleet:
        print("listening", flush=True)
        await stop.wait()
        print(json.dumps({"asked": fleet.asked, "told": fleet.told}), flush=True)


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--network", type=int, default=77, help="the agents' addresses begin with 127.<network>")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long a copy takes")
    parser.add_argument("--backups", type=int, default=0, help="how many backups the store lists at first")
    parser.add_argument("--old", action="store_true", help="agents of a release without intervals and shapes")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
