"""What the agent's own log says of commands. In: a command's record when its job begins and when it has ended. Out: one
line each, for who looks at the node itself: what the coordinator is told otherwise stands nowhere there.
"""

import structlog

from agent.commands.records import CommandRecord
from agent.wire.commands import State

log = structlog.get_logger(__name__)

_WELL = frozenset({State.SUCCESS, State.CANCELLED})


def tell_begin(record: CommandRecord, *, resumed: bool) -> None:
    """Its job begins, or goes on after an earlier process."""
    log.info("a command goes on" if resumed else "a command begins", **_about(record))


def tell_end(record: CommandRecord) -> None:
    """It has ended: a warning with code and message unless it went well or a person ended it. `seconds` since its job
    began first; without them it never began."""
    told = _about(record)
    if record.started is not None and record.finished is not None:
        told["seconds"] = round(max(0.0, record.finished - record.started), 1)
    if record.state in _WELL:
        log.info(f"a command ended: {record.state.value}", **told)
        return
    error = record.error or {}
    log.warning(f"a command ended: {record.state.value}", **told, code=error.get("code"), reason=error.get("message"))


def _about(record: CommandRecord) -> dict[str, object]:
    named = {"command": record.id, "kind": record.kind.value, "tag": record.tag, "job": record.job}
    return {name: value for name, value in named.items() if value is not None}
