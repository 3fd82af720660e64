"""`python -m tests.demo [--destination local|s3|gcs|azure] [--rows N]`: exit 0 only if every row came back."""

import argparse
import asyncio
import shutil
import sys

from tests.cluster.comparison import Comparison, RowsDiffer
from tests.cluster.opscenter import RequestFailed
from tests.cluster.places import BUILD
from tests.cluster.processes import ProcessError
from tests.demo.interrupt import ends_on_signals
from tests.demo.screen import Screen
from tests.demo.story import tell
from tests.demo.topology import STORES, Topology

ROWS = 20_000
GRACE_SECONDS = 10.0


async def demonstrate(topology: Topology, screen: Screen, rows: int) -> tuple[Comparison, Comparison]:
    """Start, tell; what was compared before the disaster and after the restore."""
    screen.step("starting three Cassandra nodes, an agent beside each, and a coordinator")
    await topology.start(screen.line)
    return await tell(topology, screen, rows)


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--destination", choices=("local", *STORES), default="local")
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args()
    directory = BUILD / "demo"
    shutil.rmtree(directory, ignore_errors=True)
    screen = Screen()
    topology = Topology(directory, destination=options.destination)
    if taken := topology.taken():
        sys.exit(f"demo: something else listens on {', '.join(taken)} (make cluster-down ends the playground)")
    ends_on_signals(topology)
    try:
        written, restored = asyncio.run(demonstrate(topology, screen, options.rows))
    except* ProcessError as failed:
        reasons = "\n".join(str(error) for error in failed.exceptions)
        sys.exit(f"demo: what it needs could not be started:\n{reasons}")
    except* (RowsDiffer, RequestFailed) as failed:
        sys.exit("\n".join(f"demo: failed: {error}" for error in failed.exceptions))
    finally:
        screen.step(f"stopping what was started (data and logs stay in {directory})")
        topology.end(GRACE_SECONDS)
    print(f"demo: {restored.at_quorum} of {written.at_quorum} rows restored")
    return 0 if restored == written else 1


if __name__ == "__main__":
    sys.exit(main())
