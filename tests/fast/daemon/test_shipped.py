"""What is shipped fits together: the units, conf/*.toml and the programs that the package installs. Both services are
started as their units start them, with the credentials of those names."""

import asyncio
import contextlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cluster import toml
from tests.cluster.fence import settings_of
from tests.cluster.fence_mounts import writable_paths
from tests.cluster.places import REPOSITORY
from tests.cluster.ports import free_port

AGENT, COORDINATOR = "helenus-agent", "helenus-coordinator"
FILES = {AGENT: "agent.toml", COORDINATOR: "coordinator.toml"}
SCRIPTS: dict[str, str] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
DEADLINE = 60.0


def unit(service: str) -> dict[str, list[str]]:
    return settings_of(REPOSITORY / "systemd" / f"{service}.service")


def conf(service: str) -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "conf" / FILES[service]).read_text())


def credentials(service: str) -> dict[str, str]:
    """Name → file, of those that the unit loads."""
    return dict(line.split(":") for line in unit(service)["LoadCredential"])


def texts(tree: object) -> Iterator[str]:
    """Every text of a configuration."""
    if isinstance(tree, dict | list):
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from texts(value)
    elif isinstance(tree, str):
        yield tree


@pytest.mark.parametrize("service", FILES)
def test_a_unit_starts_an_installed_program_with_the_file_that_the_readme_installs(service: str) -> None:
    """Promise: following the README gives what the unit starts."""
    (line,) = unit(service)["ExecStart"]
    assert line == f"/opt/helenus/bin/{service} --config /etc/helenus/{FILES[service]}"
    assert service in SCRIPTS
    readme = (REPOSITORY / "README.md").read_text()
    assert "python3 -m venv /opt/helenus" in readme
    assert f"conf/{FILES[service]}" in readme
    assert f"systemd/{service}.service" in readme


def test_each_service_may_read_the_file_that_the_readme_installs() -> None:
    """Promise: the agent runs as Cassandra's user, whose group its file has; the coordinator as one that systemd makes,
    which is in no group."""
    readme = (REPOSITORY / "README.md").read_text()
    assert unit(AGENT)["Group"] == ["cassandra"]
    assert "install -D -m 640 -g cassandra conf/agent.toml /etc/helenus/agent.toml" in readme
    assert unit(COORDINATOR)["DynamicUser"] == ["true"]
    assert "install -D -m 644 conf/coordinator.toml /etc/helenus/coordinator.toml" in readme


@pytest.mark.parametrize("service", FILES)
def test_the_state_directory_is_the_one_that_systemd_makes(service: str) -> None:
    """Promise: the service may write where its file says that its state is."""
    (name,) = unit(service)["StateDirectory"]
    assert conf(service)["state_directory"] == f"/var/lib/{name}"


@pytest.mark.parametrize("service", FILES)
def test_the_credentials_are_those_that_the_file_names(service: str) -> None:
    """Promise: the unit loads each credential that the file asks for, from where the README puts it."""
    named = {text.removeprefix("credential:") for text in texts(conf(service)) if text.startswith("credential:")}
    assert set(credentials(service)) == named
    readme = (REPOSITORY / "README.md").read_text()
    for place in credentials(service).values():
        assert place in readme


def test_the_unit_lets_the_agent_write_the_roots_that_the_file_allows() -> None:
    """Promise: a local destination works as shipped."""
    writable = [Path(path) for path in writable_paths(unit(AGENT))]
    for root in conf(AGENT)["destinations"]["local_roots"]:
        assert any(Path(root).is_relative_to(path) for path in writable), root
        assert f"install -d -m 750 -o cassandra -g cassandra {root} " in (REPOSITORY / "README.md").read_text()


class Shipped:
    """A service with its shipped configuration, of which only places and ports are of this test."""

    def __init__(self, service: str, directory: Path, secrets: dict[str, str], **changes: Any) -> None:
        self.service = service
        self.directory = directory
        self.port = free_port()
        tree = toml.merged(conf(service), {"state_directory": str(directory / "state"), "http": {"port": self.port}})
        (directory / FILES[service]).write_text(toml.dumps(toml.merged(tree, changes)))
        given = directory / "credentials"
        given.mkdir()
        for name in credentials(service):
            (given / name).touch(0o400)
            (given / name).write_text(secrets[name] + "\n")
        self.environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(given)}

    @property
    def argv(self) -> list[str]:
        """As the script that pip makes, and the unit's argument."""
        module, _, function = SCRIPTS[self.service].partition(":")
        script = f"import sys; from {module} import {function}; sys.exit({function}())"
        return [sys.executable, "-c", script, "--config", str(self.directory / FILES[self.service])]

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        with (self.directory / "log").open("wb") as log:
            process = subprocess.Popen(self.argv, cwd=REPOSITORY, stderr=log, env=self.environment)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    async def ask(self, path: str, token: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.port}{path}", headers=headers) as answer,
        ):
            return answer.status, await answer.json(content_type=None)

    async def ready(self, process: subprocess.Popen[bytes]) -> None:
        async with asyncio.timeout(DEADLINE):
            while True:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    if (await self.ask("/health", ""))[0] == 200:
                        return
                assert process.poll() is None, (self.directory / "log").read_text()
                await asyncio.sleep(0.05)


async def test_both_start_with_their_shipped_files_and_the_credentials_of_the_units(tmp_path: Path) -> None:
    """The agent asks for agent-token, the coordinator for coordinator-token, and shows the agent agent-token."""
    secrets = {"agent-token": "token-of-the-agents", "coordinator-token": "token-of-the-coordinator"}
    for name in FILES:
        (tmp_path / name).mkdir()
    nothing = {"cassandra": {"cql": {"port": free_port()}}}
    agent = Shipped(AGENT, tmp_path / AGENT, secrets, **nothing)
    clusters = {"main": {"agents": [f"http://127.0.0.1:{agent.port}"]}}
    coordinator = Shipped(COORDINATOR, tmp_path / COORDINATOR, secrets, clusters=clusters)
    with agent.running() as first, coordinator.running() as second:
        await agent.ready(first)
        await coordinator.ready(second)
        for service, own, path in (
            (agent, "agent-token", "/v1/destinations"),
            (coordinator, "coordinator-token", "/cluster-configs"),
        ):
            assert (await service.ask(path, secrets[own]))[0] == 200
            for other in {*secrets.values(), ""} - {secrets[own]}:
                assert (await service.ask(path, other))[0] == 401
        status, nodes = await coordinator.ask("/main/nodes", secrets["coordinator-token"])
        assert (status, nodes[0]["agent"]["up"]) == (200, True)
        assert nodes[0]["trouble"]["code"] == "cassandra_unavailable"  # what the agent says, who let it in
    for service in (agent, coordinator):
        log = (service.directory / "log").read_text()
        assert not any(secret in log for secret in secrets.values())


@pytest.mark.parametrize("service", FILES)
def test_without_its_credentials_a_service_says_what_is_missing(service: str, tmp_path: Path) -> None:
    """Promise: a service that was started without systemd's credentials names them."""
    shipped = Shipped(service, tmp_path, dict.fromkeys(credentials(service), "x"))
    del shipped.environment["CREDENTIALS_DIRECTORY"]
    ended = subprocess.run(
        [*shipped.argv, "--check-config"],
        cwd=REPOSITORY,
        env=shipped.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert ended.returncode != 0
    assert "http.token_file" in ended.stderr
    assert "given no credentials by systemd" in ended.stderr
