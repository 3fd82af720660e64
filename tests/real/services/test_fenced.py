"""Under the unit's own restrictions (system calls, address families, no capabilities, file mode) nodetool's JVM runs;
the fence is real, as what it forbids shows. The agent itself behind the fence: `test_two_users.py`."""

import sys
from pathlib import Path

import pytest

from tests.cluster import fence
from tests.cluster.places import REPOSITORY
from tests.cluster.processes import ProcessError, run
from tests.real.services.conftest import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

FENCE = fence.command(REPOSITORY / "systemd" / "helenus-agent.service")


async def fenced(*command: str | Path) -> str:
    return await run([*FENCE, *command], env={"PYTHONPATH": str(REPOSITORY)})


async def test_nodetool_works_behind_the_fence(site: Site) -> None:
    """Its JVM compiles, makes threads and talks JMX: nothing of that is forbidden."""
    nodetool = site.node.launchers / "nodetool"
    port = str(site.node.spec.jmx_port)
    assert site.node.address in await fenced(nodetool, "-p", port, "status")
    await fenced(nodetool, "-p", port, "snapshot", "--tag", "fenced", site.keyspace)
    assert "fenced" in site.snapshots()
    await fenced(nodetool, "-p", port, "clearsnapshot", "-t", "fenced")
    assert site.snapshots() == set()


async def test_what_the_unit_forbids_is_refused() -> None:
    """The fence stands: no raw sockets, no mounts, no new namespaces, no capabilities."""
    for forbidden in (
        "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
        "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "import ctypes, os; l = ctypes.CDLL(None, use_errno=True); r = l.mount(b'x', b'/mnt', b'tmpfs', 0, None); "
        "assert r == 0, os.strerror(ctypes.get_errno())",
    ):
        with pytest.raises(ProcessError, match="not permitted"):
            await fenced(sys.executable, "-c", forbidden)
