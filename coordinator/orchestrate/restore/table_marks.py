"""By what tables are known to be still those that were imported into. In: what nodes told then and tell now. Out: which
tables were dropped, made anew or truncated since."""

import asyncio

import msgspec

from agent.wire.node import NodeReport, Tables
from coordinator.fleet.errors import AgentRefused
from coordinator.fleet.registry import Agent
from coordinator.orchestrate.errors import TablesUnseen
from coordinator.orchestrate.run import Surroundings
from kit.errors import HelenusError

MOST_ASKED = 5
"""Nodes that are asked: every one has the same schema, and a TRUNCATE happens on all."""


MOST_ATTEMPTS = 3


class TableMarks(msgspec.Struct, frozen=True):
    """`ids`: keyspace → table → table id. `truncated_at`: host id → table id → when that node truncated it last, by
    its own clock; only nodes that tell stand in it."""

    ids: dict[str, dict[str, str]] = {}
    truncated_at: dict[str, dict[str, int]] = {}

    def changed(self, now: "TableMarks") -> list[str]:
        """The tables that are no longer what they were, each with what became of it, in words."""
        found = []
        for keyspace, tables in sorted(self.ids.items()):
            for table, known in sorted(tables.items()):
                live = now.ids.get(keyspace, {}).get(table)
                if live is None:
                    found.append(f"{keyspace}.{table} was dropped")
                elif live != known:
                    found.append(f"{keyspace}.{table} was made anew")
                elif any(_later(then, now.truncated_at.get(host), known) for host, then in self.truncated_at.items()):
                    found.append(f"{keyspace}.{table} was truncated")
        return found


async def table_marks(around: Surroundings, cluster: str, tables: Tables, hosts: list[str]) -> TableMarks:
    """The marks of the tables now, as some of the nodes tell them. A table that isn't there has none. Raises
    `TablesUnseen` when no node tells, but not because their agents are too old for the question."""
    for attempt in range(MOST_ATTEMPTS):
        if attempt:
            await asyncio.sleep(around.timing.retry_pause)
        agents = [agent for agent in around.registry.agents(cluster) if agent.host_id in hosts and agent.alive]
        answers = await asyncio.gather(*(_asked(agent) for agent in agents[:MOST_ASKED]))
        reports = [each for each in answers if isinstance(each, NodeReport) and each.node is not None]
        if any(report.truncated_at is not None for report in reports) or (answers and all(map(_too_old, answers))):
            break
    else:
        raise TablesUnseen("No node tells now whether its tables were truncated, dropped or made anew", hosts=hosts)
    ids: dict[str, dict[str, str]] = {}
    for report in reports:
        for keyspace, names in tables.items():
            live = report.keyspaces[keyspace].tables if keyspace in report.keyspaces else {}
            ids.setdefault(keyspace, {}).update({table: live[table] for table in names if table in live})
    wanted = {table for named in ids.values() for table in named.values()}
    truncated_at = {
        report.node.host_id: {table: at for table, at in report.truncated_at.items() if table in wanted}
        for report in reports
        if report.node is not None and report.truncated_at is not None
    }
    return TableMarks(ids, truncated_at)


async def _asked(agent: Agent) -> NodeReport | HelenusError:
    try:
        return await agent.client.node(truncations=True)
    except HelenusError as error:
        return error


def _too_old(answer: NodeReport | HelenusError) -> bool:
    """Whether an agent of an earlier release refuses the question, which it doesn't know."""
    return isinstance(answer, AgentRefused) and answer.agent_status < 500 and not answer.at_the_door


def _later(then: dict[str, int], now: dict[str, int] | None, table: str) -> bool:
    return now is not None and now.get(table, 0) > then.get(table, 0)
