"""Large bodies between the coordinator and many agents. In: calls that carry a ring, a plan or a record. Out: few of
them in memory at a time, and a plan that many agents answer kept once.

With 1,000 nodes of 256 tokens a node's report and a plan are 6 MB each, and every agent sends or takes one.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec

from agent.wire.backups import BackupView, Plan
from agent.wire.commands import CommandView
from coordinator.fleet.known_views import KnownViews

Answer = TypeVar("Answer")

AT_ONCE = 8
"""Bodies that are sent, read or decoded at a time: 50 MB of bytes with 1,000 nodes; as many listings and backups."""
VIEWS_AT_ONCE = 32
"""Commands that are looked at at a time: when a thousand nodes end a phase, each of their views counts every table."""
LARGE = 16 * 1024
"""Bytes from which on a body is decoded in a turn of the event loop of its own."""
PLANS_KEPT = 4
"""Plans of the last answers that others are compared with."""


class Bulk:
    """Shared by the clients of all agents. `turn`: entered while a large body is in memory; `backups`: while it is one
    that tells of backups. Those may take minutes, and agents that send them slowly keep no node's report waiting.
    `known`: the backups that were listed last."""

    def __init__(self) -> None:
        self.turn = asyncio.Semaphore(AT_ONCE)
        self.backups = asyncio.Semaphore(AT_ONCE)
        self.views = asyncio.Semaphore(VIEWS_AT_ONCE)
        self.known = KnownViews()
        self._decoding = asyncio.Lock()
        self._decoding_reports = asyncio.Lock()
        self._beginning = asyncio.Lock()
        self._plans: list[Plan] = []
        self._tables: list[object] = []

    async def begin(self) -> None:
        """Wait for one's turn to begin a call: one in each turn of the event loop. To begin a thousand at once would
        hold up all else for a second."""
        async with self._beginning:
            await asyncio.sleep(0)

    async def decoded(self, content: bytes, decode: Callable[[bytes], Answer], *, reported: bool = False) -> Answer:
        """What the body says. The event loop has its turn after each large one: several in a row would hold up all
        else. Those that are `reported` have turns of their own: when a thousand nodes end a phase, who looks at backups
        meanwhile doesn't stand behind them."""
        if len(content) < LARGE:
            return decode(content)
        async with self._decoding_reports if reported else self._decoding:
            try:
                return decode(content)
            finally:
                await asyncio.sleep(0)

    def with_known_plan(self, view: BackupView) -> BackupView:
        """The same view, its plan the very object of an earlier answer with an equal one."""
        if view.plan is None:
            return view
        for known in self._plans:
            if known == view.plan:
                return msgspec.structs.replace(view, plan=known)
        self._plans = [view.plan, *self._plans][:PLANS_KEPT]
        return view

    def with_known_tables(self, view: CommandView) -> CommandView:
        """The same view, the tables that its result names (a snapshot's) the very object of an earlier result that
        named the same: a thousand nodes have the same thousand tables."""
        tables = view.result.get("tables") if view.result is not None else None
        if not isinstance(tables, dict) or view.result is None:
            return view
        for known in self._tables:
            if known == tables:
                return msgspec.structs.replace(view, result={**view.result, "tables": known})
        self._tables = [tables, *self._tables][:PLANS_KEPT]
        return view
