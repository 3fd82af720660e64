"""The coordinator as a process: its configuration, its start, its end, and what it holds after kill -9."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent.wire.destinations import S3Settings
from coordinator.main import main, prepare, serve
from coordinator.model.destinations import Destination
from coordinator.model.orders import DestinationOrder
from coordinator.model.requests import Request, RequestKind, RequestState, spec_of
from coordinator.model.settings import OrchestrationSettings, RetentionSettings
from coordinator.opscenter.roles import FIRST_WORDS
from coordinator.serving.acting import timing_of
from coordinator.store.sqlite import FILE, SqliteStore
from kit.config import ConfigError
from kit.logs import Redactor
from kit.notify import Notifier
from kit.state_lock import StateLock
from tests.cluster.canaries import marked
from tests.cluster.coordinator_exchanges import check_coordinator
from tests.cluster.exchanges import NAME
from tests.fast.coordinator.served_routes import SERVED

ROOT = Path(__file__).resolve().parents[3]
ADDRESS = "127.0.70.9"
TOKEN = "coordinator-token-of-the-test"
DEADLINE = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


def secret_file(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text + "\n")
    path.chmod(mode)
    return path


def configuration(directory: Path, port: int = 0, *, agents: str = '["http://127.0.70.1:9"]', more: str = "") -> Path:
    """A right coordinator.toml whose only agent doesn't answer; `more` is added to the cluster's table."""
    token = secret_file(directory / "token", TOKEN)
    file = directory / "coordinator.toml"
    file.write_text(
        f'state_directory = "{directory}/state"\n'
        f'[http]\nhost = "{ADDRESS}"\nport = {port}\ntoken_file = "{token}"\n'
        f"[clusters.Test_Cluster]\nagents = {agents}\n{more}\n"
    )
    return file


class Process:
    """A running coordinator, asked with its token."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url

    async def ask(self, method: str, path: str, token: str = TOKEN) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE)) as session,
            session.request(method, self.url + path, headers=headers) as response,
        ):
            text = await response.text()
            return response.status, await response.json() if response.content_type == "application/json" else text


@asynccontextmanager
async def running(file: Path, port: int, log: Path, **environment: str) -> AsyncIterator[Process]:
    """The coordinator, from answering until killed. What was said must be as openapi.yaml describes it."""
    with log.open("ab") as stream:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.cluster.recorded_coordinator",
            "--config",
            str(file),
            cwd=ROOT,
            stderr=stream,
            env={**os.environ, **environment},
        )
    started = Process(process, f"http://{ADDRESS}:{port}")
    try:
        async with asyncio.timeout(DEADLINE):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    if (await started.ask("GET", "/health"))[0] == 200:
                        break
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.02)
        yield started
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    await asyncio.to_thread(check_coordinator, file.with_name(NAME))


async def test_it_serves_survives_a_kill_and_ends_on_sigterm(tmp_path: Path) -> None:
    """Started, killed with -9 and started again it answers from the same state; SIGTERM is a clean end."""
    store = await SqliteStore.open(tmp_path / "state", now=0)
    secret = marked("s3cret-of-a-destination")
    place = Destination("d1", "Test_Cluster", S3Settings(path="b", access_key="A", access_secret=secret), 1, "r", "c")
    await store.destinations.put(place)
    await store.close()
    port = free_port()
    file, log = configuration(tmp_path, port), tmp_path / "log"
    async with running(file, port, log) as first:
        assert list((await first.ask("GET", "/Test_Cluster/backups/destinations"))[1]) == ["d1"]
        status, told = await first.ask("GET", "/Test_Cluster/nodes")
        assert (status, told[0]["agent"]["up"]) == (200, False)
        status, told = await first.ask("POST", "/Test_Cluster/backups/run")
        assert status >= 400
        assert told["brief"] == "error"
        first.process.kill()
        await first.process.wait()
    async with running(file, port, log) as second:
        assert list((await second.ask("GET", "/Test_Cluster/backups/destinations"))[1]) == ["d1"]
        second.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE):
            assert await second.process.wait() == 0
    assert secret not in log.read_text()
    assert TOKEN not in log.read_text()


@pytest.mark.parametrize("part", ["main.beat", "serving.acting.keep_pruned"])
async def test_a_part_that_dies_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """A coordinator without its pulse, or that is never pruned again, would look well for ever."""

    async def dies(*_: object) -> None:
        raise RuntimeError(f"{part} died")

    monkeypatch.setattr(f"coordinator.{part}", dies)
    with pytest.raises(RuntimeError, match=f"{part} died"):
        async with asyncio.timeout(DEADLINE):
            await serve(prepare(configuration(tmp_path)), Redactor(), Notifier(), asyncio.Event())


async def test_strangers_get_only_health_and_the_description(tmp_path: Path) -> None:
    """Promise: with a token configured all else answers 401 in OpsCenter's form; metrics are served to who has it."""
    port = free_port()
    async with running(configuration(tmp_path, port), port, tmp_path / "log") as started:
        status, told = await started.ask("GET", "/cluster-configs", token="wrong")
        assert (status, told["brief"], told["type"]) == (401, "error", "Unauthorized")
        assert (await started.ask("GET", "/metrics", token="wrong"))[0] == 401
        for path in ("/health", "/docs", "/docs/page.js", "/openapi.yaml", "/openapi.json"):
            assert (await started.ask("GET", path, token="wrong"))[0] == 200
        status, text = await started.ask("GET", "/metrics")
        assert status == 200
        assert 'helenus_http_answers_total{method="GET",path="/cluster-configs",status="401"} 1.0' in text
        assert 'helenus_requests_running{cluster="Test_Cluster",kind="restore"} 0.0' in text


async def test_it_tells_systemd_that_it_is_ready_and_alive(tmp_path: Path) -> None:
    """READY=1 once it serves, WATCHDOG=1 while it turns, STOPPING=1 at the end, on a real socket."""
    port = free_port()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.setblocking(False)
        loop = asyncio.get_running_loop()
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
        async with running(configuration(tmp_path, port), port, tmp_path / "log", **environment) as started:
            async with asyncio.timeout(DEADLINE):
                assert await loop.sock_recv(told, 100) == b"READY=1"
                assert await loop.sock_recv(told, 100) == b"WATCHDOG=1"
                started.process.send_signal(signal.SIGTERM)
                while await loop.sock_recv(told, 100) != b"STOPPING=1":
                    pass
                assert await started.process.wait() == 0


def test_two_coordinators_never_share_a_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second one names the trouble and ends."""
    file = configuration(tmp_path)
    with StateLock(tmp_path / "state"):
        assert main(["--config", str(file)]) == 1
    assert "state directory" in capsys.readouterr().err


async def test_a_coordinator_whose_address_is_taken_resumes_nothing(tmp_path: Path) -> None:
    """A second coordinator by mistake must not work on the nodes: it ends before an unfinished request goes on."""
    store = await SqliteStore.open(tmp_path / "state", now=0)
    request = Request("5f0c6f0e-0000-4000-8000-000000000001", RequestKind.DESTINATION, "Test_Cluster",
        RequestState.RUNNING, 1.0, spec_of(DestinationOrder("delete", "gone")), destinations=["gone"])  # fmt: skip
    await store.requests.create(request)
    await store.close()
    with socket.socket() as taken:
        taken.bind((ADDRESS, 0))
        taken.listen()
        file = configuration(tmp_path, taken.getsockname()[1])
        command = (sys.executable, "-m", "coordinator.main", "--config", str(file))
        with (tmp_path / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=log, stderr=log)
        async with asyncio.timeout(DEADLINE):
            assert await process.wait() == 2
    told = (tmp_path / "log").read_text()
    assert "can't be listened on" in told
    assert "request goes on" not in told
    store = await SqliteStore.open(tmp_path / "state", now=0)
    kept = await store.requests.get(request.id)
    await store.close()
    assert kept == request


def test_check_config_says_yes_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Good for a deployment script, in the agent's word for it."""
    assert main(["--config", str(configuration(tmp_path)), "--check-config"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'coordinator.toml'}: fine; clusters: Test_Cluster\n"
    assert not (tmp_path / "state" / FILE).exists()


def test_check_config_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The setting's path stands in the message, and the exit status is the configuration's."""
    file = configuration(tmp_path, more="agnets = []")
    assert main(["--config", str(file), "--check-config"]) == 2
    assert "clusters.Test_Cluster.agnets" in capsys.readouterr().err


def test_check_config_looks_at_the_state_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Promise: what can't become the state directory is told before the service runs, with its setting; one that isn't
    there yet is made by the service, not by the check."""
    file = configuration(tmp_path)
    kept, place = file.read_text(), f'state_directory = "{tmp_path / "state"}"'
    assert place in kept
    for wrong in (file, file / "state"):
        file.write_text(kept.replace(place, f'state_directory = "{wrong}"'))
        assert main(["--config", str(file), "--check-config"]) == 2
        assert "«state_directory»" in capsys.readouterr().err
    file.write_text(kept.replace(place, f'state_directory = "{tmp_path / "not" / "yet"}"'))
    assert main(["--config", str(file), "--check-config"]) == 0
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize("name", [".", ".."])
def test_a_cluster_that_no_address_can_name_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Promise: what every client leaves out of a path is no cluster's name; other dots are."""
    file = configuration(tmp_path)
    kept = file.read_text()
    file.write_text(kept.replace("[clusters.Test_Cluster]", f'[clusters."{name}"]'))
    assert main(["--config", str(file), "--check-config"]) == 2
    assert "clusters" in capsys.readouterr().err
    file.write_text(kept.replace("[clusters.Test_Cluster]", f'[clusters."{name}x"]'))
    assert main(["--config", str(file), "--check-config"]) == 0


@pytest.mark.parametrize(
    ("agents", "more", "setting"),
    [
        ("[]", "", "clusters.Test_Cluster.agents"),
        ('["ftp://127.0.70.1"]', "", "clusters.Test_Cluster.agents[0]"),
        ('["http://127.0.70.1:1/path"]', "", "clusters.Test_Cluster.agents[0]"),
        ('["http://user:password@127.0.70.1:1"]', "", "clusters.Test_Cluster.agents[0]"),
        ('["http://10.0.0.1:61621"]', "", "clusters.Test_Cluster.agents[0]"),
        ('["http://127.0.70.1:1", "http://node1:61621"]', "", "clusters.Test_Cluster.agents[1]"),
        ('["http://127.0.70.1:1", "http://127.0.70.1:1/"]', "", "clusters.Test_Cluster.agents"),
        ('["http://127.0.70.1:1"]', 'token_file = "relative"', "clusters.Test_Cluster.token_file"),
        ('["http://127.0.70.1:1"]', 'token_file = "/nowhere/token"', "clusters.Test_Cluster.token_file"),
        ('["http://127.0.70.1:1"]', 'key_file = "/nowhere/key"', "clusters.Test_Cluster.key_file"),
        ('["https://127.0.70.1:1"]', 'ca_file = "/nowhere/ca"', "clusters.Test_Cluster.ca_file"),
        ('["http://127.0.70.1:1"]', "connect_seconds = 0", "clusters.Test_Cluster.connect_seconds"),
        (
            '["http://127.0.70.1:1"]',
            '[clusters.other]\nname = "Test_Cluster"\nagents = ["http://127.0.70.2:1"]',
            "clusters.other.name",
        ),
        *(
            ('["http://127.0.70.1:1"]', f'[clusters."{word}"]\nagents = ["http://127.0.70.2:1"]', f"clusters.{word}")
            for word in ("users", "request", "login", "webhooks", "openapi.yaml")
        ),
        (
            '["http://127.0.70.1:1"]',
            '[clusters.other]\nname = "metrics"\nagents = ["http://127.0.70.2:1"]',
            "clusters.other.name",
        ),
        ('["http://127.0.70.1:1"]', "[clusters.other]\nagnets = []", "clusters.other.agnets"),
        ('["http://127.0.70.1:1"]', "[clusters.other]", "clusters.other.agents"),
        (
            '["http://127.0.70.1:1"]',
            '[clusters.other]\nagents = ["http://127.0.70.2:1", "x"]',
            "clusters.other.agents[1]",
        ),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, agents: str, more: str, setting: str) -> None:
    """Before anything is opened; a token never travels in clear to another machine."""
    with pytest.raises(ConfigError) as caught:
        prepare(configuration(tmp_path, agents=agents, more=more))
    assert caught.value.fields["setting"] == setting


def test_a_token_file_for_everybody_is_refused(tmp_path: Path) -> None:
    """Secrets at rest are private (I9)."""
    open_file = secret_file(tmp_path / "agent-token", "secret", 0o644)
    with pytest.raises(ConfigError, match="everybody"):
        prepare(configuration(tmp_path, more=f'token_file = "{open_file}"'))


def test_the_table_http_keeps_the_coordinators_own_defaults(tmp_path: Path) -> None:
    """A [http] table that only names a host still means port 8888 and a mebibyte."""
    file = tmp_path / "c.toml"
    file.write_text(
        'state_directory = "/s"\n[http]\nhost = "127.0.0.1"\n[clusters.c]\nagents = ["http://127.0.0.1:1"]\n'
    )
    listening = prepare(file).settings.http
    assert (listening.port, listening.max_body_bytes) == (8888, 1 << 20)


def test_every_wait_of_the_configuration_reaches_the_orchestration() -> None:
    """A setting that nobody reads would be a lie."""
    timing = timing_of(OrchestrationSettings(1.0, 2.0, 3.0, 4.0), RetentionSettings(daily_at="23:59"))
    assert (timing.agent_return, timing.fence, timing.force_margin, timing.cancel) == (1.0, 2.0, 3.0, 4.0)
    assert timing.retention_at == 86_340.0


def test_every_path_that_is_of_no_cluster_keeps_its_first_word() -> None:
    """Promise: a path that is added later can't be that of a cluster either."""
    words = {path.split("/")[1] for _, path in SERVED} - {"", "{cluster}"}
    assert words
    assert words <= FIRST_WORDS
