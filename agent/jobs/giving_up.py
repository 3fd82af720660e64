"""Takes an own snapshot away with all that is kept of it: in, its tag; out, what that freed.

    owed (durably) → files → snapshot → no longer owed

From the first step on the backup is not there for anybody; until the last one the debt is on disk. Whatever fails, or
ends the agent, in between: the loop of owed snapshots goes on with it.
"""

from agent.cassandra.protocol import Clearing, OwnSnapshot, Snapshots
from agent.repository.on_server import OnServer


async def give_up(tag: str, snapshots: Snapshots, on_server: OnServer) -> Clearing:
    """Raises what clearing the snapshot raises: then it is owed. A snapshot that isn't the agent's is left alone, and
    so are the files of another backup that only has the same tag."""
    own = await own_snapshot(snapshots, tag)
    if own is None:
        await on_server.forget(tag)
        await on_server.disown_debt(tag)
        return Clearing(0, 0)
    if await on_server.made_by(tag) not in (None, own.made_by):
        return await snapshots.clear(tag)
    await on_server.owe(tag, doomed=True)
    await on_server.forget(tag)
    cleared = await snapshots.clear(tag)
    await on_server.disown_debt(tag)
    return cleared


async def own_snapshot(snapshots: Snapshots, tag: str) -> OwnSnapshot | None:
    """The agent's own snapshot of that name, complete or not."""
    return next((one for one in await snapshots.ours() if one.tag == tag), None)
