"""Attack row A02 at the coordinator: names that lead elsewhere, at every place where a request has a name."""

import asyncio
import tempfile
import zoneinfo
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from tests.cluster.hostile_names import HOSTILE, MARK, in_path
from tests.cluster.touched import touched
from tests.fast.coordinator.access_site import BEARER, TAG, site

C = "/Test_Cluster"
LOCAL = {"provider": "local", "path": "nightly"}
SCHEDULE = {"first_run_date": "2017-03-18", "first_run_time": "00:00:00", "timezone": "UTC", "interval": 1}
SCHEDULE |= {"interval_unit": "days"}


def requests(name: str) -> list[tuple[str, str, Any]]:
    """Method, path and body of everything that takes a name."""
    there, at = in_path(name), f"{C}/backups"
    return [
        ("GET", f"/{there}/nodes", None),
        ("POST", f"/{there}/backups/run", {}),
        ("POST", f"{at}/run", {"keyspaces": [name]}),
        ("POST", f"{at}/run", {"keyspaces": {"shop": [name]}}),
        ("POST", f"{at}/run", {"destinations": {name: {}}}),
        ("POST", f"{at}/run", {"pre_snapshot_script": name}),
        ("POST", f"{at}/run", {"post_snapshot_script": name}),
        ("POST", f"{at}/run", {"backup_id": name}),
        ("POST", f"{at}/sync", {"tag": name, "destinations": ["x"]}),
        ("POST", f"{at}/sync", {"tag": TAG, "destinations": [name]}),
        ("POST", f"{at}/scrub", {"destination": name}),
        ("POST", f"{at}/restore/{there}", {}),
        ("POST", f"{at}/restore/{TAG}/{there}", {}),
        ("POST", f"{at}/restore/{TAG}/shop/{there}", {}),
        ("POST", f"{at}/restore/{TAG}", {"keyspaces": {name: {}}}),
        ("POST", f"{at}/restore/{TAG}", {"keyspaces": {"shop": {"column-families": [name]}}}),
        ("POST", f"{at}/restore/{TAG}", {"destination": name}),
        ("DELETE", f"{at}?tag={there}", None),
        ("DELETE", f"{at}?tag={TAG}&destination={there}", None),
        ("GET", f"{at}?destination={there}", None),
        ("GET", f"{at}/{there}", None),
        ("GET", f"{at}/graphs/{there}/x", None),
        ("GET", f"{at}/graphs/{TAG}/{there}", None),
        ("GET", f"{at}/destinations/{there}", None),
        ("DELETE", f"{at}/destinations/{there}", None),
        ("POST", f"{at}/destinations", {**LOCAL, "id": name}),
        ("POST", f"{at}/pit", {"destination": name}),
        ("GET", f"{C}/nodes/{there}", None),
        ("GET", f"{C}/nodes/all/{there}", None),
        ("GET", f"{C}/request/{there}/status", None),
        ("GET", f"/request/{there}/status", None),
        ("POST", f"/request/{there}/cancel", None),
        ("GET", f"{C}/job-schedules/{there}", None),
        ("PUT", f"{C}/job-schedules/{there}", SCHEDULE),
        ("DELETE", f"{C}/job-schedules/{there}", None),
        ("POST", f"{C}/job-schedules", {**SCHEDULE, "job_params": {"type": "backup", "keyspaces": [name]}}),
        ("POST", f"{C}/job-schedules", {**SCHEDULE, "timezone": name, "job_params": {"type": "backup"}}),
        ("GET", f"/users/{there}", None),
        ("POST", f"/users/{there}", {"password": "a long password of nobody", "role": "admin"}),
        ("PUT", f"/users/{there}", {"role": "admin"}),
        ("DELETE", f"/users/{there}", None),
    ]


async def refused(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        async with site(root) as served, aiohttp.ClientSession(headers=BEARER) as session:
            before = await served.state()
            with touched() as did:
                for name in names:
                    for method, path, body in requests(name):
                        async with session.request(method, URL(served.url + path, encoded=True), json=body) as answer:
                            assert answer.status in (400, 404), (method, path, body, await answer.text())
                            assert (await answer.json())["brief"] == "error"
            assert did.naming(MARK) == []
            assert did.programs() == []
            assert did.outside(root, *map(Path, zoneinfo.TZPATH)) == []
            assert await served.state() == before


@settings(max_examples=15)
@given(st.lists(HOSTILE, min_size=1, max_size=5, unique=True))
@example([".", "..", "\0", "/", "a/../../b"])
def test_no_name_leads_anywhere(names: list[str]) -> None:
    """Promise: cluster, tag, keyspace, table, destination, node, request, schedule, user, script: whatever is no name
    of its kind is 400 or 404, nothing was opened or started for it, no agent was told, and nothing has changed."""
    with structlog.testing.capture_logs():
        asyncio.run(refused(names))
