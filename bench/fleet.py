"""`make bench-fleet`: a coordinator process against a thousand simulated agents of a thousand tables each. Prints what
the machine gave, and writes build/bench-fleet.json. Fewer: `python -m bench.fleet --agents 100 --seconds 30`.

The agents are one process (tests.fleet) that listens on an address of 127.0.0.0/8 for each, on one port. A backup runs
meanwhile: every agent reports how its copy goes.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from bench.clock import daemon_use, peak_mib
from bench.fleet_figures import WHOLE, Figures, judged, table
from tests.cluster import toml
from tests.cluster.places import BUILD, REPOSITORY
from tests.cluster.ports import free_port
from tests.fleet.frozen import address_of

CLUSTER = "Fleet"
NETWORK = 77
READERS = 2
"""Clients that ask side by side."""
PAUSE = 0.05
"""Seconds between two questions of a client: a console that looks, not a load test of an HTTP server."""
STARTING = 60.0


class Bench:
    """One run. `agents`, `tables`, `seconds`: how long a node's copy takes."""

    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self._options = options
        self._directory = directory
        self.figures = Figures()
        self._port = free_port()
        self._url = f"http://127.0.0.1:{free_port()}"
        self._lags = directory / "lags"
        self._session: aiohttp.ClientSession

    async def run(self) -> Figures:
        """Start, measure, end all that was started."""
        options = self._options
        words = ["--agents", options.agents, "--tables", options.tables, "--port", self._port, "--network", NETWORK]
        words += ["--seconds", options.seconds, "--backups", options.backups]
        fleet_words = ["-m", "tests.fleet", *map(str, words), *(["--old"] if options.old else [])]
        self._configure()
        watched = {"WATCHED_FILE": str(self._lags)}
        if options.stacks:
            watched["WATCHED_STACKS"] = str(self._directory / "stacks")
        async with contextlib.AsyncExitStack() as stack:
            fleet = await stack.enter_async_context(_process(fleet_words, self._directory / "fleet.log"))
            await self._listening(self._directory / "fleet.log")
            words = ["-m", "bench.watched_coordinator", "--config", str(self._directory / "coordinator.toml")]
            process = await stack.enter_async_context(_process(words, self._directory / "coordinator.log", watched))
            self._session = await stack.enter_async_context(aiohttp.ClientSession())
            began = time.monotonic()
            await self._answers()
            await self._measure(process.pid, began)
            fleet.send_signal(signal.SIGTERM)
            await fleet.wait()
        lines = (self._directory / "fleet.log").read_text().splitlines()
        self.figures.agents_told = json.loads(lines[-1])
        return self.figures

    async def _measure(self, pid: int, began: float) -> None:
        figures, at = self.figures, f"/{CLUSTER}"
        await self._ask("first nodes", f"{at}/nodes", 120.0)
        figures.one("seconds until all agents were heard", time.monotonic() - began)
        figures.one("memory (RSS) then, MiB", peak_mib(pid))
        added = await self._post(f"{at}/backups/destinations", {"provider": "s3", "path": "fleet-bucket"})
        place = added["destination_id"]["id"]
        await self._ended(added["request_id"])
        figures.one("seconds until the destination is known to all agents", time.monotonic() - began)
        request = await self._post(f"{at}/backups/run", {"destinations": [place]})
        posted = time.monotonic()
        light = f"/request/{request}/status{self._options.light}"
        await self._phase(light, "uploading")
        figures.one("seconds until all nodes copy", time.monotonic() - posted)
        figures.one("peak memory (RSS) until then, MiB", peak_mib(pid))
        await asyncio.sleep(3.0)  # what the beginning brought with it is over
        use, since = daemon_use(pid), time.monotonic()
        figures.lag_from = time.time()
        node = address_of(self._options.agents // 2, NETWORK)
        paths = {
            "GET backups": f"{at}/backups?destination={place}",
            "GET backup-activity, short": f"{at}/backup-activity{self._options.light}",
            "GET nodes": f"{at}/nodes",
            "GET destinations": f"{at}/backups/destinations",
            "request status without details": light,
            "request status, one node": f"/request/{request}/status?node={node}",
        }
        if self._options.before:
            paths = {name: path for name, path in paths.items() if "one node" not in name}
        until = time.monotonic() + self._options.window
        await asyncio.gather(*(self._look(paths, until, number) for number in range(READERS)))
        figures.one(
            "coordinator's share of a core meanwhile", (daemon_use(pid).own - use.own) / (time.monotonic() - since)
        )
        figures.lag_until = time.time()
        events = (await self._get(f"{at}/backup-activity?count=1&filter_type=backup", 60.0))[1]
        whole = {
            "request status, whole": f"/request/{request}/status",
            "GET backup-activity, whole": f"{at}/backup-activity",
        }
        if not self._options.before and (event := json.loads(events)[0]):
            query = f"week={event['week']}&event_time={event['event_time']}&backup_id={event['backup_id']}"
            whole["GET full_status"] = f"{at}/backup-activity/full_status?{query}&type=backup&destination={place}"
        for name, path in whole.items():
            for _ in range(self._options.whole):
                await self._ask(name, path, 120.0)
        figures.whole_until = time.time()
        figures.one("peak memory (RSS) while copying, MiB", peak_mib(pid))
        await self._ended(request)
        figures.one("seconds of the whole backup", time.monotonic() - posted)
        figures.one("peak memory (RSS) in all, MiB", peak_mib(pid))
        for _ in range(3):
            await self._ask("request status, whole, ended", f"/request/{request}/status", 120.0)
        figures.one("coordinator's processor seconds in all", daemon_use(pid).own)
        figures.lags = [json.loads(line) for line in self._lags.read_text().splitlines()]

    async def _look(self, paths: dict[str, str], until: float, number: int) -> None:
        names = [*paths]
        turn = number
        while time.monotonic() < until:
            name = names[turn % len(names)]
            await self._ask(name, paths[name], 60.0)
            turn += 1
            await asyncio.sleep(PAUSE)

    async def _ask(self, name: str, path: str, deadline: float) -> None:
        """One question, measured."""
        began = time.monotonic()
        first, body = await self._get(path, deadline)
        self.figures.add(name, first, time.monotonic() - began, len(body))
        if name in WHOLE:
            json.loads(body)

    async def _get(self, path: str, deadline: float) -> tuple[float, bytes]:
        """Seconds to the first byte of the body, and the body."""
        began = time.monotonic()
        limits = aiohttp.ClientTimeout(total=deadline)
        async with self._session.get(self._url + path, timeout=limits) as answer:
            pieces = [await answer.content.readany()]
            first = time.monotonic() - began
            while not answer.content.at_eof():
                pieces.append(await answer.content.readany())
            body = b"".join(pieces)
            if answer.status != 200:
                raise RuntimeError(f"GET {path}: {answer.status} {body[:500]!r}")
            return first, body

    async def _post(self, path: str, body: object) -> Any:
        async with self._session.post(self._url + path, json=body) as answer:
            told = await answer.json()
            if answer.status != 200:
                raise RuntimeError(f"POST {path}: {answer.status} {told}")
            return told

    async def _ended(self, request: str) -> None:
        path = f"/request/{request}/status{self._options.light}"
        async with asyncio.timeout(self._options.deadline):
            while True:
                status = json.loads((await self._get(path, 60.0))[1])
                if status["state"] != "running":
                    if status["state"] != "success":
                        raise RuntimeError(f"{path}: {status['state']} {status['details']['message']}")
                    return
                await asyncio.sleep(0.5)

    async def _phase(self, path: str, word: str) -> None:
        """Wait until every node copies: the message tells of that step alone."""
        async with asyncio.timeout(self._options.deadline):
            while True:
                status = json.loads((await self._get(path, 60.0))[1])
                if status["details"]["message"].startswith(word) or status["state"] != "running":
                    return
                await asyncio.sleep(0.5)

    async def _listening(self, log: Path) -> None:
        async with asyncio.timeout(STARTING):
            while "listening" not in log.read_text():  # noqa: ASYNC110 - it is another process that says it
                await asyncio.sleep(0.1)

    async def _answers(self) -> None:
        async with asyncio.timeout(STARTING):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    await self._get("/cluster-configs", 5.0)
                    return
                await asyncio.sleep(0.1)

    def _configure(self) -> None:
        state = self._directory / "state"
        state.mkdir(mode=0o700)
        agents = [f"http://{address_of(number, NETWORK)}:{self._port}" for number in range(self._options.agents)]
        tree = {
            "state_directory": str(state),
            "http": {"host": "127.0.0.1", "port": int(self._url.rpartition(":")[2])},
            "scrub": {"every_hours": 0},
            "clusters": {CLUSTER: {"agents": agents}},
        }
        (self._directory / "coordinator.toml").write_text(toml.dumps(tree))


@contextlib.asynccontextmanager
async def _process(
    words: list[str], log: Path, environment: dict[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of this Python that has ended when this is left."""
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdout=file, stderr=file, cwd=REPOSITORY, env={**os.environ, **(environment or {})}
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(20.0):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


def main() -> None:
    """Parse the arguments, measure, tell."""
    parser = argparse.ArgumentParser(prog="make bench-fleet", description=__doc__)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=75.0, help="how long a node's copy takes")
    parser.add_argument("--window", type=float, default=35.0, help="how long the short questions are asked")
    parser.add_argument("--whole", type=int, default=3, help="how often each large answer is asked for")
    parser.add_argument("--backups", type=int, default=10, help="how many backups the store lists at first")
    parser.add_argument("--old", action="store_true", help="agents of a release without intervals and shapes")
    parser.add_argument("--before", action="store_true", help="a coordinator that knows neither details=0 nor node=")
    parser.add_argument("--stacks", action="store_true", help="write down what a late event loop was at (with --keep)")
    parser.add_argument("--keep", type=Path, help="where the logs and figures are put as well")
    options = parser.parse_args()
    options.light = "" if options.before else "?details=0"
    options.deadline = 4 * options.seconds + 120.0
    directory = Path(tempfile.mkdtemp(prefix="bench-fleet-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended first
    try:
        figures = asyncio.run(Bench(options, directory).run())
    finally:
        if options.keep:
            shutil.copytree(directory, options.keep, dirs_exist_ok=True)
        shutil.rmtree(directory)
    print(f"{options.agents} agents, {options.tables} tables each\n")
    print(table(figures))
    print()
    print(judged(figures))
    BUILD.mkdir(exist_ok=True)
    (BUILD / "bench-fleet.json").write_text(json.dumps(figures.as_data(), indent=1))


if __name__ == "__main__":
    main()
