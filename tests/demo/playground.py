"""`make cluster` and `make cluster-down`: the demo's machines, left running until they are told to stop.

In: up or down. Out: running processes whose groups are in build/cluster/processes.json, so that `down` ends just those.
"""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

from tests.cluster.places import BUILD
from tests.demo.topology import CLUSTER, Topology

DIRECTORY = BUILD / "cluster"
PROCESSES = DIRECTORY / "processes.json"
GRACE_SECONDS = 60


def started_at(pid: int) -> str | None:
    """When the process began (clock ticks since boot), which tells a reused pid apart; None when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


async def up() -> None:
    """Start everything and print what can be tried."""
    if PROCESSES.exists():
        down()
    topology = Topology(DIRECTORY, s3=False, outlives_us=True)
    await topology.start()
    children = [topology.coordinator.child, *(agent.child for agent in topology.agents)]
    children += [node.child for node in topology.cassandra.nodes]
    PROCESSES.write_text(json.dumps({str(child.pid): started_at(child.pid) for child in children}))
    topology.cassandra.close_sessions()
    base = f"{topology.coordinator.url}/{CLUSTER}"
    token = f'-H "Authorization: Bearer $(cat {topology.coordinator.token_file.relative_to(BUILD.parent)})"'
    print(f"Cassandra    {' '.join(topology.cassandra.contact_points)} (port 9042)")
    print(f"agents       {' '.join(agent.url for agent in topology.agents)}")
    print(f"coordinator  {topology.coordinator.url}")
    print("\nWorth trying:")
    print(f"  curl {token} {base}/nodes")
    print(f'  curl {token} -X POST {base}/backups/run -d \'{{"keyspaces": ["system_auth"]}}\'')
    print(f"  curl {token} {base}/backups")
    print("\nmake cluster-down ends it.")


def down() -> None:
    """End the processes that `up` started, by their ids, the coordinator first."""
    if not PROCESSES.exists():
        print("no cluster is up")
        return
    processes = {int(pid): began for pid, began in json.loads(PROCESSES.read_text()).items()}
    living = [pid for pid, began in processes.items() if began is not None and started_at(pid) == began]
    for pid in living:
        os.killpg(pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := [pid for pid in living if started_at(pid) == processes[pid]]) and time.monotonic() < deadline:
        time.sleep(0.2)
    for pid in left:
        os.killpg(pid, signal.SIGKILL)
    PROCESSES.unlink()
    print(f"stopped {len(living)} processes; their data stays in {DIRECTORY.relative_to(BUILD.parent)}")


if __name__ == "__main__":
    if sys.argv[1:] == ["up"]:
        asyncio.run(up())
    elif sys.argv[1:] == ["down"]:
        down()
    else:
        sys.exit("usage: python -m tests.demo.playground up|down")
