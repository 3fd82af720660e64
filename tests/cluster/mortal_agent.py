"""The real agent, but for its death: it kills itself (and its children) with SIGKILL when a chosen stage is durable.

`HELENUS_DIES_AT=<kind>:<stage>` names the moment: the journal has just written that a command of that kind enters that
stage, or, with `accepted` or a state's name, that it was accepted or reached that state. `<kind>:<stage>:before` dies
just before the write; `<kind>:<stage>:stop` doesn't die but stands still (SIGSTOP) after it, until SIGCONT. An empty
variable lets it live.
"""

import os
import signal
import sys
from typing import Any

from agent.commands.journal import Journal
from agent.commands.records import CommandRecord, Decide, Guard
from agent.daemon.agent import Making
from agent.daemon.main import run
from agent.wire.commands import Event
from tests.cluster.recorded_agent import recorder

VARIABLE = "HELENUS_DIES_AT"


class FatalJournal(Journal):
    """Dies at the moment that the environment names; the first one that comes."""

    async def accept(self, command: CommandRecord, decide: Decide, event: Event) -> tuple[CommandRecord, bool]:
        """See `Journal.accept`."""
        _perhaps(command, "accepted", before=True)
        accepted = await super().accept(command, decide, event)
        _perhaps(command, "accepted", before=False)
        return accepted

    async def set_state(self, command: CommandRecord, event: Event | None, guard: Guard | None = None) -> None:
        """See `Journal.set_state`."""
        _perhaps(command, command.state.value, before=True)
        await super().set_state(command, event, guard)
        _perhaps(command, command.state.value, before=False)

    async def enter_stage(self, command: CommandRecord, data: Any | None, event: Event) -> None:
        """See `Journal.enter_stage`."""
        _perhaps(command, command.stage, before=True)
        await super().enter_stage(command, data, event)
        _perhaps(command, command.stage, before=False)


def _perhaps(command: CommandRecord, moment: str, *, before: bool) -> None:
    wanted = f"{command.kind.value}:{moment}{':before' if before else ''}"
    if not before and os.environ.get(VARIABLE) == f"{wanted}:stop":
        del os.environ[VARIABLE]  # once
        os.kill(os.getpid(), signal.SIGSTOP)
    if os.environ.get(VARIABLE) == wanted:
        os.killpg(os.getpgid(0), signal.SIGKILL)  # nodetool's JVM with it, where it is in this group


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], Making(journal=FatalJournal, application=recorder(sys.argv[1:]).record)))
