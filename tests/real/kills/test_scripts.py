"""Scripts before and after the snapshot of a real node: what they are told, and the agent killed under them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.cluster.crash_site import TERMINAL_SECONDS, CrashSite
from tests.cluster.moments import SCRIPT
from tests.cluster.scratch import ScratchCluster

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANARY = "canary-7be19d03"
TEXT = """#!/bin/sh
cd {notes}
env | sort > $HELENUS_WHEN.environment
cat > $HELENUS_WHEN.told
find {data} -path "*/snapshots/$HELENUS_TAG/*" -type f | sort > $HELENUS_WHEN.there
echo $HELENUS_TAG >> $HELENUS_WHEN.runs
echo said $HELENUS_WHEN
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(one_node_50: ScratchCluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CrashSite]:
    """An agent with a script directory and a secret in its environment."""
    directory = tmp_path_factory.mktemp("scripts")
    place = directory / "scripts"
    place.mkdir(mode=0o755)
    site = CrashSite(directory, one_node_50)
    site.agent.changes["scripts"] = {"directory": str(place)}
    site.agent.environment = {"CANARY": CANARY, "AWS_SECRET_ACCESS_KEY": CANARY}
    data = " ".join(str(path) for path in site.node.data_directories)
    (place / "note.sh").write_text(TEXT.format(notes=directory, data=data))
    (place / "note.sh").chmod(0o755)
    async with site:
        yield site


@pytest.fixture
def notes(site: CrashSite) -> Path:
    """Where the scripts write."""
    return site.agent.directory.parent


def runs(notes: Path, when: str, tag: str) -> int:
    """How often the script ran for the backup."""
    path = notes / f"{when}.runs"
    return path.read_text().split().count(tag) if path.exists() else 0


async def test_the_scripts_of_a_backup_see_its_snapshot_come(site: CrashSite, notes: Path) -> None:
    """Promise: before it there is no file of it and nothing on stdin; after it stdin names exactly the files that are
    there; neither is told a secret; what they said is in the agent's results."""
    request = await site.start_backup(pre_snapshot_script="note.sh", post_snapshot_script="note.sh")
    status = await site.succeeded(request)
    tag = str(status["tag"])
    assert (runs(notes, "pre", tag), runs(notes, "post", tag)) == (1, 1)
    assert (notes / "pre.told").read_text() == (notes / "pre.there").read_text() == ""
    told = (notes / "post.told").read_text().splitlines()
    assert sorted(told) == (notes / "post.there").read_text().splitlines()
    assert len(told) > 20
    assert {Path(path).name.rpartition("-")[2] for path in told} >= {"Data.db", "TOC.txt"}
    for when in ("pre", "post"):
        environment = (notes / f"{when}.environment").read_text()
        assert f"HELENUS_TAG={tag}\nHELENUS_WHEN={when}\n" in environment
        assert CANARY not in environment
        assert site.agent.token not in environment
    results = [one["result"] for one in await site.commands(kind="script")]
    assert results == [
        {"script": "note.sh", "files": 0, "output": "said pre"},
        {"script": "note.sh", "files": len(told), "output": "said post"},
    ]
    site.oracle.expect(tag, [part["host_id"] for part in status["details"]["subrequests"].values()])
    await site.all_is_well(rows=False)


@pytest.mark.parametrize(
    ("when", "moment"), [*(("pre", moment) for moment in SCRIPT[:3]), *(("post", moment) for moment in SCRIPT[1:])]
)
async def test_a_script_is_run_once_at_most_when_its_agent_is_killed(
    site: CrashSite, notes: Path, when: str, moment: str
) -> None:
    """Promise: one that had not begun runs then; one that had is told as failed and not begun again, whether it ran or
    not; one that was through is through. The backup is what the rules make of it, and nothing is left on the node."""
    await site.arm_agent(moment)
    request = await site.start_backup(**{f"{when}_snapshot_script": "note.sh"})
    await site.die([])
    status: dict[str, Any] = await site.follow(request, TERMINAL_SECONDS)
    tag = str(status["tag"])
    listed = await site.ask("GET", f"/backups?destination={site.place}&list_all=1")
    if moment in ("script:accepted", "script:success"):
        assert status["state"] == "success", status
        assert runs(notes, when, tag) == 1
    else:
        assert runs(notes, when, tag) == (1 if moment == "script:success:before" else 0)
        assert (status["state"], status.get("partial", False)) == ("error", when == "post"), status
        assert "the agent ended while script was running" in status["details"]["message"]
    whole = status["state"] == "success" or when == "post"
    assert listed[tag]["status"] == ("success" if whole else "failed")
    (script,) = await site.commands(kind="script", phase=f"{when}_script", id=await _command(site, status, when))
    assert script["state"] == ("success" if status["state"] == "success" else "interrupted")
    await site.all_is_well(rows=False)


async def _command(site: CrashSite, status: dict[str, Any], when: str) -> str:
    """The one script command that the agent has of the request."""
    found = await site.commands(kind="script", phase=f"{when}_script")
    since = [one["id"] for one in found if one["accepted"] >= status["started"]]
    assert len(since) == 1, found
    return str(since[0])
