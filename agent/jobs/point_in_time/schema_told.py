"""What the schema has to do with a restore to a point, for people. In: schemas at the point and now. Out: refusals,
warnings. Pure."""

from agent.cassandra.schema_compare import Schemas, replication_differs, views_on
from agent.jobs.point_in_time.point_errors import ViewsDisabled
from agent.wire.node import Tables


def views_refused(asked: Tables, then: Schemas, live: Schemas, *, enabled: bool) -> list[dict[str, object]]:
    """Views are dropped before the restore and made at its end: where they can't be made nothing is dropped."""
    views = sorted({f"{one.keyspace}.{one.name}" for one in [*views_on(asked, live), *views_on(asked, then)]})
    if enabled or not views:
        return []
    told = f"the tables have materialized views, and materialized_views_enabled is false: {', '.join(views)}"
    return [ViewsDisabled(told, views=views).as_dict()]


def replication_told(asked: Tables, then: Schemas, live: Schemas) -> list[str]:
    """A keyspace that is there keeps its replication; one that is made gets the point's."""
    warnings = [
        f"{keyspace} replicated as {_told(both[0])} at the point, and as {_told(both[1])} now: it stays as it is now"
        for keyspace, both in sorted(replication_differs(asked, then, live).items())
    ]
    gone = sorted(keyspace for keyspace in asked if keyspace in then and keyspace not in live)
    return warnings + [
        f"{keyspace} is not there and is made with the replication of the point, {_told(then[keyspace].replication)}: "
        "rights that were granted on it went with it"
        for keyspace in gone
    ]


def _told(replication: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(replication.items()))
