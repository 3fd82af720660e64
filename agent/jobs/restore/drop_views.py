"""DROP_VIEWS: the views on the asked tables go, after their CQL was written down durably. Fenced; on one node."""

from agent.jobs.restore.going_views import drop_of, note_going
from agent.jobs.restore.tools import RestoreTools, checked, refuse_after_import
from agent.model.job import JobContext, Outcome
from agent.wire.results import PhaseResult


class DropViewsJob:
    """See the module."""

    def __init__(self, tools: RestoreTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Drop the named views that are there, one statement at a time, agreement awaited after each.

        Raises `ViewsChanged` before the first when the tables have others.
        """
        arguments = checked(context.arguments)
        notes = self._tools.notes(context)
        refuse_after_import(notes)
        await self._tools.refuse_new_views(arguments, notes)
        going = await note_going(self._tools, notes, arguments.views)
        for view in going:
            await self._tools.change(context, notes, f"dropping {view.keyspace}.{view.name}", drop_of(view))
            await self._tools.settled()
        return Outcome(PhaseResult([f"{view.keyspace}.{view.name}" for view in going]))
