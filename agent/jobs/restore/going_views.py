"""The views that a restore drops before anything else. In: their names, the live schema. Out: their CQL, noted durably
before the first is dropped, and the statement that drops one."""

from agent.cassandra.cql_text import quote
from agent.cassandra.schema_compare import views_on
from agent.jobs.restore.notes import RestoreNotes
from agent.jobs.restore.tools import RestoreTools
from agent.wire.node import Tables
from agent.wire.results import ViewCql


async def note_going(tools: RestoreTools, notes: RestoreNotes, views: Tables) -> list[ViewCql]:
    """Those of the named views that are there. Raises what the node's answers raise, `StateFailed`."""
    schemas = await tools.live(sorted(views))
    live = views_on({keyspace: list(schema.columns) for keyspace, schema in schemas.items()}, schemas)
    going = [view for view in live if view.name in views.get(view.keyspace, ())]
    await notes.put_views(going)
    return going


def drop_of(view: ViewCql) -> str:
    """The statement; one that is gone is fine."""
    return f"DROP MATERIALIZED VIEW IF EXISTS {quote(view.keyspace)}.{quote(view.name)}"
