"""DROP_VIEWS: the views on the asked tables go, after their CQL was written down durably. Fenced; on one node."""

from agent.cassandra.cql_text import quote
from agent.cassandra.schema_compare import views_on
from agent.jobs.restore_tools import RestoreTools, checked, refuse_after_import
from agent.model.job import JobContext, Outcome
from agent.wire.results import PhaseResult


class DropViewsJob:
    """See the module."""

    def __init__(self, tools: RestoreTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Drop the named views that are there, one statement at a time, agreement awaited after each."""
        arguments = checked(context.arguments)
        notes = self._tools.notes(context)
        await refuse_after_import(notes)
        node = self._tools.node
        schemas = await self._tools.live(sorted(arguments.views))
        live = views_on({keyspace: list(schema.columns) for keyspace, schema in schemas.items()}, schemas)
        going = [view for view in live if view.name in arguments.views.get(view.keyspace, ())]
        await notes.put_views(going)
        for view in going:
            await context.stages.enter(f"dropping {view.keyspace}.{view.name}")
            # Last of all: a process that stood still before it must find that its time has passed.
            await refuse_after_import(notes)
            self._tools.refuse_when_late(context)
            await node.cql.change(f"DROP MATERIALIZED VIEW IF EXISTS {quote(view.keyspace)}.{quote(view.name)}")
            await node.agreement.settled(node.settings.cql.agreement_seconds)
        return Outcome(PhaseResult([f"{view.keyspace}.{view.name}" for view in going]))
