"""The real coordinator, but for its death: it kills itself with SIGKILL at a chosen durable write.

`HELENUS_COORDINATOR_DIES_AT` names the moment: `created` (a request was made; its reply was not given yet), `posted
<phase>` (commands of the phase are journalled, none is sent), `accepted <phase>` (an agent has accepted one), `ended
<phase>` (one reached its end), `step <name>`, `finished`, `noticed` (notices are in the outbox), `told <hook>` (a hook
took one; `.log` is the log). `before ` in front of it dies just before the write. An empty variable lets it live.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from coordinator.main import main
from coordinator.model.activity import ActivityEvent
from coordinator.model.commands import PostedCommand
from coordinator.model.notices import Waiting
from coordinator.model.requests import NodePart, Request
from coordinator.store.database import Database
from coordinator.store.sqlite import SqliteStore
from coordinator.store.sqlite_commands import SqliteCommands
from coordinator.store.sqlite_outbox import SqliteOutbox
from coordinator.store.sqlite_requests import SqliteRequests

VARIABLE = "HELENUS_COORDINATOR_DIES_AT"


class FatalCommands(SqliteCommands):
    """Dies around the writes of commands."""

    async def put(self, commands: Sequence[PostedCommand]) -> None:
        """See `protocol.Commands.put`."""
        moments = {f"{_stand(command)} {command.phase}" for command in commands}
        _perhaps(moments, before=True)
        await super().put(commands)
        _perhaps(moments, before=False)


class FatalRequests(SqliteRequests):
    """Dies around the writes of requests and their steps."""

    async def create(self, request: Request, events: Sequence[ActivityEvent] = ()) -> None:
        """See `protocol.Requests.create`."""
        _perhaps({"created"}, before=True)
        await super().create(request, events)
        _perhaps({"created"}, before=False)

    async def record_steps(self, request_id: str, steps: Mapping[str, dict[str, Any]]) -> None:
        """See `protocol.Requests.record_steps`; single ones come here too."""
        moments = {f"step {name}" for name in steps}
        _perhaps(moments, before=True)
        await super().record_steps(request_id, steps)
        _perhaps(moments, before=False)

    async def finish(
        self,
        request: Request,
        parts: Sequence[NodePart] = (),
        events: Sequence[ActivityEvent] = (),
        forget: Sequence[str] = (),
    ) -> None:
        """See `protocol.Requests.finish`."""
        _perhaps({"finished"}, before=True)
        await super().finish(request, parts, events, forget)
        _perhaps({"finished"}, before=False)


class FatalOutbox(SqliteOutbox):
    """Dies around the writes of notices."""

    async def put(self, waiting: Sequence[Waiting]) -> None:
        """See `protocol.Outbox.put`."""
        _perhaps({"noticed"}, before=True)
        await super().put(waiting)
        _perhaps({"noticed"}, before=False)

    async def done(self, hook: str, notice_id: str) -> None:
        """See `protocol.Outbox.done`."""
        _perhaps({f"told {hook}"}, before=True)
        await super().done(hook, notice_id)
        _perhaps({f"told {hook}"}, before=False)


class FatalStore(SqliteStore):
    """The store with the fatal parts."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.commands: FatalCommands = FatalCommands(database)
        self.requests: FatalRequests = FatalRequests(database)
        self.outbox: FatalOutbox = FatalOutbox(database)


def _stand(command: PostedCommand) -> str:
    if command.state.terminal:
        return "ended"
    return "accepted" if command.accepted else "posted"


def _perhaps(moments: set[str], *, before: bool) -> None:
    if os.environ.get(VARIABLE, "") in {f"before {moment}" if before else moment for moment in moments}:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], FatalStore))
