"""PIT_UNDO: the node has its old data again, from whatever point the restore was stopped at. Fenced; the same command
again finishes what was cut.

    stopping Cassandra  when it runs, and anything was set aside, placed or told to it; nobody starts it meanwhile
    putting back        the properties file first; then what came to the directories of the tables since is moved to
                        `undone`, and what was set aside is renamed back
    starting Cassandra  unless it is to stay down, or another restore has it; one that runs only lets clients in

What makes it safe: nothing is deleted or overwritten (agent/cassandra/set_aside.py), and whether a file was there
before is seen from the list in the notes and from where it is now, so that every cut leaves a state from which the same
steps lead to the end. Two things need care:

- The commit log. What Cassandra wrote there since it was started may be the only copy of writes to other tables: it
  stays, and is replayed. Segments that the restore gave back are moved out: replayed without a limit they could bring
  back what other tables have deleted since. What was set aside was drained, so that nothing needs it; it is put back
  only if Cassandra was not told to restore yet. After that Cassandra may have forgotten when the tables were truncated
  [X: CommitLogReplayer.construct], and replaying the old log would bring truncated rows back: it stays in `aside`, and
  its segments were archived, where archiving was ordered.
- Clients. Once PIT_OPEN, or somebody else, let them in, their writes would be lost: refused.
"""

import asyncio

from agent.cassandra.errors import CassandraError
from agent.cassandra.jvm_options import KEEP_DOWN
from agent.cassandra.live_directories import NodeFacts, live_directories
from agent.cassandra.set_aside import Aside, move_strangers, put_back, strangers
from agent.jobs.point_in_time.given_back import given_back
from agent.jobs.point_in_time.notes import FetchNotes
from agent.jobs.point_in_time.place_errors import RestoreOpened
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.jobs.point_in_time.place_tools import PlaceTools
from agent.jobs.point_in_time.restore_settings import put_back_properties
from agent.jobs.restart import watch_of
from agent.model.job import JobContext, Outcome
from agent.wire.point_in_time import PitArguments
from agent.wire.results import PhaseResult


class PitUndoJob:
    """See the module."""

    def __init__(self, tools: PlaceTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Raises `RestoreOpened`, `FilesAppeared`, `FilesVanished`, and what stopping and starting raise."""
        arguments: PitArguments = context.arguments
        notes = self._tools.notes(context)
        if await notes.opened():
            raise RestoreOpened(f"the job {notes.job} has let clients in on this node", job=notes.job)
        self._tools.refuse_when_late(context)
        told: list[str] = []
        warnings: list[str] = []
        facts = await notes.facts()
        if facts is not None and (await notes.plan() is not None or await notes.undoing()):
            if not await notes.undoing():
                await self._refuse_clients(notes)
            await self._tools.jvm.put(notes.job, [KEEP_DOWN])
            if await self._tools.service.alive():
                await context.stages.enter("stopping Cassandra")
                await self._tools.service.keep_down(watch_of(context))
            await self._tools.refuse_when_alive()
            await context.stages.enter("putting back")
            told = await self._put_back(notes, facts)
        await self._tools.jvm.remove(notes.job)  # also that of a start which PIT_STOP made
        if others := await self._tools.node.jvm.kept_down_by(but=notes.job):
            warnings.append(f"Cassandra is left as it is: that is up to the restore {', '.join(others)}")
        elif not arguments.leave:
            await context.stages.enter("starting Cassandra")
            await notes.forget_drained()
            await FetchNotes(self._tools.state, context.job).forget_covered()
            await self._tools.service.start(watch_of(context))
            if not await self._tools.orders.native_running():  # PIT_QUIESCE shut clients out
                await self._tools.orders.enable_native()
        return Outcome(PhaseResult(told, warnings))

    async def _refuse_clients(self, notes: PlaceNotes) -> None:
        """Raises `RestoreOpened` when the node runs with what was placed and lets clients in. One that doesn't answer
        is not asked twice."""
        if not await notes.started() or not await self._tools.service.alive():
            return
        try:
            open_ = await self._tools.orders.native_running()
        except CassandraError:
            return
        if open_:
            told = f"clients are let in to what the job {notes.job} restored, and PIT_OPEN did not let them in"
            raise RestoreOpened(told, job=notes.job)

    async def _put_back(self, notes: PlaceNotes, facts: NodeFacts) -> list[str]:
        await notes.put_undoing()
        plan = await notes.plan()
        told_to_restore = await notes.settings() is not None
        await put_back_properties(self._tools, notes, facts)
        moved: dict[str, int] = {}
        back: dict[str, int] = {}
        if plan is not None:  # else an earlier run has put all of it back: without the list nothing may be moved
            moved, back = await asyncio.to_thread(_exchange, facts, plan, told_to_restore)
        await notes.put_undone()
        return [f"{path}: {count} files put back" for path, count in sorted(back.items())] + [
            f"{path}: {count} files of the restore moved out" for path, count in sorted(moved.items())
        ]


def _exchange(facts: NodeFacts, plan: list[Aside], told_to_restore: bool) -> tuple[dict[str, int], dict[str, int]]:
    """Move out what is not the node's own, then put its own back: directory → files, of either."""
    tables = [live for live in live_directories(facts) if live.what == "table"]
    out = list(strangers(plan, tables))
    if told_to_restore:
        out += given_back(facts, plan)
    moved = move_strangers(out)
    returning = [one for one in plan if one.directory.what != "commitlog" or not told_to_restore]
    return moved, put_back(returning)
