"""Takes an own snapshot away with all that is kept of it: in, its tag.

    owed (durably) → files → snapshot → no longer owed

From the first step on the backup is not there for anybody; until the last one the debt is on disk. Whatever fails, or
ends the agent, in between: the loop of owed snapshots goes on with it. Only where the disk takes no debt is there none.
"""

import asyncio

import structlog

from agent.cassandra.protocol import Snapshots
from agent.model.own_state import StateFailed
from agent.repository.on_server import OnServer

_log = structlog.get_logger(__name__)


async def give_up(tag: str, snapshots: Snapshots, on_server: OnServer) -> None:
    """Raises what clearing the snapshot raises: then it is owed, unless the state's disk takes no debt. A snapshot that
    isn't the agent's is left alone, and so are the files of another backup that only has the same tag."""
    own = await snapshots.own(tag)
    if own is None:
        await on_server.forget(tag)
        await on_server.disown_debt(tag)
        return
    owns_files = await on_server.made_by(tag) in (None, own.made_by)
    # Without the snapshot the files are worth nothing; another backup's must not look as if it went.
    owed = await _owe(tag, on_server, doomed=owns_files)
    if owns_files:
        await on_server.forget(tag)
        if not owed:  # what went has made room for it
            await _owe(tag, on_server, doomed=True)
    await snapshots.clear(tag)
    await on_server.disown_debt(tag)


async def _owe(tag: str, on_server: OnServer, *, doomed: bool) -> bool:
    """Whether the debt is on disk. A full disk is no reason to clear nothing: Cassandra may need the room as well. A
    cancel comes out when it is there: who looks for the backup then finds what stays so."""
    writing = asyncio.ensure_future(on_server.owe(tag, doomed=doomed))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise
    except StateFailed as error:
        _log.warning("debt_not_written", tag=tag, reason=error.message)
        return False
    return True
