"""Nothing is imported under a materialized view: an import doesn't fill it. In: the tables that are imported into, and
the views that nodes tell of now. Out: nothing, or the refusal that names them."""

import asyncio

from agent.wire.node import KeyspaceView, Tables
from coordinator.orchestrate.errors import TablesUnseen, ViewsChanged
from coordinator.orchestrate.run import Run


async def refuse_views(run: Run, tables: Tables, hosts: list[str]) -> None:
    """Raises `ViewsChanged` when any node goes on seeing a view of the tables: one that has just started may tell of
    views that were dropped while it was away. `TablesUnseen`, which names `hosts`, when none sees its Cassandra for as
    long as nodes are waited for; `RequestCancelled`."""
    found, loop = await _standing(run, tables, hosts), asyncio.get_running_loop()
    until = loop.time() + run.around.timing.brief
    while found and loop.time() < until:
        run.stop_if_cancelled()
        await asyncio.sleep(run.around.timing.retry_pause)
        found = await _standing(run, tables, hosts)
    if found:
        raise ViewsChanged(
            f"The tables have materialized views, which an import doesn't fill: {', '.join(found)}", views=found
        )


async def _standing(run: Run, tables: Tables, hosts: list[str]) -> list[str]:
    """The views that any node sees now."""
    return sorted(
        {
            f"{keyspace}.{name}"
            for keyspaces in await _seen(run, hosts)
            for keyspace, asked in tables.items()
            if keyspace in keyspaces
            for name, base in keyspaces[keyspace].views.items()
            if base in asked
        }
    )


async def _seen(run: Run, hosts: list[str]) -> list[dict[str, KeyspaceView]]:
    """What the nodes see, each schema once: one whose schema is behind doesn't hide what another one sees."""
    around, loop = run.around, asyncio.get_running_loop()
    until = loop.time() + around.timing.agent_return
    while True:
        agents = await around.registry.refresh(run.cluster)
        reports = [agent.report for agent in agents if agent.cassandra_up and agent.report is not None]
        if reports:
            return [*{id(report.keyspaces): report.keyspaces for report in reports}.values()]
        if loop.time() >= until:
            raise TablesUnseen("No node tells now whether its tables have materialized views", hosts=hosts)
        run.stop_if_cancelled()
        await asyncio.sleep(around.timing.retry_pause)
