"""The simulated agents' HTTP side: one aiohttp server that listens on an address of 127.0.0.0/8 for each. In: requests.
Out: answers as a real agent gives them, as far as a coordinator asks."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import web

from agent.wire.backups import BackupView, NodeRecord, Plan, Record
from agent.wire.commands import PostCommand, State
from agent.wire.destinations import CheckDestination, CheckReport, DestinationView, PutDestination
from agent.wire.node import EVENTS_INTERVAL, NODE_KNOWN
from tests.fleet.frozen import SHAPE, Frozen
from tests.fleet.node import Command, Node, Pace

TICK_SECONDS = 0.5
"""Between two movements of a node's counts, as a real agent's event log."""
SLICES = 20
SILENCE_SECONDS = 15.0
IDS = ("repository-of-the-fleet", "cluster-of-the-fleet")


class Fleet:
    """Use as `async with Fleet(frozen, port)`. `backups`: how many of its backups the store lists at first."""

    def __init__(
        self,
        frozen: Frozen,
        port: int,
        pace: Pace | None = None,
        backups: int = 0,
        clock: Callable[[], float] = time.time,
        silence: float = SILENCE_SECONDS,
    ) -> None:
        self.frozen = frozen
        self.moving = True
        """whether time goes on for the commands"""
        self.intervals: Counter[str] = Counter()
        """what readers of events asked for: the interval as text, "" = none"""
        self.whole_reports = 0
        """reports of nodes with ring and keyspaces"""
        self._clock = clock
        self._silence = silence
        self._stopped_at = 0.0
        self._stood = 0.0
        self._streams: set[asyncio.Task[Any]] = set()
        self.nodes = [Node(frozen, number, pace or Pace()) for number in range(frozen.agents)]
        self.asked: Counter[str] = Counter()
        """requests by method and path"""
        self.told: Counter[str] = Counter()
        """events that were sent, and their bytes"""
        self._port = port
        self._by_address = {member.address: node for member, node in zip(frozen.members, self.nodes, strict=True)}
        self._plans: dict[str, Plan] = {}
        self._records = {record.tag: record for record in map(self._earlier, range(backups))}
        self._listing = b""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 26)
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/v1/node", self._node),
                web.get("/v1/archiving", self._archiving),
                web.get("/v1/jobs", self._nothing),
                web.get("/v1/destinations", self._destinations),
                web.get("/v1/destinations/{destination}", self._destination),
                web.put("/v1/destinations/{destination}", self._put_destination),
                web.delete("/v1/destinations/{destination}", self._delete_destination),
                web.post("/v1/destinations/{destination}/check", self._check),
                web.get("/v1/backups", self._backups),
                web.get("/v1/backups/{tag}", self._backup),
                web.put("/v1/backups/{tag}/plan", self._put_plan),
                web.put("/v1/backups/{tag}/record", self._put_record),
                web.post("/v1/commands", self._post),
                web.get("/v1/commands/{command}", self._command),
                web.delete("/v1/commands/{command}", self._cancel),
                web.get("/v1/events", self._events),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        self._server = await asyncio.get_running_loop().create_server(
            server, [*self._by_address], self._port, reuse_address=True, backlog=128
        )
        self._ticker = asyncio.create_task(self._tick())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ticker.cancel()
        await asyncio.gather(self._ticker, return_exceptions=True)
        self._server.close()
        await self._runner.cleanup()

    async def _tick(self) -> None:
        """Nodes move in turn, each twice a second."""
        turn = 0
        while True:
            began = time.monotonic()
            for node in self.nodes[turn % SLICES :: SLICES] if self.moving else ():
                node.tick(self._now())
            turn += 1
            await asyncio.sleep(max(0.0, TICK_SECONDS / SLICES - (time.monotonic() - began)))

    def stop_moving(self) -> None:
        """Let no command move any more, until `move_on`."""
        self.moving, self._stopped_at = False, self._clock()

    def move_on(self) -> None:
        """Let them go on as if no time had passed."""
        self._stood += self._clock() - self._stopped_at
        self.moving = True

    def drop_streams(self) -> None:
        """Break every stream of events off, as a network does."""
        for stream in self._streams:
            stream.cancel()

    def _now(self) -> float:
        return self._clock() - self._stood

    def _of(self, request: web.Request) -> Node:
        assert request.transport is not None
        resource = request.match_info.route.resource
        self.asked[f"{request.method} {resource.canonical if resource is not None else request.path}"] += 1
        return self._by_address[request.transport.get_extra_info("sockname")[0]]

    async def _health(self, request: web.Request) -> web.Response:
        self._of(request)
        return _json(b'{"status":"ok"}')

    async def _node(self, request: web.Request) -> web.Response:
        node = self._of(request)
        known = request.query.get("known")
        if known is not None and NODE_KNOWN not in self.frozen.features:
            return _error(400, "invalid_input")  # requests are strict
        self.whole_reports += known != SHAPE
        return _json(self.frozen.report(node.number, node.instance, node.sequence, self._clock(), known))

    async def _archiving(self, request: web.Request) -> web.Response:
        self._of(request)
        return _json(b'{"enabled":false,"state":"off"}')

    async def _nothing(self, request: web.Request) -> web.Response:
        self._of(request)
        return _json(b"[]")

    async def _destinations(self, request: web.Request) -> web.Response:
        return _json(msgspec.json.encode([*self._of(request).destinations.values()]))

    async def _destination(self, request: web.Request) -> web.Response:
        found = self._of(request).destinations.get(request.match_info["destination"])
        return _unknown("unknown_destination") if found is None else _json(msgspec.json.encode(found))

    async def _put_destination(self, request: web.Request) -> web.Response:
        node, name = self._of(request), request.match_info["destination"]
        put = msgspec.json.decode(await request.read(), type=PutDestination)
        former = node.destinations.get(name)
        ids = (former.repository_id, former.cluster_id) if former is not None else (None, None)
        node.destinations[name] = view = DestinationView(name, put.revision, put.settings, *ids)
        return _json(msgspec.json.encode(view))

    async def _delete_destination(self, request: web.Request) -> web.Response:
        self._of(request).destinations.pop(request.match_info["destination"], None)
        return web.Response(status=204)

    async def _check(self, request: web.Request) -> web.Response:
        node, name = self._of(request), request.match_info["destination"]
        asked = msgspec.json.decode(await request.read(), type=CheckDestination)
        view = node.destinations[name]
        node.destinations[name] = msgspec.structs.replace(view, repository_id=IDS[0], cluster_id=IDS[1])
        found = None if asked.nonce_find is None else True
        return _json(msgspec.json.encode(CheckReport(True, [], True, *IDS, nonce_found=found)))

    async def _backups(self, request: web.Request) -> web.Response:
        self._of(request)
        if "destination" not in request.query:
            return _json(b"[]")
        if not self._listing:
            views = [BackupView(tag, False, record) for tag, record in self._records.items()]
            self._listing = msgspec.json.encode(views)
        return _json(self._listing)

    async def _backup(self, request: web.Request) -> web.Response:
        self._of(request)
        tag = request.match_info["tag"]
        record, plan = self._records.get(tag), self._plans.get(tag)
        if record is None and plan is None:
            return _unknown("backup_not_found")
        hosts = [node.host_id for node in record.nodes if node.state == "success"] if record is not None else []
        return _json(msgspec.json.encode(BackupView(tag, False, record, plan, hosts, complete=bool(hosts))))

    async def _put_plan(self, request: web.Request) -> web.Response:
        self._of(request)
        self._plans[request.match_info["tag"]] = msgspec.json.decode(await request.read(), type=Plan)
        return web.Response(status=204)

    async def _put_record(self, request: web.Request) -> web.Response:
        self._of(request)
        self._records[request.match_info["tag"]] = msgspec.json.decode(await request.read(), type=Record)
        self._listing = b""
        return web.Response(status=204)

    async def _post(self, request: web.Request) -> web.Response:
        node = self._of(request)
        return self._view(node, node.post(msgspec.json.decode(await request.read(), type=PostCommand), self._now()))

    async def _command(self, request: web.Request) -> web.Response:
        node = self._of(request)
        command = node.commands.get(request.match_info["command"])
        return _unknown("unknown_command") if command is None else self._view(node, command)

    async def _cancel(self, request: web.Request) -> web.Response:
        node = self._of(request)
        command = node.commands.get(request.match_info["command"])
        if command is None:
            return _unknown("unknown_command")
        node.cancel(command, self._now())
        return self._view(node, command)

    def _view(self, node: Node, command: Command) -> web.Response:
        return _json(node.view(command), 200 if command.state.terminal else 202)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        node = self._of(request)
        interval = request.query.get("interval")
        if interval is not None and EVENTS_INTERVAL not in self.frozen.features:
            return _error(400, "invalid_input")  # requests are strict
        self.intervals[interval or ""] += 1
        after = int(request.headers.get("Last-Event-ID", "0"))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b": connected\n\n")
        seconds = float(interval or 0.0)
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            # Readers that came in the same moment aren't told in the same moment for ever.
            await node.wait(after, seconds * random.random(), self._silence)
            while True:
                events = node.events(after, self._clock())
                text = b"".join(b"id: %d\nevent: command\ndata: %b\n\n" % event for event in events) or b": alive\n\n"
                self.told["events"] += len(events)
                self.told["bytes"] += len(text)
                after = events[-1][0] if events else after
                await response.write(text)
                await node.wait(after, seconds, self._silence)
        except ConnectionError:
            return response
        finally:
            self._streams.discard(task)

    def _earlier(self, number: int) -> Record:
        """A backup of before, of all nodes."""
        at = 1_489_000_000 + 86_400 * number
        tag = f"opscenter_adhoc_{time.strftime('%Y-%m-%d-%H-%M-%S', time.gmtime(at))}-UTC"
        nodes = [
            NodeRecord(member.host_id, member.address, "success", self.frozen.sizes[number % len(self.frozen.sizes)])
            for member in self.frozen.members
        ]
        return Record(tag, "adhoc", float(at), "success", self.frozen.by_keyspace, nodes, float(at) + 600)

    def running(self) -> int:
        """How many commands are under way."""
        return sum(command.state is State.RUNNING for node in self.nodes for command in node.commands.values())


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")


def _unknown(code: str) -> web.Response:
    return _error(404, code)


def _error(status: int, code: str) -> web.Response:
    told: dict[str, Any] = {"code": code, "message": code, "todo": "", "retry": "never", "fields": {}}
    return _json(msgspec.json.encode(told), status)
