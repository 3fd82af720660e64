"""`make cluster` and `make cluster-down`: the demo's machines, left running until they are told to stop.

In: up or down. Out: running processes whose groups are in build/cluster/processes.json, so that `down` ends just those.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from tests.cluster.places import BUILD
from tests.cluster.processes import ProcessError
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
    """Start everything from nothing and print what can be tried; what was started is stopped again if that fails."""
    if living():
        sys.exit("the cluster is up already; make cluster-down ends it")
    if taken := Topology(DIRECTORY, s3=False).taken():  # before anything is removed: it may be a cluster of ours
        sys.exit(f"something else listens on {', '.join(taken)}: end it first")
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    topology = Topology(DIRECTORY, s3=False, outlives_us=True)
    print("starting three Cassandra nodes, three agents and a coordinator: half a minute", flush=True)
    try:
        await topology.start()
        children = [topology.coordinator.child, *(agent.child for agent in topology.agents)]
        children += [node.child for node in topology.cassandra.nodes]
        PROCESSES.write_text(json.dumps({str(child.pid): started_at(child.pid) for child in children}))
    except BaseException:
        await topology.stop()
        raise
    topology.cassandra.close_sessions()
    base = f"{topology.coordinator.url}/{CLUSTER}"
    token = f'-H "Authorization: Bearer $(cat {topology.coordinator.token_file})"'
    print(f"Cassandra    {' '.join(topology.cassandra.contact_points)} (port 9042)")
    print(f"agents       {' '.join(agent.url for agent in topology.agents)}")
    print(f"coordinator  {topology.coordinator.url}")
    print("\nWorth trying:")
    print(f"  curl {token} {base}/nodes")
    print(f'  curl {token} -X POST {base}/backups/run -d \'{{"keyspaces": ["system_auth"]}}\'')
    print(f"  curl {token} {base}/backups")
    print("\nmake cluster-down ends it; the next make cluster begins from nothing.")


def living() -> list[int]:
    """The processes that `up` left and that still run: a pid that was used again does not count."""
    if not PROCESSES.exists():
        return []
    processes = json.loads(PROCESSES.read_text())
    return [int(pid) for pid, began in processes.items() if began is not None and started_at(int(pid)) == began]


def down() -> None:
    """End the processes that `up` started, by their ids."""
    asked = living()
    for pid in asked:
        os.killpg(pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := living()) and time.monotonic() < deadline:
        time.sleep(0.2)
    for pid in left:
        os.killpg(pid, signal.SIGKILL)
    PROCESSES.unlink(missing_ok=True)
    print(f"stopped {len(asked)} processes" if asked else "no cluster is up")


def main() -> None:
    """What `make cluster` and `make cluster-down` call."""
    if sys.argv[1:] == ["up"]:
        try:
            asyncio.run(up())
        except* ProcessError as failed:
            reasons = "\n".join(str(error) for error in failed.exceptions)
            sys.exit(f"the cluster could not be started, and what was started is stopped again:\n{reasons}")
    elif sys.argv[1:] == ["down"]:
        down()
    else:
        sys.exit("usage: python -m tests.demo.playground up|down")


if __name__ == "__main__":
    main()
