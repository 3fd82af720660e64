"""Starts lives of a small agent for crash tests: reads one JSON line per life, forks, waits, answers one JSON line.

A life opens the journal, takes up what is there, posts a copying command and prints how it ended; told so, it kills
itself with SIGKILL before or after the n-th change reaches the journal. Forking from this process, which has done its
imports and has no threads, makes a life cost milliseconds; each is a process of its own and dies a real death.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from agent.commands.journal import Journal
from agent.commands.records import CommandRecord, Decide
from agent.model.job import JobContext, Outcome
from agent.wire.commands import Event, Kind
from agent.wire.results import FreedResult
from kit.logs import Redactor, configure
from tests.fast.commands.tiny_agent import everything, restore, running, sync


class DyingJournal(Journal):
    """Kills its process before or after one change."""

    when, number = "never", 0

    def _pass(self, moment: str) -> None:
        if moment == "before":
            type(self).number -= 1
        if self.number == 0 and self.when == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    async def accept(self, command: CommandRecord, decide: Decide, event: Event) -> tuple[CommandRecord, bool]:
        self._pass("before")
        accepted = await super().accept(command, decide, event)
        self._pass("after")
        return accepted

    async def set_state(self, command: CommandRecord, event: Event | None, guard: Any = None) -> None:
        self._pass("before")
        await super().set_state(command, event, guard)
        self._pass("after")

    async def enter_stage(self, command: CommandRecord, data: Any | None, event: Event) -> None:
        self._pass("before")
        await super().enter_stage(command, data, event)
        self._pass("after")


class Copy:
    """Copies `source` to `target`, then publishes a list of the files; notes each copy in `work.log`."""

    def __init__(self, place: Path) -> None:
        self._place = place

    async def __call__(self, context: JobContext) -> Outcome:
        source, target = self._place / "source", self._place / "target"
        names = context.stages.recall("list")
        if names is None:
            names = sorted(path.name for path in source.iterdir())
            await context.stages.enter("list", names)
        target.mkdir(exist_ok=True)
        await context.stages.enter("copy")
        for name in names:
            if not (target / name).exists():
                with (self._place / "work.log").open("a") as log:
                    log.write(f"{name}\n")
                shutil.copy(source / name, target / f".{name}")
                (target / f".{name}").rename(target / name)
            context.tally.done("d", "k", name, 1, 1)
        await context.stages.enter("publish")
        (target / "published").write_text("\n".join(names))
        return Outcome(FreedResult(tags=names))


async def live(order: dict[str, Any]) -> dict[str, Any]:
    """One life, if it isn't cut short."""
    place = Path(order["place"])
    kind = Kind(order["kind"])
    DyingJournal.when, DyingJournal.number = order["when"], order["number"]
    arguments = sync() if kind is Kind.SYNC else restore()
    async with running(place / "j", everything(Copy(place)), instance=order["instance"], journal=DyingJournal) as agent:
        await agent.post("a", kind, arguments, job="j1")
        view = await agent.until("a")
        events = await agent.events.after(0)
    return {
        "state": view.state,
        "stage": view.stage,
        "tags": (view.result or {}).get("tags"),
        "error": (view.error or {}).get("code"),
        "ends": sum(event.state.terminal for event in events),
        "sequences": [event.sequence for event in events],
    }


def main() -> None:
    """Serve lives until the input ends."""
    configure("info", "console", Redactor())  # standard output is for the answers
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            ended = asyncio.run(live(json.loads(line)))
            os.write(writing, json.dumps(ended).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            told = answer.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps({"code": code, "ended": json.loads(told) if told else None}), flush=True)


if __name__ == "__main__":
    main()
