"""One simulated agent: its commands, which take as long as they are told to, and its event log. In: commands, and the
time. Out: views, and the events after a sequence, of progress only what changed."""

import asyncio
import uuid
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import msgspec

from agent.wire.commands import Kind, PostCommand, State
from agent.wire.destinations import ON_SERVER, DestinationView
from agent.wire.results import FreedResult, SnapshotResult, TargetResult, UploadResult
from tests.fleet.frozen import VARIANTS, Frozen

_EVENT = (
    b'{"sequence":%d,"instance":"%b","at":%f,"command":"%b","kind":"%b","job":null,"phase":%b,'
    b'"state":"%b","stage":"%b","progress":%b,"result":%b,"error":%b}'
)
_VIEW = (
    b'{"id":"%b","kind":"%b","state":"%b","stage":"%b","job":null,"phase":%b,"fence":0,"accepted":%f,"started":%b,'
    b'"finished":%b,"progress":%b,"result":%b,"error":%b,"instance":"%b"}'
)


class Command:
    """A command and how far it is: `position` tables are done, `marks` tells at which sequence it moved."""

    __slots__ = ("began", "ended", "marks", "position", "post", "seconds", "state")

    def __init__(self, post: PostCommand, seconds: float, now: float) -> None:
        self.post = post
        self.seconds = seconds
        self.began = now
        self.ended: float | None = None
        self.state = State.RUNNING
        self.position = -1
        self.marks: list[tuple[int, int]] = []


class Pace(msgspec.Struct, frozen=True):
    """How many seconds commands take: a snapshot, an upload or sync, and all others."""

    snapshot: float = 2.0
    upload: float = 60.0
    other: float = 0.2

    def of(self, kind: Kind, number: int) -> float:
        """No two neighbours take equally long: within a tenth."""
        seconds = {Kind.SNAPSHOT: self.snapshot, Kind.UPLOAD: self.upload, Kind.SYNC: self.upload}.get(kind, self.other)
        return seconds * (0.9 + 0.2 * (number * 37 % 101) / 100)


class Node:
    """Agent number `number`. `restart` is a new process over the same state."""

    def __init__(self, frozen: Frozen, number: int, pace: Pace) -> None:
        self._frozen = frozen
        self._pace = pace
        self.number = number
        self.variant = number % VARIANTS
        self.instance = uuid.uuid4().hex
        self.destinations: dict[str, DestinationView] = {}
        self.commands: dict[str, Command] = {}
        self.sequence = 0
        self.durable = 0
        """the sequence of the newest change of a state"""
        self._log: list[tuple[int, Command, State]] = []
        self._news = asyncio.Event()

    def restart(self) -> None:
        """What was under way is resumed, and counts again from nothing until the next tick; readers see another
        instance."""
        self.instance = uuid.uuid4().hex

    def post(self, post: PostCommand, now: float) -> Command:
        """Accept it and begin; the same again is the same command."""
        known = self.commands.get(post.id)
        if known is None:
            known = self.commands[post.id] = Command(post, self._pace.of(post.kind, self.number), now)
            self._tell(known)
        return known

    def cancel(self, command: Command, now: float) -> None:
        """End it, if it hasn't ended."""
        if not command.state.terminal:
            command.state, command.ended = State.CANCELLED, now
            self._tell(command)

    def tick(self, now: float) -> None:
        """Move what is under way."""
        moved = False
        for command in self.commands.values():
            if command.state.terminal:
                continue
            share = min(1.0, (now - command.began) / command.seconds)
            if share >= 1.0:
                command.state, command.ended = State.SUCCESS, now
                command.position = len(self._frozen.tables)
                self._tell(command)
                continue
            position = int(share * len(self._frozen.tables))
            if position != command.position:
                command.position = position
                self.sequence += 1
                command.marks.append((self.sequence, position))
                moved = True
        if moved:
            self._wake()

    def _tell(self, command: Command) -> None:
        self.sequence += 1
        self.durable = self.sequence
        self._log.append((self.sequence, command, command.state))
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def wait(self, after: int, interval: float, silence: float) -> None:
        """Return once there is something to tell after a sequence: a state at once, progress alone after `interval`
        seconds; or after `silence`."""
        loop = asyncio.get_running_loop()
        due, silent = loop.time() + interval, loop.time() + max(silence, interval)
        while self.durable <= after:
            now = loop.time()
            moved = self.sequence > after
            if (moved and now >= due) or now >= silent:
                return
            try:
                async with asyncio.timeout_at(due if moved and not now >= due else silent):
                    await self._news.wait()
            except TimeoutError:
                continue

    def events(self, after: int, now: float) -> list[tuple[int, bytes]]:
        """Sequence and JSON of what happened after a sequence; of a command under way the tables that changed."""
        found = [
            (
                sequence,
                self._event(sequence, command, state, now, b"{}" if not state.terminal else self.progress(command)),
            )
            for sequence, command, state in self._log
            if sequence > after
        ]
        for command in self.commands.values():
            if not command.state.terminal and command.marks and command.marks[-1][0] > after:
                sequence = command.marks[-1][0]
                found.append(
                    (sequence, self._event(sequence, command, command.state, now, self.progress(command, after)))
                )
        return sorted(found)

    def progress(self, command: Command, after: int = 0) -> bytes:
        """Its counts per destination, of the tables that changed after a sequence (0: of all)."""
        if command.post.kind not in (Kind.SNAPSHOT, Kind.UPLOAD, Kind.SYNC) or command.position < 0:
            return b"{}"
        before = bisect_right(command.marks, (after, 1 << 62))
        first = command.marks[before - 1][1] if before else -1
        told = [
            self._frozen.progress(place, self.variant, first, max(command.position, 0))[1:-1]
            for place in _places(command)
        ]
        return b"{%b}" % b",".join(told)

    def view(self, command: Command) -> bytes:
        """GET /v1/commands/{id}."""
        post = command.post
        return _VIEW % (
            post.id.encode(),
            post.kind.value.encode(),
            command.state.value.encode(),
            post.kind.value.encode(),
            msgspec.json.encode(post.phase),
            command.began,
            b"%f" % command.began,
            msgspec.json.encode(command.ended),
            self.progress(command),
            self._result(command),
            self._error(command),
            self.instance.encode(),
        )

    def _event(self, sequence: int, command: Command, state: State, now: float, progress: bytes) -> bytes:
        post, kind = command.post, command.post.kind.value.encode()
        ended = state.terminal
        return _EVENT % (
            sequence,
            self.instance.encode(),
            now,
            post.id.encode(),
            kind,
            msgspec.json.encode(post.phase),
            state.value.encode(),
            kind,
            progress,
            self._result(command) if ended else b"null",
            self._error(command) if ended else b"null",
        )

    def _error(self, command: Command) -> bytes:
        return b'{"code":"cancelled","message":"cancelled"}' if command.state is State.CANCELLED else b"null"

    def _result(self, command: Command) -> bytes:
        """As the real agent's, of the sizes that are counted."""
        if command.state is not State.SUCCESS:
            return b"null"
        sizes = self._frozen.sizes[self.variant]
        result: msgspec.Struct = FreedResult()
        if command.post.kind is Kind.SNAPSHOT:
            result = SnapshotResult(
                tag=str(_arguments(command)["tag"]),
                taken_at=command.began,
                schema_version=self._frozen.schema_version,
                tables=self._frozen.by_keyspace,
                files=sum(each.total_files for each in self._frozen.counts[self.variant]),
                bytes=sum(sizes.values()),
                sizes=sizes,
            )
        elif command.post.kind in (Kind.UPLOAD, Kind.SYNC):
            got = TargetResult("success", files=8_000, bytes=sum(sizes.values()), sizes=sizes)
            result = UploadResult(dict.fromkeys(_places(command), got), snapshot_cleared=True)
        return msgspec.json.encode(result)


def _arguments(command: Command) -> Mapping[str, Any]:
    return msgspec.json.decode(command.post.arguments, type=dict[str, Any])


def _places(command: Command) -> list[str]:
    if command.post.kind is Kind.SNAPSHOT:
        return [ON_SERVER]
    return [str(target["destination"]) for target in _arguments(command)["targets"]]
