"""Two coordinators of one state, as processes, over the toy cluster. In: agents' URLs. Out: both asked over HTTP,
killed and stopped."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

import aiohttp

from coordinator.store.sqlite import FILE
from tests.cluster.crashing_coordinator import VARIABLE
from tests.cluster.ports import free_port
from tests.cluster.services import write_secret
from tests.cluster.sharing_coordinator import SHARED

ROOT = Path(__file__).parents[2]
ADDRESS = "127.0.80.201"
LEASE_SECONDS = 3
DEADLINE = 60.0
C = "/toy"


class Life:
    """One coordinator's process. `dies_at`: the moment of `crashing_coordinator`. `token`: what it asks for."""

    def __init__(
        self,
        directory: Path,
        shared: Path,
        urls: list[str],
        session: aiohttp.ClientSession,
        state: str = "",
        lease: float = LEASE_SECONDS,
        token: str = "",
    ) -> None:
        self._directory = directory
        self._shared = shared
        self._session = session
        self.module = "coordinator.main" if state else "tests.cluster.sharing_coordinator"
        self.port = free_port(ADDRESS)
        self.log = directory / "log"
        directory.mkdir()
        agents = ", ".join(f'"{url}"' for url in urls)
        asks = f'token_file = "{write_secret(directory / "token", token)}"\n' if token else ""
        self._shown = {"Authorization": f"Bearer {token}"} if token else {}
        (directory / "coordinator.toml").write_text(
            f'state_directory = "{directory}/state"\n[http]\nhost = "{ADDRESS}"\nport = {self.port}\n{asks}'
            f"[leading]\nlease_seconds = {lease}\n[scrub]\nevery_hours = 0\n"
            f"{state}\n[clusters.toy]\nagents = [{agents}]\n"
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{ADDRESS}:{self.port}"

    async def start(self, dies_at: str = "") -> None:
        """Start it, and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self.module,
                "--config",
                str(self._directory / "coordinator.toml"),
                cwd=ROOT,
                stderr=log,
                env={**os.environ, SHARED: str(self._shared), VARIABLE: dies_at},
            )
        await self.until("/health", lambda told: bool(told))

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON."""
        shown = {**self._shown, **headers}
        async with self._session.request(method, self.url + path, json=body, headers=shown) as response:
            return response.status, await response.json()

    async def until(self, path: str, right: Any) -> Any:
        """The answer to a GET, once it is so; who is just changing places may not answer."""
        async with asyncio.timeout(DEADLINE):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    status, told = await self.ask("GET", path)
                    if status == 200 and right(told):
                        return told
                assert self.process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.05)

    async def leads(self) -> None:
        """Return once it leads and serves."""
        await self.until("/health", lambda told: told["status"] == "ok")

    async def stands_by(self) -> None:
        """Return once it knows that another one leads."""
        await self.until("/health", lambda told: told["status"] == "standby" and told["leader"])

    async def order(self, path: str, body: Any) -> str:
        """The request's id. Who is just changing places takes none, and says so."""
        async with asyncio.timeout(DEADLINE):
            while (answered := await self.ask("POST", C + path, body))[0] == 503:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        status, told = answered
        assert status == 200, told
        return str(told)

    async def ended(self, request: str) -> Any:
        """The request's status once it isn't running."""
        return await self.until(f"/request/{request}/status", lambda told: told["state"] != "running")

    async def freeze(self) -> None:
        """SIGSTOP, while it holds no lock of the shared file: that would stop everybody, as nobody can in Cassandra."""
        async with asyncio.timeout(DEADLINE):
            while True:
                self.process.send_signal(signal.SIGSTOP)
                while not self._is_frozen():  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.001)
                if await asyncio.to_thread(self._can_be_written):
                    return
                self.process.send_signal(signal.SIGCONT)
                await asyncio.sleep(0.01)

    def _is_frozen(self) -> bool:
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def _can_be_written(self) -> bool:
        """Whether the shared file can, by others."""
        with contextlib.closing(sqlite3.connect(self._shared / FILE, timeout=2.0)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            connection.rollback()
            return True

    async def died(self) -> None:
        """Return once it killed itself."""
        async with asyncio.timeout(DEADLINE):
            assert await self.process.wait() == -signal.SIGKILL, self.log.read_text()

    async def end(self) -> None:
        """Whatever it does."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        await self.process.wait()
