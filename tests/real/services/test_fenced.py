"""Under the unit's own restrictions (system calls, address families, no capabilities, file mode) the agent does its
work and nodetool's JVM runs; the fence is real, as what it forbids shows."""

import sys
from pathlib import Path

import pytest

from tests.cluster.places import REPOSITORY
from tests.cluster.processes import ProcessError, run
from tests.cluster.services import AgentProcess
from tests.real.services.conftest import QUICK, Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNIT = REPOSITORY / "systemd" / "helenus-agent.service"
FENCE = [sys.executable, "-m", "tests.cluster.fence", str(UNIT)]


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


async def test_what_the_unit_forbids_is_refused(site: Site) -> None:
    """The fence stands: no raw sockets, no mounts, no new namespaces, no capabilities."""
    for forbidden in (
        "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
        "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "import ctypes, os; l = ctypes.CDLL(None, use_errno=True); r = l.mount(b'x', b'/mnt', b'tmpfs', 0, None); "
        "assert r == 0, os.strerror(ctypes.get_errno())",
    ):
        with pytest.raises(ProcessError, match="not permitted"):
            await fenced(sys.executable, "-c", forbidden)


async def test_the_agent_backs_up_and_frees_behind_the_fence(site: Site, tmp_path: Path) -> None:
    """A whole backup with the agent itself behind the fence, S3's SDK loaded as well."""
    agent = AgentProcess(site.node, tmp_path / "agent", changes=QUICK, prefix=FENCE)
    await agent.start()
    try:
        settings = {"provider": "local", "path": "fenced"}
        await agent.ask("PUT", "/v1/destinations/fenced", {"revision": 1, "settings": settings})
        check = {"initialise": True, "cluster_name": "one_50"}
        report = await agent.ask("POST", "/v1/destinations/fenced/check", check)
        assert report["ok"], report
        target = {
            "destination": "fenced",
            "repository_id": report["repository_id"],
            "cluster_id": report["cluster_id"],
        }
        s3 = {"provider": "s3", "path": "bucket", "access_key": "a", "access_secret": "b"}
        await agent.ask("PUT", "/v1/destinations/s3", {"revision": 1, "settings": s3})
        result = await agent.do("backup", site.backup_arguments(target, "behind-the-fence"))
        assert result["targets"]["fenced"]["outcome"] == "success"
        assert result["snapshot_cleared"]
        await agent.do("delete", {"tag": "behind-the-fence", "target": target})
        freed = await agent.do("sweep", {"target": target})
        assert freed["bytes_freed"] > 0
    finally:
        await agent.stop()
