"""Agents that refuse the coordinator's token. In: a command of a request that is sent, and what its agent refused it
with (of one that was taken `coordinator.fleet.reports` tells). Out: whether that is an error at once, or the trouble of
an agent that is waited for.

An agent that never took anything of the request shows a mistake in the settings, which no waiting mends. One that took
a command of it knew the token: somebody is changing it, agent by agent, and the request goes on when that is done. But
what is waited for without end once it may have been taken (it empties tables, or makes them) is not sent into that.
"""

import asyncio

from coordinator.fleet.errors import AgentRefused, TokenRefused
from coordinator.model.commands import PostedCommand
from coordinator.orchestrate.reactions import waited_for
from coordinator.orchestrate.run import Run


class LetIn:
    """The nodes whose agents took a command of the run's request, in this life of the coordinator or an earlier one."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._hosts: set[str] = set()
        self._reading = asyncio.Lock()
        """All agents may refuse at once: the first of them reads the commands for all."""

    async def trouble_of(self, command: PostedCommand, refused: AgentRefused) -> AgentRefused | TokenRefused:
        """`TokenRefused` when the agent doesn't let the coordinator in any more; else the refusal as it is."""
        if not refused.at_the_door or waited_for(command.kind):
            return refused
        return TokenRefused(refused) if await self._took_one(command.host_id) else refused

    async def _took_one(self, host_id: str) -> bool:
        async with self._reading:
            if host_id not in self._hosts:
                self._hosts = {each.host_id for each in await self._run.posted() if each.accepted}
            return host_id in self._hosts
