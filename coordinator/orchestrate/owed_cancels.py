"""Cancels that an agent didn't hear. In: commands that count as cancelled here although their agents did not answer.
Out: the agents are told as soon as they do, also by a later life of the coordinator.

An agent resumes what it was doing when it starts again: without this a cancelled restore would be fetched to its end,
and fill the disks with what nobody asks for any more.
"""

import asyncio

import msgspec
import structlog

from coordinator.fleet.each import on_each
from coordinator.fleet.errors import AgentRefused
from coordinator.model.commands import PostedCommand
from coordinator.orchestrate.answers import unheard
from coordinator.orchestrate.beside import Beside
from coordinator.orchestrate.run import Surroundings
from kit.errors import HelenusError

log = structlog.get_logger(__name__)


class OwedCancels(Beside):
    """Use as `async with OwedCancels(around)`: inside, they are told."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    async def _always(self) -> None:
        while True:
            try:
                await on_each(await self._around.store.commands.cancels_owed(), self._tell)
            except Exception:  # the store fails now, or worse: the next look is another one's
                log.exception("owed cancels can't be told", again_seconds=self._around.timing.owed_cancel)
            await asyncio.sleep(self._around.timing.owed_cancel)

    async def _tell(self, command: PostedCommand) -> None:
        request = await self._around.store.requests.get(command.request)
        if request is not None:
            try:
                agent = await self._around.registry.agent_of(request.cluster, command.host_id)
                await agent.client.cancel_command(command.id, force=request.cancel == "force")
            except AgentRefused as refused:
                if unheard(refused):
                    return
                # It never came there (404), has ended, or ends soon by itself (409): nothing is left to be stopped.
            except HelenusError:
                return
        await self._around.store.commands.put([msgspec.structs.replace(command, cancel_owed=False)])
        log.info("agent told of a cancel", command=command.id, phase=command.phase, node=command.address)
