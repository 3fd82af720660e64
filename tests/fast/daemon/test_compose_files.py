"""conf/compose is a whole: mounted files are there and parse, names, ports and secrets agree, TLS material works."""

import os
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import yaml

from agent.daemon.settings import AgentSettings, check
from coordinator.model.settings import CoordinatorSettings
from kit.config import load
from kit.http_settings import HttpSettings, access_of
from tests.cluster.scratch import TOKENS_PER_NODE
from tests.demo import topology as playground

DIRECTORY = Path(__file__).resolve().parents[3] / "conf" / "compose"
NODES = ("1", "2", "3")
SECRETS = "/run/helenus"

Topology = dict[str, Any]


@pytest.fixture
def topology() -> Topology:
    found: Topology = yaml.safe_load((DIRECTORY / "compose.yaml").read_text())
    return found


@pytest.fixture
def agent() -> AgentSettings:
    return load(DIRECTORY / "agent.toml", AgentSettings)


@pytest.fixture
def coordinator() -> CoordinatorSettings:
    return load(DIRECTORY / "coordinator.toml", CoordinatorSettings)


def make_secrets(directory: Path, owner: int, *volumes: Path) -> None:
    """Run the init service's script."""
    shell = shutil.which("sh")
    assert shell
    command = [shell, str(DIRECTORY / "make-secrets.sh"), str(directory), str(owner), *map(str, volumes)]
    subprocess.run(command, check=True, timeout=60)


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """What the init service makes, made by its own script."""
    directory = tmp_path / "secrets"
    make_secrets(directory, os.getuid())
    return directory


def mounts(service: Any) -> dict[str, str]:
    """Target → source."""
    return {entry.split(":")[1]: entry.split(":")[0] for entry in service.get("volumes", [])}


def test_three_nodes_with_an_agent_each_a_coordinator_and_a_store(topology: Topology) -> None:
    """Promise: the composition has every part of the picture and no other."""
    wanted = {f"{kind}-{number}" for kind in ("cassandra", "agent") for number in NODES}
    assert set(topology["services"]) == wanted | {"coordinator", "seaweedfs", "init"}


def test_it_is_the_topology_of_the_playground(topology: Topology, coordinator: CoordinatorSettings) -> None:
    """`make cluster` starts the same: as many nodes, the same cluster's name, racks and tokens."""
    common = topology["x-cassandra"]["environment"]
    assert len(NODES) == playground.NODES
    assert common["CASSANDRA_CLUSTER_NAME"] == playground.CLUSTER
    assert list(coordinator.clusters) == [playground.CLUSTER]
    assert common["CASSANDRA_NUM_TOKENS"] == str(TOKENS_PER_NODE)
    assert (common["CASSANDRA_DC"], common["CASSANDRA_RACK"]) == ("dc1", "rack1")


def test_an_agent_shares_its_nodes_network_and_files_and_has_state_of_its_own(
    topology: Topology, agent: AgentSettings
) -> None:
    """Promise: an agent sees its own node's files and loopback, and no other agent's state."""
    check(agent)
    states = set()
    for number in NODES:
        service, node = topology["services"][f"agent-{number}"], topology["services"][f"cassandra-{number}"]
        assert service["network_mode"] == f"service:cassandra-{number}"
        assert mounts(service)["/var/lib/cassandra"] == mounts(node)["/var/lib/cassandra"]
        assert all(path.startswith("/var/lib/cassandra/") for path in agent.cassandra.data_directories)
        states.add(mounts(service)[agent.state_directory])
        assert mounts(service)[agent.destinations.local_roots[0]] == f"backups-{number}"
    assert len(states) == len(NODES)


def test_every_mounted_file_is_there_and_every_volume_declared(topology: Topology) -> None:
    """Promise: nothing is mounted that isn't in the directory or declared."""
    for name, service in topology["services"].items():
        for target, source in mounts(service).items():
            if source.startswith("."):
                assert (DIRECTORY / source).is_file(), (name, target)
            else:
                assert source in topology["volumes"], (name, source)


def test_everybody_waits_for_what_he_needs(topology: Topology) -> None:
    """Promise: nothing starts before what it depends on is healthy, or its secrets made."""
    services = topology["services"]
    for name, service in services.items():
        for other, condition in service.get("depends_on", {}).items():
            assert other in services
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in services[other], (name, other)
        if SECRETS in mounts(service) and name != "init":
            assert service["depends_on"]["init"] == {"condition": "service_completed_successfully"}


def test_the_coordinator_asks_the_agents_where_they_listen(
    topology: Topology, agent: AgentSettings, coordinator: CoordinatorSettings
) -> None:
    """Promise: names, ports, scheme and token agree between coordinator, agents and nodes."""
    (cluster,) = coordinator.clusters.values()
    asked = [urlsplit(url) for url in cluster.agents]
    assert {url.hostname for url in asked} == {f"cassandra-{number}" for number in NODES}
    assert {url.port for url in asked} == {agent.http.port}
    assert {url.scheme for url in asked} == {"https"}
    assert cluster.token_file == agent.http.token_file
    published = topology["services"]["coordinator"]["ports"]
    assert published == [f"127.0.0.1:{coordinator.http.port}:{coordinator.http.port}"]
    assert next(iter(coordinator.clusters)) == topology["x-cassandra"]["environment"]["CASSANDRA_CLUSTER_NAME"]


def test_the_made_secrets_are_what_the_configurations_name_and_fit_together(
    secrets: Path, agent: AgentSettings, coordinator: CoordinatorSettings
) -> None:
    """Promise: each secret named is made, fits its partner, and is private."""
    (cluster,) = coordinator.clusters.values()

    def here(settings: HttpSettings) -> HttpSettings:
        names = ("token_file", "tls_certificate", "tls_key")
        return msgspec.structs.replace(
            settings, **{name: getattr(settings, name).replace(SECRETS, str(secrets)) for name in names}
        )

    for settings in (agent.http, coordinator.http):
        access = access_of(here(settings))
        assert access.tls is not None
        assert access.token is not None
    trusted = ssl.create_default_context(cafile=cluster.ca_file.replace(SECRETS, str(secrets)))
    assert trusted.cert_store_stats()["x509_ca"] == 1
    keys = msgspec.json.decode((secrets / "s3.json").read_bytes())["identities"][0]["credentials"][0]
    assert keys["secretKey"] == (secrets / "s3-secret").read_text().strip()
    private = [path for path in secrets.iterdir() if path.stat().st_mode & 0o077]
    assert {path.name for path in private} == {"ca.pem", "agent.crt", "coordinator.crt"}


def test_the_agents_certificate_is_good_for_every_name_the_coordinator_uses(
    secrets: Path, coordinator: CoordinatorSettings
) -> None:
    """Promise: no agent is refused for the name in its certificate."""
    (cluster,) = coordinator.clusters.values()
    openssl = shutil.which("openssl")
    assert openssl
    for url in cluster.agents:
        name = urlsplit(url).hostname
        command = [openssl, "verify", "-CAfile", str(secrets / "ca.pem"), "-verify_hostname", str(name)]
        subprocess.run([*command, str(secrets / "agent.crt")], check=True, capture_output=True, timeout=60)


def test_making_secrets_twice_changes_none(secrets: Path) -> None:
    """Promise: a second `up` keeps the secrets of the first."""
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    make_secrets(secrets, os.getuid())
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before


def test_everybody_is_the_user_to_whom_the_secrets_and_all_volumes_are_given(topology: Topology) -> None:
    """The files are closed to all others: a service of another user couldn't read its keys, or write its volume."""
    services = topology["services"]
    command = services["init"]["command"]
    handed = command[4:]
    assert command[:4] == ["sh", "/etc/helenus/make-secrets.sh", SECRETS, "999"]
    given = mounts(services["init"])
    for name, service in services.items():
        if SECRETS not in mounts(service) or name == "init":
            continue
        assert service["user"] == "999:999", name
        for source in mounts(service).values():
            if source in topology["volumes"] and not source.startswith(("data-", "secrets")):
                assert [path for path in handed if given[path] == source], (name, source)


def test_the_script_gives_away_what_it_is_told_and_nothing_beside(tmp_path: Path) -> None:
    """As root it chowns: only the secrets and the volumes of its command line. Else it leaves owners alone."""
    volumes = [tmp_path / "state", tmp_path / "backups"]
    beside = tmp_path / "beside"
    for path in (*volumes, beside):
        path.mkdir()
    owner = 999 if os.getuid() == 0 else os.getuid()
    make_secrets(tmp_path / "secrets", owner, *volumes)
    assert {path.stat().st_uid for path in (*volumes, *(tmp_path / "secrets").iterdir())} == {owner}
    assert beside.stat().st_uid == os.getuid()
    assert "/var/" not in (DIRECTORY / "make-secrets.sh").read_text()


def test_every_image_has_a_version_and_what_serves_says_how_it_is(topology: Topology) -> None:
    """Promise: no image changes its release by itself, and each server has a healthcheck."""
    for name, service in topology["services"].items():
        _, _, tag = service["image"].partition(":")
        assert tag not in ("", "latest"), name
        assert ("healthcheck" in service) != (name == "init"), name


def test_the_image_has_what_the_configurations_start(topology: Topology, agent: AgentSettings) -> None:
    """Promise: nodetool's path and the user's id agree between image and configuration."""
    text = (DIRECTORY / "Dockerfile").read_text()
    assert "/opt/cassandra" in text
    assert agent.cassandra.nodetool.command[0].startswith("/opt/cassandra/bin/")
    assert f"--uid {topology['x-agent']['user'].split(':')[0]}" in text
