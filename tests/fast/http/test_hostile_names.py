"""Attack row A02 at the agent: names that lead elsewhere, at every place where a request has a name."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from tests.cluster.hostile_names import HOSTILE, MARK, in_path
from tests.cluster.touched import touched
from tests.fast.commands.tiny_agent import HOST_ID, everything, quick
from tests.fast.http.served import TOKEN, served

TARGET = {"destination": "d1", "repository_id": "r1", "cluster_id": "c1"}
RESTORE: dict[str, Any] = {"tag": "t", "source": None, "source_host_id": HOST_ID, "tables": {"shop": []}}


def orders(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Commands with the name in each place that takes one: kind, arguments."""
    return [
        ("snapshot", {"tag": name}),
        ("snapshot", {"tag": "t", "keyspaces": {name: []}}),
        ("snapshot", {"tag": "t", "keyspaces": {"shop": [name]}}),
        ("snapshot", {"tag": "t", "exclude_keyspaces": [name]}),
        ("script", {"tag": "t", "name": name, "when": "pre"}),
        ("script", {"tag": name, "name": "hook", "when": "pre"}),
        ("delete", {"tag": name, "target": None}),
        ("delete", {"tag": "t", "target": {**TARGET, "destination": name}}),
        ("delete", {"tag": "t", "target": {**TARGET, "repository_id": name}}),
        ("delete", {"tag": "t", "target": {**TARGET, "cluster_id": name}}),
        ("sweep", {"target": TARGET, "adopt": name}),
        ("sweep", {"target": TARGET, "as_deleted": [name]}),
        ("preflight", {**RESTORE, "tag": name}),
        ("preflight", {**RESTORE, "source_host_id": name}),
        ("preflight", {**RESTORE, "tables": {name: []}}),
        ("preflight", {**RESTORE, "tables": {"shop": [name]}}),
    ]


def requests(name: str) -> list[tuple[str, str, Any]]:
    """Method, path and body of everything that takes a name."""
    there, put = in_path(name), {"revision": 1, "settings": {"provider": "local", "path": "/b"}}
    found: list[tuple[str, str, Any]] = [
        ("GET", f"/v1/commands/{there}", None),
        ("DELETE", f"/v1/commands/{there}", None),
        ("GET", f"/v1/commands?job={there}", None),
        ("GET", f"/v1/backups/{there}", None),
        ("GET", f"/v1/backups?destination={there}", None),
        ("PUT", f"/v1/backups/{there}/plan", {}),
        ("PUT", f"/v1/backups/{there}/record", {}),
        ("GET", f"/v1/destinations/{there}", None),
        ("PUT", f"/v1/destinations/{there}", put),
        ("DELETE", f"/v1/destinations/{there}", None),
        ("POST", f"/v1/destinations/{there}/check", {}),
        ("POST", f"/v1/destinations/{there}/keys", {"change": "remove_superseded"}),
        ("PATCH", "/v1/throttle", {"destinations": {name: 1}}),
        ("GET", f"/v1/jobs/{there}", None),
        ("PUT", f"/v1/jobs/{there}", {}),
    ]
    whole = {"id": "a", "kind": "delete", "arguments": {"tag": "t", "target": None}}
    found += [("POST", "/v1/commands", {**whole, field: name}) for field in ("id", "job", "phase", "report_to")]
    return found + [("POST", "/v1/commands", {**whole, "kind": kind, "arguments": what}) for kind, what in orders(name)]


async def refused(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        async with served(root, everything(quick)) as agent, aiohttp.ClientSession(headers=headers) as session:
            with touched() as did:
                for name in names:
                    for method, path, body in requests(name):
                        url = URL(agent.client.url + path, encoded=True)
                        async with session.request(method, url, json=body) as answer:
                            assert answer.status in (400, 404), (method, path, body, await answer.text())
                            assert (await answer.json())["code"] in ("invalid_name", "invalid_input", "not_found")
            assert did.naming(MARK) == []
            assert did.programs() == []
            assert did.outside(root) == []
            assert (await agent.client.get("/v1/commands")).json == []
            assert (await agent.client.get("/v1/destinations")).json == []


@settings(max_examples=15)
@given(st.lists(HOSTILE, min_size=1, max_size=6, unique=True))
@example([".", "..", "\0", "/", "a/../../b"])
def test_no_name_leads_anywhere(names: list[str]) -> None:
    """Promise: tag, keyspace, table, ids of destination, repository, cluster, node, command and job, script,
    coordinator: whatever is no name of its kind is 400 or 404, and nothing was opened, started or kept for it."""
    with structlog.testing.capture_logs():
        asyncio.run(refused(names))
