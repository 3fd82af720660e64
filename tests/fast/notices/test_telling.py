"""Filler, log and senders together, over a real store and real sockets: who is told, in which order, and what the log
says of it."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog

from coordinator.model.notices import HookState
from coordinator.model.requests import RequestState
from coordinator.model.retention import RetentionNote
from coordinator.notices.filler import Sources
from coordinator.notices.hooks import Hook
from coordinator.notices.sender import Pace
from coordinator.notices.telling import LOG, Telling
from coordinator.store.sqlite import SqliteStore
from kit import logs
from tests.cluster.toy_coordinator import DEADLINE
from tests.cluster.webhook_receiver import CLOSE, HANG, Answer, Receiver
from tests.fast.notices.given import NOW, SECRET, ended, hook, request

QUICK = Pace(first=0.01, longest=0.05, idle=3_600.0, store=0.01)
CANARY = "canary-secret-of-a-destination"


@pytest.fixture
def lines() -> Iterator[StringIO]:
    """What is logged, as the service writes it."""
    root, of_structlog = logging.getLogger(), structlog.get_config()
    before = root.handlers[:], root.level
    stream, redactor = StringIO(), logs.Redactor()
    redactor.add(CANARY)
    logs.configure("info", "json", redactor, stream=stream)
    try:
        yield stream
    finally:
        root.handlers, level = before
        root.setLevel(level)
        logging.captureWarnings(False)
        structlog.configure(**of_structlog)


def logged(lines: StringIO, event: str = "notice") -> list[dict[str, Any]]:
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    return [line for line in found if line["event"] == event]


@asynccontextmanager
async def telling(store: SqliteStore, *hooks: Hook, news: asyncio.Event | None = None) -> AsyncIterator[Telling]:
    """One life."""

    async def notes(cluster: str) -> Mapping[str, RetentionNote]:
        return {}

    redactor = logs.Redactor()
    redactor.add(CANARY)
    sources = Sources(["main"], notes, lambda cluster: [], 0.0)
    begun = time.monotonic()
    told = Telling(
        store,
        sources,
        hooks,
        news or asyncio.Event(),
        lambda: NOW + time.monotonic() - begun,
        redactor.clean,
        QUICK,
    )
    async with told:
        yield told


async def until(told: Telling, true: Callable[[HookState], bool], name: str = "ops") -> HookState:
    """The hook's state, once this is true of it."""
    async with asyncio.timeout(DEADLINE):
        while True:
            [state] = [state for state in await told.hooks() if state.name == name]
            if true(state):
                return state
            await asyncio.sleep(0.005)


async def until_told(told: Telling, count: int, name: str = "ops") -> HookState:
    """The hook's state, once it was told so many."""
    return await until(told, lambda state: state.told >= count, name)


async def until_logged(store: SqliteStore) -> None:
    """Return once nothing waits to be logged."""
    async with asyncio.timeout(DEADLINE):
        while True:
            if await store.outbox.first(LOG) is None:
                return
            await asyncio.sleep(0.005)


async def happened(store: SqliteStore, name: str = "r1", **changes: Any) -> None:
    await store.requests.create(request(name))
    await store.requests.finish(ended(name, NOW, **changes))


async def test_a_receiver_in_every_sort_of_trouble_is_told_all_in_order(store: SqliteStore, tmp_path: Path) -> None:
    """Promise: one that answers errors, cuts connections, redirects and then comes to itself misses nothing."""
    async with Receiver([500, CLOSE, (302, {"Location": "/elsewhere"}), 204, 503]) as receiver:
        news = asyncio.Event()
        async with telling(store, hook(tmp_path, receiver.url, events=["*"]), news=news) as told:
            await happened(store)
            news.set()
            await until_told(told, 2)
            await happened(store, "r2")
            news.set()
            state = await until_told(told, 4)
    types = ["backup.started"] * 4 + ["backup.succeeded"] * 2 + ["backup.started", "backup.succeeded"]
    assert [came.type for came in receiver.came] == types
    assert {came.path for came in receiver.came} == {"/hooks/a-path-like-a-secret"}
    assert len({came.notice["id"] for came in receiver.came}) == 4
    assert (state.failed, state.waiting, state.last_error) == (4, 0, "")


async def test_one_that_hangs_holds_up_nobody(store: SqliteStore, tmp_path: Path) -> None:
    """Promise: a receiver that never answers costs the others, and the log, nothing."""
    await happened(store)
    async with Receiver([HANG]) as hangs, Receiver() as receiver:
        slow, good = hook(tmp_path, hangs.url, "slow"), hook(tmp_path, receiver.url, "ops")
        async with telling(store, slow, good) as told:
            await until_told(told, 1)
            states = {state.name: state for state in await told.hooks()}
            assert (states["slow"].told, states["slow"].waiting) == (0, 1)


async def test_what_a_killed_life_left_is_told_by_the_next(store: SqliteStore, tmp_path: Path) -> None:
    """Promise: with the same ids; what was told isn't told again; a webhook that is new isn't told of last year."""
    async with Receiver([503]) as receiver:
        made = hook(tmp_path, receiver.url, events=["*"])
        await happened(store)
        async with telling(store, made):
            await receiver.until(1)
        async with telling(store, made) as told:
            await until_told(told, 2)
        async with telling(store, made, hook(tmp_path, receiver.url, "late")) as told:
            await until_told(told, 1, "late")
    assert [came.type for came in receiver.came] == ["backup.started"] * 2 + ["backup.succeeded"] * 2
    assert receiver.came[0].notice == receiver.came[1].notice


async def test_the_log_has_a_line_of_each_notice_with_and_without_webhooks(store: SqliteStore, lines: StringIO) -> None:
    """Promise: a stable event with fields, once over restarts, by its own level; no webhook is needed for it."""
    error = {"code": "nodes_failed", "message": f"denied to {CANARY}", "todo": "t"}
    await happened(store, state=RequestState.ERROR, error=error, destinations=["d1"])
    for _ in range(2):
        async with telling(store):
            await until_logged(store)
    began, end = logged(lines)
    assert (began["type"], began["level"], end["type"], end["level"]) == (
        "backup.started",
        "info",
        "backup.failed",
        "warning",
    )
    assert (end["cluster"], end["request"], end["destinations"]) == ("main", "r1", ["d1"])
    assert end["error"]["code"] == "nodes_failed"
    assert "message" not in began


async def test_no_secret_is_logged_or_sent(store: SqliteStore, tmp_path: Path, lines: StringIO) -> None:
    """Promise: neither the webhook's secret, nor its URL, nor a store's secret that an error repeats, whatever goes
    wrong."""
    await happened(store, state=RequestState.ERROR, message=f"denied to {CANARY}")
    answers: list[Answer] = [500, CLOSE, (302, {"Location": "http://127.0.0.1:1/a-path-like-a-secret"})]
    async with Receiver(answers) as receiver:
        made = hook(tmp_path, receiver.url)
        async with telling(store, made) as told:
            assert (await until_told(told, 1)).failed == 3
    await happened(store, "r2")
    async with telling(store, made) as told:  # nobody listens any more
        state = await until(told, lambda state: state.failed > 0)
        assert "a-path-like-a-secret" not in state.last_error
        # It is counted before it is said.
        await until(told, lambda _: len(logged(lines, "a webhook was not told")) >= 4)
    said = lines.getvalue()
    for secret in (SECRET, SECRET.removeprefix("whsec_"), "a-path-like-a-secret", CANARY):
        assert secret not in said
    assert all(CANARY.encode() not in came.body for came in receiver.came)


async def test_who_cannot_be_told_of_backups_still_has_them(store: SqliteStore, lines: StringIO) -> None:
    """Promise: a fault in looking for what happened is logged, and keeps no coordinator from starting."""

    async def notes(cluster: str) -> Mapping[str, RetentionNote]:
        raise RuntimeError("a fault of ours")

    sources = Sources(["main"], notes, lambda cluster: [], 0.0)
    async with Telling(store, sources, [], asyncio.Event(), lambda: NOW, str, QUICK):
        pass
    assert "a fault of ours" in lines.getvalue()
