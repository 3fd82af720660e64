"""Recorded agents over HTTP. In: a recording. Out: agents that answer a coordinator in the words of the recording: of
another version than this one's, without its code.

Names that a coordinator makes anew (commands, tags, destinations) are put in place of the recorded ones; plans and
records that are put are listed again. What a request may hold is what the recorded version's own description says.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from tests.cluster.validated_client import NotAsDescribed, check_exchange, description_of
from tests.recording.messages import Message, Recording, Told, pattern_of

Answer = dict[str, Any]


class Later:
    """What a later version says more; here nothing. See `tests.recording.later`."""

    def answer(self, pattern: str, answer: Any) -> Any:
        """An answer as that version gives it."""
        return answer

    def events(self, event: Answer) -> list[tuple[str, Answer]]:
        """What it tells for a recorded event, each with its type."""
        return [("command", event)]


class RecordedAgents:
    """`agents` of one cluster, with one store behind them."""

    def __init__(self, path: Path, later: Later | None = None) -> None:
        self.recording = msgspec.json.decode(path.read_bytes(), type=Recording)
        self.later = later or Later()
        self.said: dict[str, tuple[Any, ...]] = {}
        self.refused: list[Message] = []
        self.posted: list[str] = []
        """kinds of commands, in the order in which they came"""
        self.plans: dict[tuple[str, str], Answer] = {}
        self.records: dict[tuple[str, str], Answer] = {}
        self.deleted: set[tuple[str, str]] = set()
        self.agents = [RecordedAgent(self, told) for told in self.recording.agents]

    def wrong(self, description: Path) -> list[str]:
        """What was asked, or answered, that the version's description doesn't have."""
        found = []
        for method, path, headers, body, status, content in self.said.values():
            try:
                check_exchange(
                    description_of(description),
                    method,
                    path,
                    {"Authorization": "Bearer x", **headers},
                    body,
                    status,
                    {"Content-Type": "application/json"},
                    content,
                    request_too=True,
                )
            except NotAsDescribed as wrong:
                found.append(str(wrong))
        return found

    def first(self, pattern: str, **having: str) -> Message:
        """The first recorded message of any agent that is like this."""
        return next(each for agent in self.recording.agents for each in _like(agent, pattern, **having))


class RecordedAgent:
    """One of them: `start`, `stop`, `url`."""

    def __init__(self, all_of_them: RecordedAgents, told: Told) -> None:
        self._all = all_of_them
        self._told = told
        self._commands: dict[str, Answer] = {}
        self._destinations: dict[str, Answer] = {}
        self._log: list[tuple[int, str, Answer]] = []
        self._news = asyncio.Event()

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._told.address, 0).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it listens."""
        port: int = self._runner.addresses[0][1]
        return f"http://{self._told.address}:{port}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        pattern = pattern_of(request.method, request.path)
        body = await request.read()
        sent = msgspec.json.decode(body) if body else None
        if pattern == "GET /v1/events" and "interval" not in request.query:
            return await self._events(request)
        refusal = self._refusal(pattern, request, sent)
        status, answer = (refusal.status, refusal.answer) if refusal else self._found(pattern, request, sent)
        answer = self._all.later.answer(pattern, answer)
        content = b"" if answer is None else msgspec.json.encode(answer)
        if not refusal:
            self._note(pattern, request, body, status, content)
        return web.Response(body=content, status=status, content_type="application/json")

    def _refusal(self, pattern: str, request: web.Request, sent: Any) -> Message | None:
        """What the version refused when it was recorded: parameters and kinds that it doesn't know."""
        features = self._first("GET /v1/node").answer["features"]
        refused = None
        if pattern == "GET /v1/node" and "known" in request.query and "node_known" not in features:
            refused = next(_like(self._told, pattern, path="/v1/node?known=a-shape"))
        if pattern == "POST /v1/commands" and sent["kind"] not in features:
            refused = next(each for each in _like(self._told, pattern) if each.status == 400)
        if refused is not None:
            self._all.refused.append(refused)
        return refused

    def _found(self, pattern: str, request: web.Request, sent: Any) -> tuple[int, Any]:
        name = (request.path.split("/") + [""] * 4)[3]
        place = request.query.get("destination", "")
        all_of_them = self._all
        match pattern:
            case "GET /v1/node":
                report = self._first(pattern, path=request.path_qs).answer
                return 200, {**report, "now": time.time(), "events": len(self._log)}
            case "POST /v1/commands":
                return self._post(sent)
            case "GET /v1/commands/*" if name in self._commands:
                return 200, self._commands[name]
            case "PUT /v1/destinations/*":
                settings = {**sent["settings"], **self._masked(sent["settings"])}
                known = self._destinations.get(name, {})
                view = self._first(pattern).answer
                self._destinations[name] = {**view, **known, "id": name, **sent, "settings": settings}
                return 200, self._destinations[name]
            case "POST /v1/destinations/*/check":
                report = self._first(pattern).answer
                ids = {key: report[key] for key in ("repository_id", "cluster_id")}
                self._destinations[name] |= ids
                return 200, report
            case "GET /v1/destinations":
                return 200, [*self._destinations.values()]
            case "GET /v1/destinations/*" if name in self._destinations:
                return 200, self._destinations[name]
            case "DELETE /v1/destinations/*":
                self._destinations.pop(name, None)
                return 204, None
            case "PUT /v1/backups/*/plan":
                all_of_them.plans[place or self._told.address, name] = sent
                return 204, None
            case "PUT /v1/backups/*/record":
                all_of_them.records[place or self._told.address, name] = sent
                return 204, None
            case "GET /v1/backups":
                return 200, [self._listed(place, tag, pattern) for tag in self._tags(place)]
            case "GET /v1/backups/*" if name in self._tags(place):
                return 200, self._listed(place, name, pattern)
            case "GET /v1/jobs":
                return 200, []
            case "GET /v1/archiving" | "GET /health":
                return 200, self._first(pattern).answer
        return 404, {"code": "not_found", "message": request.path, "todo": "", "retry": "never", "fields": {}}

    def _first(self, pattern: str, **having: str) -> Message:
        return next(_like(self._told, pattern, **having), None) or self._all.first(pattern)

    def _masked(self, settings: Answer) -> Answer:
        return {key: "********" for key in ("access_secret", "session_token") if settings.get(key)}

    def _tags(self, place: str) -> list[str]:
        """The recorded backup is in the recorded destination, beside those that were put."""
        recording = self._all.recording
        where = place or self._told.address
        recorded = {recording.tag} if place == recording.destination else set()
        put = {tag for at, tag in (*self._all.records, *self._all.plans) if at == where}
        return sorted(tag for tag in recorded | put if (where, tag) not in self._all.deleted)

    def _listed(self, place: str, tag: str, pattern: str) -> Answer:
        recording, where = self._all.recording, place or self._told.address
        query = f"?destination={recording.destination}" if place else ""
        path = f"/v1/backups{'/' + recording.tag if pattern.endswith('*') else ''}{query}"
        message = self._all.first(pattern, path=path)
        found: Answer = message.answer if pattern.endswith("*") else message.answer[0]
        put = {"plan": self._all.plans.get((where, tag)), "record": self._all.records.get((where, tag))}
        changed = {name: value for name, value in put.items() if value is not None and found.get(name) is not None}
        return {**found, "tag": tag, **changed}

    def _post(self, post: Answer) -> tuple[int, Answer]:
        known = self._commands.get(post["id"])
        if known is not None:
            return 200, known
        self._all.posted.append(post["kind"])
        recorded, asked = self._recorded_of(post)
        text = msgspec.json.encode(recorded)
        for was, is_now in self._renamed(asked.sent, post):
            text = text.replace(was.encode(), is_now.encode())
        view = msgspec.json.decode(text)
        self._commands[post["id"]] = view = {**view, **{key: post[key] for key in ("job", "phase", "fence")}}
        if post["kind"] == "delete" and post["arguments"]["target"] is not None:
            place = post["arguments"]["target"]["destination"]
            self._all.deleted.add((place, post["arguments"]["tag"]))
        for event in self._told.events:
            if event["command"] == asked.sent["id"]:
                own = {key: view[key] for key in ("job", "phase", "instance")} | {"command": post["id"]}
                told = msgspec.json.decode(msgspec.json.encode(event))
                if told["state"] == view["state"]:
                    own |= {"progress": view["progress"], "result": view["result"]}
                for kind, each in self._all.later.events({**told, **own}):
                    self._log.append((len(self._log) + 1, kind, {**each, "sequence": len(self._log) + 1}))
        self._news.set()
        self._news = asyncio.Event()
        begun: Answer = {
            "state": "queued",
            "stage": "",
            "finished": None,
            "started": None,
            "progress": {},
            "result": None,
        }
        return 202, {**view, **begun}

    def _recorded_of(self, post: Answer) -> tuple[Answer, Message]:
        """The end of a command of the kind, of this agent or of another one, and the order of it."""
        for told in (self._told, *self._all.recording.agents):
            for asked in _like(told, "POST /v1/commands"):
                if asked.status == 202 and asked.sent["kind"] == post["kind"]:
                    for ended in _like(told, "GET /v1/commands/*", path=f"/v1/commands/{asked.sent['id']}"):
                        if ended.answer["finished"] is not None:
                            return ended.answer, asked
        raise LookupError(f"no {post['kind']} was recorded")

    def _renamed(self, was: Answer, now: Answer) -> list[tuple[str, str]]:
        """Recorded names, each with the one that stands for it."""
        pairs = [(was["id"], now["id"])]
        before, after = was["arguments"], now["arguments"]
        if before.get("tag") and after.get("tag"):
            pairs.append((before["tag"], after["tag"]))
        for one, other in zip(before.get("targets") or (), after.get("targets") or (), strict=False):
            pairs.append((one["destination"], other["destination"]))
        return pairs

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        after = int(request.headers.get("Last-Event-ID", "0"))
        while True:
            for sequence, kind, event in self._log[after:]:
                text = msgspec.json.encode(event)
                await response.write(b"id: %d\nevent: %b\ndata: %b\n\n" % (sequence, kind.encode(), text))
                after = sequence
            news = self._news
            if after == len(self._log):
                await response.write(b": here\n\n")
                with suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await news.wait()

    def _note(self, pattern: str, request: web.Request, body: bytes, status: int, content: bytes) -> None:
        """Keep it for `RecordedAgents.wrong`, once of each kind."""
        sent = msgspec.json.decode(body) if body else {}
        names = (sorted(sent), sent.get("kind"), sorted(sent.get("arguments") or ()), sorted(request.query))
        headers = {name: request.headers[name] for name in ("Content-Type", "Accept") if name in request.headers}
        exchange = (request.method, request.path_qs, headers, body or None, status, content)
        self._all.said.setdefault(repr((pattern, names, status)), exchange)


def _like(told: Told, pattern: str, **having: str) -> Iterator[Message]:
    for message in told.messages:
        if message.pattern == pattern and all(getattr(message, key) == value for key, value in having.items()):
            yield message
