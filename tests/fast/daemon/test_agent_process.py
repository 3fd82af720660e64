"""The agent as a process, without Cassandra: it starts, says so, serves, survives kill -9 and stops in order."""

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cluster import toml
from tests.cluster.canaries import marked
from tests.cluster.places import REPOSITORY
from tests.cluster.ports import free_port

TOKEN = marked("token-of-the-agent")


class Process:
    """An agent of its own configuration, with systemd's notify socket played by the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (directory / "root").mkdir()
        (directory / "token").touch(0o600)
        (directory / "token").write_text(TOKEN)
        self.tree: dict[str, Any] = {
            "state_directory": str(directory / "state"),
            "http": {"port": self.port, "token_file": str(directory / "token")},
            "cassandra": {"cql": {"port": free_port()}, "nodetool": {"command": ["true"]}},
            "destinations": {"local_roots": [str(directory / "root")]},
        }
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        (self.directory / "agent.toml").write_text(toml.dumps(self.tree))
        process = subprocess.Popen(
            [sys.executable, "-m", "agent.daemon.main", "--config", str(self.directory / "agent.toml"), *arguments],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self._running.append(process)
        return process

    def end(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.communicate()

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        token: str = TOKEN,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}", **(headers or {})}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, json=body, headers=headers) as answer,
        ):
            return answer.status, json.loads(await answer.text() or "null")


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    yield process
    process.end()


@pytest.fixture
async def notified(tmp_path: Path) -> AsyncIterator["Notified"]:
    channel = Notified(tmp_path / "notify")
    yield channel
    channel.close()


async def until(holds: Callable[[], bool]) -> None:
    """Look again and again, for half a minute."""
    for _ in range(600):
        if holds():
            return
        await asyncio.sleep(0.05)
    raise TimeoutError


class Notified:
    """What systemd is told, in order."""

    def __init__(self, path: Path) -> None:
        self.environment = {"NOTIFY_SOCKET": str(path)}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    async def until(self, wanted: bytes) -> list[bytes]:
        told: list[bytes] = []
        async with asyncio.timeout(30):
            while not told or told[-1] != wanted:
                told.append(await asyncio.get_running_loop().sock_recv(self._socket, 300))
        return told

    def close(self) -> None:
        self._socket.close()


async def test_it_serves_when_it_says_ready_and_stops_in_order(agent: Process, notified: Notified) -> None:
    """Promise: READY comes when it answers, Cassandra or not; SIGTERM ends it with 0, STOPPING told."""
    process = agent.start(environment=notified.environment)
    assert await notified.until(b"READY=1") == [b"READY=1"]
    assert (await agent.ask("GET", "/health"))[0] == 200
    status, report = await agent.ask("GET", "/v1/node")
    assert (status, report["node"], report["trouble"]["code"]) == (200, None, "cassandra_unavailable")
    process.send_signal(signal.SIGTERM)
    assert b"READY=1" not in await notified.until(b"STOPPING=1")
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    assert TOKEN not in log
    assert json.loads(log.splitlines()[-1])["event"] == "the agent has stopped"


async def test_web_pages_of_other_sites_are_kept_out(agent: Process, notified: Notified) -> None:
    """Promise: a page in a browser on the node can't drive its agent, also when the page's own name was made to point
    there (DNS rebinding) and the agent asks for no token."""
    foreign = [{"Origin": "http://evil.example"}, {"Origin": "null"}]
    rebound = [{"Host": "evil.example"}, {"Host": f"evil.example:{agent.port}", "Origin": "http://evil.example"}]
    for token, refused in ((TOKEN, foreign), ("", [*foreign, *rebound])):
        if not token:
            agent.tree["http"].pop("token_file")
        process = agent.start(environment=notified.environment)
        await notified.until(b"READY=1")
        for headers in refused:
            status, told = await agent.ask("GET", "/v1/destinations", token=token, headers=headers)
            assert (status, told["code"]) == (403, "foreign_origin"), headers
        for headers in ({}, {"Origin": agent.url}, {"Host": f"localhost:{agent.port}"}):
            assert (await agent.ask("GET", "/v1/destinations", token=token, headers=headers))[0] == 200
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


async def test_signs_of_life_come_while_it_runs(agent: Process, notified: Notified) -> None:
    """Promise: with a watchdog the agent tells it again and again that it lives."""
    agent.start(environment={**notified.environment, "WATCHDOG_USEC": "300000"})
    await notified.until(b"WATCHDOG=1")
    await notified.until(b"WATCHDOG=1")


async def test_what_the_watchdog_ends_says_where_it_stood(agent: Process, notified: Notified) -> None:
    """Promise: systemd ends an agent without signs of life by SIGABRT: its journal has where each thread was."""
    process = agent.start(environment=notified.environment)
    await notified.until(b"READY=1")
    process.send_signal(signal.SIGABRT)
    _, told = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == -signal.SIGABRT
    assert "(most recent call first)" in told
    assert "agent/daemon/main.py" in told
    assert TOKEN not in told


async def test_connections_beyond_the_limit_of_descriptors_end_nothing(agent: Process, notified: Notified) -> None:
    """Promise: with more connections than it has descriptors for the agent lives on, and answers when there are some
    again."""
    process = agent.start(environment=notified.environment)
    reading = asyncio.create_task(asyncio.to_thread(process.communicate))  # each try is logged: the pipe would fill up
    await notified.until(b"READY=1")
    descriptors = Path(f"/proc/{process.pid}/fd")
    most = len(list(descriptors.iterdir())) + 10
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (most, most))
    writers = []
    async with asyncio.timeout(60):
        for _ in range(40):
            _, writer = await asyncio.open_connection("127.0.0.1", agent.port)
            writers.append(writer)
        await until(lambda: len(list(descriptors.iterdir())) == most)
        for writer in writers:
            writer.close()
        status, _ = await agent.ask("GET", "/v1/commands")
        assert status == 200
        process.send_signal(signal.SIGTERM)
        _, told = await reading
    assert process.returncode == 0, told[-4_000:]


async def test_a_second_agent_of_the_same_state_is_refused_by_name(agent: Process, notified: Notified) -> None:
    """Promise: two agents never share a state directory; the second ends and names it."""
    agent.start(environment=notified.environment)
    await notified.until(b"READY=1")
    agent.tree["http"]["port"] = free_port()
    second = agent.start()
    _, log = second.communicate(timeout=30)
    assert second.returncode == 1
    assert str(agent.directory / "state") in log


async def test_identity_stays_and_the_instance_is_new_at_each_start(agent: Process, notified: Notified) -> None:
    """Promise: the agent's id outlives kill -9, and every start is another instance."""
    seen = []
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = agent.start(environment=notified.environment)
        await notified.until(b"READY=1")
        seen.append((await agent.ask("GET", "/v1/node"))[1])
        process.send_signal(number)
        process.communicate(timeout=30)
    assert seen[0]["agent_id"] == seen[1]["agent_id"]
    assert seen[0]["instance"] != seen[1]["instance"]


async def test_destinations_survive_kill_9_and_secrets_show_nowhere(agent: Process, notified: Notified) -> None:
    """Promise: settings that were answered outlive kill -9; a secret is in no answer and no log."""
    secret = "canary-access-secret"
    settings = {"provider": "s3", "path": "bucket", "access_key": "k", "access_secret": secret}
    process = agent.start(environment=notified.environment)
    await notified.until(b"READY=1")
    status, view = await agent.ask("PUT", "/v1/destinations/s", {"revision": 1, "settings": settings})
    assert (status, view["settings"]["access_secret"]) == (200, "********")
    process.kill()
    _, log = process.communicate(timeout=30)
    process = agent.start(environment=notified.environment)
    await notified.until(b"READY=1")
    status, again = await agent.ask("GET", "/v1/destinations/s")
    assert (status, again) == (200, view)
    status, error = await agent.ask("PUT", "/v1/destinations/s", {"revision": 0, "settings": settings})
    assert (status, error["code"]) == (409, "revision_too_old")
    status, _ = await agent.ask("DELETE", "/v1/destinations/s")
    assert status == 204
    process.send_signal(signal.SIGTERM)
    log += process.communicate(timeout=30)[1]
    assert secret not in log


async def test_only_the_token_opens_the_door(agent: Process, notified: Notified) -> None:
    """Promise: without the token nothing but health and the description is answered."""
    agent.start(environment=notified.environment)
    await notified.until(b"READY=1")
    for path in ("/v1/node", "/v1/commands", "/metrics"):
        status, error = await agent.ask("GET", path, token="wrong")
        assert (status, error["code"]) == (401, "unauthorized")


def test_a_wrong_configuration_ends_with_78_and_names_the_setting(agent: Process) -> None:
    """Promise: a wrong setting ends the agent with systemd's code for it and is named."""
    agent.tree["http"]["prot"] = 1
    process = agent.start("--check-config")
    _, log = process.communicate(timeout=30)
    assert process.returncode == 78
    assert "http.prot" in log


def test_a_jmx_password_file_that_is_not_there_is_told_by_the_check(agent: Process) -> None:
    """Promise: the check of the configuration looks for nodetool's password file too."""
    agent.tree["cassandra"]["nodetool"] |= {"username": "joe", "password_file": str(agent.directory / "nowhere")}
    process = agent.start("--check-config")
    _, log = process.communicate(timeout=30)
    assert process.returncode == 78
    assert "cassandra.nodetool.password_file" in log


@pytest.mark.parametrize(
    ("setting", "changes"),
    [
        ("state_directory", {"state_directory": "/etc/passwd"}),
        ("state_directory", {"state_directory": "/etc/passwd/agent"}),
        ("destinations.local_roots[0]", {"destinations": {"local_roots": ["/etc/passwd"]}}),
        ("cassandra.nodetool.command", {"cassandra": {"nodetool": {"command": ["/nowhere/nodetool"]}}}),
        ("cassandra.cql.tls.ca_file", {"cassandra": {"cql": {"tls": {"ca_file": "/nowhere/ca.pem"}}}}),
        ("cassandra.cql.tls.key_file", {"cassandra": {"cql": {"tls": {"key_file": "/nowhere/key.pem"}}}}),
        ("coordinators.main.token_file", {"coordinators": {"main": {"url": "http://h/", "token_file": "/nowhere/t"}}}),
        ("coordinators.main.ca_file", {"coordinators": {"main": {"url": "https://h/", "ca_file": "/nowhere/ca.pem"}}}),
    ],
)
def test_what_the_settings_name_and_is_not_there_is_told_by_the_check(
    agent: Process, setting: str, changes: dict[str, Any]
) -> None:
    """Promise: a program or file that isn't there is told with its setting before the agent runs, not at the first
    backup."""
    agent.tree = toml.merged(agent.tree, changes)
    process = agent.start("--check-config")
    _, log = process.communicate(timeout=30)
    assert process.returncode == 78
    assert setting in log


async def test_without_nodetool_it_serves_and_says_so(agent: Process, notified: Notified) -> None:
    """Promise: listing, fetching and clearing away need no nodetool, and it may be installed later: its absence ends no
    agent, and stands in the log from the first line on."""
    agent.tree["cassandra"]["nodetool"] = {"command": ["/nowhere/nodetool"]}
    process = agent.start(environment=notified.environment)
    await notified.until(b"READY=1")
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    told = [line for line in map(json.loads, log.splitlines()) if line.get("code") == "nodetool_missing"]
    assert [line["level"] for line in told] == ["warning"]
    assert "/nowhere/nodetool" in told[0]["message"]


def test_a_right_configuration_is_fine_and_nothing_is_started(agent: Process) -> None:
    """Promise: the check of the configuration makes no state."""
    process = agent.start("--check-config")
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "fine" in out
    assert not (agent.directory / "state").exists()


def test_no_sdk_is_loaded_before_a_destination_needs_it() -> None:
    """Promise: an agent without cloud destinations pays for no cloud SDK."""
    program = (
        "import sys, agent.daemon.main; print(sorted({'boto3', 'botocore', 'google', 'azure'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"
