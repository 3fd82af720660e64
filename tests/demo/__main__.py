"""`python -m tests.demo [--destination local|s3] [--rows N]`: exit 0 only if every row came back."""

import argparse
import asyncio
import shutil
import sys

from tests.cluster.places import BUILD
from tests.demo.screen import Screen
from tests.demo.story import tell
from tests.demo.topology import Topology

ROWS = 20_000


async def demonstrate(destination: str, rows: int) -> tuple[int, int]:
    """Start, tell, stop; the numbers of rows compared before the disaster and after the restore."""
    directory = BUILD / "demo"
    shutil.rmtree(directory, ignore_errors=True)
    screen = Screen()
    topology = Topology(directory, s3=destination == "s3")
    if taken := topology.taken():
        sys.exit(f"demo: something else listens on {', '.join(taken)} (make cluster-down ends the playground)")
    try:
        screen.step("starting three Cassandra nodes, an agent beside each, and a coordinator")
        await topology.start()
        screen.line(f"nodes {', '.join(topology.cassandra.contact_points)}, coordinator {topology.coordinator.url}")
        written, restored = await tell(topology, screen, rows)
        return written.rows, restored.rows
    finally:
        screen.step("stopping what was started")
        await topology.stop()


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--destination", choices=("local", "s3"), default="local")
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args()
    written, restored = asyncio.run(demonstrate(options.destination, options.rows))
    print(f"demo: {restored} of {written} rows restored")
    return 0 if restored == written else 1


if __name__ == "__main__":
    sys.exit(main())
