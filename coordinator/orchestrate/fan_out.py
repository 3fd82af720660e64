"""One phase on many nodes: arguments per node in, exactly one outcome per node out, across restarts.

Commands have deterministic ids and are journalled before they are posted, so a coordinator that was killed anywhere
posts the same again and no agent does anything twice.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Container, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from agent.wire.commands import NOT_REPEATED, Kind, PostCommand, State
from coordinator.fleet.each import on_each
from coordinator.fleet.errors import AgentMisbehaved, AgentRefused, AgentUnreachable
from coordinator.fleet.registry import Agent
from coordinator.model.commands import PostedCommand
from coordinator.orchestrate.answers import Answered, answered, ended, failed, passing, target_errors, unheard
from coordinator.orchestrate.errors import OutcomeUnknown, PastThePointOfReturn, RequestCancelled
from coordinator.orchestrate.in_turn import InTurn
from coordinator.orchestrate.let_in import LetIn
from coordinator.orchestrate.point_in_time.phases import STARTS_CASSANDRA, WITHOUT_CASSANDRA
from coordinator.orchestrate.reactions import reaction_to, waited_for
from coordinator.orchestrate.restore.phases import Answer, Trouble, trouble_of
from coordinator.orchestrate.restore.sent_once import NO_AGENT, SentOnce, hopeless_from, least_silence
from coordinator.orchestrate.run import Run
from coordinator.orchestrate.side_by_side import begun, one_error, set_when, unless
from coordinator.orchestrate.steady import Steady
from coordinator.orchestrate.telling import interrupted, told_as, waits_for_its_node
from kit.errors import HelenusError
from kit.groups import TaskGroup

MOST_ATTEMPTS = 10
"""Of one command on one node, whatever goes wrong."""

MOST_REPAIRS = 3
GIVEN_UP = frozenset({AgentUnreachable.code, AgentMisbehaved.code, OutcomeUnknown.code})
"""Codes of commands that were waited for as long as one waits: another attempt would wait as long again."""

Repair = Callable[[Agent, dict[str, Any]], Coroutine[Any, Any, bool]]
"""Given the agent and the error: True when the cause was mended and another attempt is worth it."""

OnEnd = Callable[[Answered], Awaitable[None]]
"""Told of a node's end as soon as it is known, while others are still at it."""


class FanOut:
    """Asks nodes to do phases of one request. `job` and `fence`: of a restore; `import_begun`: an import of the job has
    begun, and from then on a node's trouble ends nothing for the others; `sent`: its notes of what may happen once
    only."""

    def __init__(
        self,
        run: Run,
        *,
        job: str | None = None,
        fence: int = 0,
        import_begun: bool = False,
        force: bool = False,
        repair: Repair | None = None,
        sent: SentOnce | None = None,
    ) -> None:
        self._run = run
        self._around = run.around
        self._job = job
        self._fence = fence
        self._import_begun = import_begun
        self._force = force
        self._repair = repair
        self._sent = sent
        self._let_in = LetIn(run)

    async def ask(
        self,
        phase: str,
        kind: Kind,
        arguments: Mapping[str, msgspec.Struct],
        *,
        undoing: bool = False,
        on_end: OnEnd | None = None,
        at_once: int = 0,
    ) -> dict[str, Answered]:
        """Do a phase on every host id of `arguments`, `at_once` of them (0 = all), and wait for all (the barrier).

        Raises `RequestCancelled` after the nodes' commands were cancelled and have ended. While `undoing` a cancel is
        not looked at, and nodes that don't answer are given up sooner. What keeps the coordinator itself from going on
        (its store fails) comes out as one `HelenusError`, never as a group. A node that fails for good ends the phase
        early for the others where the table of phases says «abort».
        """
        if not undoing:
            self._run.stop_if_cancelled()
        if not arguments:
            return {}
        first = [await self._prepared(host, phase, kind, data, 1) for host, data in sorted(arguments.items())]
        await self._run.put([command for command, new in first if new])
        abandon = asyncio.Event()
        answers: dict[str, Answered] = {}
        turns = InTurn(at_once, self._run.retrying, abandon)

        async def one(command: PostedCommand, new: bool) -> None:
            async with turns.of(command) as came:
                sent = (came and not abandon.is_set()) or not new
                answer = await (self._drive(command, abandon, undoing) if sent else self._unsent(command))
            answers[command.host_id] = answer
            if on_end is not None:
                await on_end(answer)
            code = str((answer.error or {}).get("code", ""))
            if not answer.ok and self._aborts(kind, code):
                abandon.set()

        with one_error():
            async with TaskGroup() as group:
                workers = await begun(group, (one(*each) for each in first))
                if not undoing:
                    watch = group.create_task(set_when(self._run.cancelled, abandon))
                    await asyncio.wait(workers)
                    watch.cancel()
        if not undoing and not all(answer.ok for answer in answers.values()):
            self._run.stop_if_cancelled()
        return answers

    def _aborts(self, kind: Kind, code: str) -> bool:
        """Whether a node's error, once its retries are used up, ends the restore for all."""
        if self._job is None or self._import_begun:
            return False
        return reaction_to(kind, code).then is Answer.ABORT

    async def cancel_posted(self, sparing: Container[str] = ()) -> None:
        """Cancel what was posted for the request and has no end yet: an earlier life of the coordinator posted it, or
        this one broke off. What an agent doesn't hear is owed to it. `sparing`: phases that are wanted all the same."""
        posted = await self._around.store.commands.of(self._run.request.id)
        for command in posted:
            self._hint(command)
        unwanted = [each for each in posted if not each.state.terminal and each.phase not in sparing]
        told = await on_each(unwanted, self._tell_cancel)
        await self._run.put([self._cancelled(command, owed=True) for command, answer in told if unheard(answer)])

    async def _drive(self, command: PostedCommand, abandon: asyncio.Event, undoing: bool) -> Answered:
        """Attempts on one node until one ends well or the reactions are used up."""
        for attempt in range(1, MOST_ATTEMPTS + 1):
            command = await self._attempt(command, abandon, undoing)
            answer = answered(command)
            if answer.ok or command.state is State.CANCELLED or abandon.is_set():
                return answer
            following = self._id(command.phase, command.host_id, attempt + 1)
            if await self._around.store.commands.get(following) is None and not await self._again(
                command, attempt, abandon
            ):
                return answer
            command = await self._next(command, attempt + 1)
        return answered(command)

    async def _unsent(self, command: PostedCommand) -> Answered:
        """The end of a command that no life of the coordinator has sent."""
        command = self._cancelled(command, owed=False)
        await self._run.put([command])
        return answered(command)

    async def _again(self, command: PostedCommand, attempt: int, abandon: asyncio.Event) -> bool:
        error = command.error or {}
        code = str(error.get("code", ""))
        if self._repair is not None and attempt <= MOST_REPAIRS:
            with suppress(*NO_AGENT):
                agent = await self._around.registry.agent_of(self._run.cluster, command.host_id)
                mended = [await self._repair(agent, each) for each in [error, *target_errors(command)]]
                if any(mended):
                    return True
        if command.state is State.PARTIAL:
            return False
        if code == "tag_in_use" and error.get("retry") == "later":
            return await unless(abandon, asyncio.sleep(self._around.timing.retry_pause)) and attempt < MOST_ATTEMPTS
        reaction = reaction_to(command.kind, code)
        if code in GIVEN_UP or attempt > reaction.retries:
            return False
        if reaction.patient and trouble_of(code) is not Trouble.OTHER:
            returned = asyncio.Event()
            until = self._around.clock() + self._around.timing.agent_return
            self._run.retrying[command.id] = waits_for_its_node(command, until)
            try:
                return await unless(abandon, self._returned(command, returned)) and returned.is_set()
            finally:
                self._run.retrying.pop(command.id, None)
        return True

    async def _returned(self, command: PostedCommand, returned: asyncio.Event) -> None:
        """Set `returned` once the node's agent answers, and sees its Cassandra if the command needs that; give up after
        the configured time."""
        with suppress(TimeoutError, *NO_AGENT):
            async with asyncio.timeout(self._around.timing.agent_return):
                while True:
                    agent = await self._around.registry.agent_of(self._run.cluster, command.host_id)
                    await self._around.registry.ask(self._run.cluster, agent)
                    ready = agent.alive if command.kind in WITHOUT_CASSANDRA | STARTS_CASSANDRA else agent.cassandra_up
                    if ready and agent.host_id in (None, command.host_id):
                        returned.set()
                        return
                    await asyncio.sleep(self._around.timing.retry_pause)

    async def _attempt(self, command: PostedCommand, abandon: asyncio.Event, undoing: bool) -> PostedCommand:
        """One command to its terminal state, recorded durably."""
        if command.state.terminal:
            return command
        if self._sent is not None and waited_for(command.kind):
            await self._sent.about_to_send(command)
        settled = asyncio.create_task(self._settle(command, undoing))
        stop = asyncio.create_task(abandon.wait())
        try:
            await asyncio.wait({settled, stop}, return_when=asyncio.FIRST_COMPLETED)
            told = settled.done() or await self._cancel(command, settled)
            if settled.cancelled():
                command = self._cancelled(command, owed=not told)
            else:
                command = await settled
        finally:
            for task in (settled, stop):
                task.cancel()
            await asyncio.gather(settled, stop, return_exceptions=True)
        await self._run.put([command])
        return command

    async def _settle(self, command: PostedCommand, undoing: bool) -> PostedCommand:
        """Post the command and wait for its end; trouble on the way becomes its error."""
        clock, now = self._around.clock, Steady(self._around.clock, self._around.monotonic)
        lost_since: float | None = None
        while True:
            trouble: HelenusError
            try:
                agent = await self._around.registry.agent_of(self._run.cluster, command.host_id)
            except NO_AGENT as nobody:
                trouble = nobody
            else:
                try:
                    if not command.accepted:
                        view = await agent.client.post_command(self._post(command))
                        lost_since = None
                        command = msgspec.structs.replace(command, accepted=True, agent=agent.url)
                        await self._run.put([command])
                        if view.state.terminal:
                            return await self._told(ended(command, view))
                    what = told_as(command, self._run.request)
                    self._around.reports.name(agent.url, command.id, command.kind, what)
                    view = await self._around.reports.wait(
                        agent.client, command.id, partial(self._gives_up, command, undoing, now)
                    )
                    return await self._told(ended(command, view))
                except AgentRefused as refused:
                    if command.accepted and refused.agent_status == 404:
                        # The agent lost its state. What may be repeated is posted again; the rest must be looked at.
                        if command.kind in NOT_REPEATED:
                            return await self._told(failed(command, interrupted(command), clock(), State.INTERRUPTED))
                        command = msgspec.structs.replace(command, accepted=False)
                        continue
                    trouble = await self._let_in.trouble_of(command, refused)
                    if not (passing(trouble) or (command.accepted and waited_for(command.kind))):
                        command = failed(command, trouble.as_dict(), clock())
                        return command if lost_since is not None else await self._told(command)
                except (AgentUnreachable, AgentMisbehaved) as lost:
                    if command.accepted:  # waited for as long as one waits
                        return self._given_up(command, lost)
                    trouble = lost
            if not isinstance(trouble, AgentRefused):
                self._around.reports.lose(command.agent, command.id, trouble.as_dict())
            lost_since = lost_since or now()
            if self._gives_up(command, undoing, now, now() - lost_since):
                return self._given_up(command, trouble)
            await asyncio.sleep(self._around.timing.retry_pause)

    async def _told(self, command: PostedCommand) -> PostedCommand:
        """The command, of whose end its agent has told: nobody need wait for that any more."""
        if self._sent is not None and waited_for(command.kind):
            await self._sent.ended(command)
        return command

    def _gives_up(self, command: PostedCommand, undoing: bool, now: Steady, lost: float) -> bool:
        """Whether a node is given up that hasn't answered for `lost` seconds. One that may be truncating or changing
        the schema never is, but by force, of the order or of a cancel, or while undoing, and then not before its
        deadline and the margin (design §4), whatever the clock was set to before."""
        timing = self._around.timing
        if not waited_for(command.kind):
            brief = undoing and command.kind is not Kind.PIT_UNDO  # without which a node stays stopped
            return lost >= (min(timing.brief, timing.agent_return) if brief else timing.agent_return)
        if not (undoing or self._force or self._run.request.cancel == "force"):
            return False
        return now() >= hopeless_from(command, timing) and lost >= least_silence(timing)

    def _given_up(self, command: PostedCommand, trouble: HelenusError) -> PostedCommand:
        """The command, failed. Its agent goes on with it by itself once it is back: of a restore that ends for it (and
        is undone), and of a script, nobody wants that, and the agent is owed the cancel."""
        now = self._around.clock()
        if not waited_for(command.kind):
            ends = command.kind is Kind.SCRIPT or self._aborts(command.kind, AgentUnreachable.code)
            return msgspec.structs.replace(failed(command, trouble.as_dict(), now), cancel_owed=ends)
        unknown = OutcomeUnknown(
            f"The agent of {command.address} was lost during {command.phase}; whether it was done is not known",
            node=command.address,
            host_id=command.host_id,
            phase=command.phase,
            cause=trouble.as_dict(),
        )
        return failed(command, unknown.as_dict(), now)

    def _cancelled(self, command: PostedCommand, *, owed: bool) -> PostedCommand:
        error = RequestCancelled(f"{command.phase} on {command.address} was cancelled").as_dict()
        command = failed(command, error, self._around.clock(), State.CANCELLED)
        return msgspec.structs.replace(command, cancel_owed=owed)

    async def _cancel(self, command: PostedCommand, settled: "asyncio.Task[PostedCommand]") -> bool:
        """Ask the agent to stop the command and give it time to end. False: it couldn't be asked, and may go on."""
        try:
            try:
                await self._tell_cancel(command)
            except AgentRefused as refused:
                if refused.agent_code != PastThePointOfReturn.code:
                    raise
                # Work that can't be broken off ends soon by itself.
            async with asyncio.timeout(self._around.timing.cancel):
                await asyncio.shield(settled)
        except (HelenusError, TimeoutError) as trouble:
            if settled.done():
                return True
            known = not (isinstance(trouble, AgentRefused) and trouble.agent_status == 404)
            heard = not unheard(trouble)
            reason = getattr(trouble, "message", "the agent did not end the command in time")
            if known:
                later = "" if heard else "; it is told as soon as it answers"
                self._run.warn(f"{command.phase} on {command.address} could not be cancelled: {reason}{later}")
            settled.cancel()
            await asyncio.gather(settled, return_exceptions=True)
            if not known:
                # The post may have been on its way just then.
                try:
                    await self._tell_cancel(command)
                except HelenusError as again:
                    heard = not unheard(again)
            return heard
        return True

    async def _tell_cancel(self, command: PostedCommand) -> None:
        agent = await self._around.registry.agent_of(self._run.cluster, command.host_id)
        await agent.client.cancel_command(command.id, force=self._run.request.cancel == "force")

    def _post(self, command: PostedCommand) -> PostCommand:
        return PostCommand(
            id=command.id,
            kind=command.kind,
            arguments=msgspec.Raw(msgspec.json.encode(command.arguments)),
            job=self._job,
            phase=command.phase,
            fence=max(command.fence, self._fence),
            not_after=command.not_after,
        )

    async def _prepared(
        self, host_id: str, phase: str, kind: Kind, arguments: msgspec.Struct, attempt: int
    ) -> tuple[PostedCommand, bool]:
        """The journalled command, or a new one (then True)."""
        known = await self._around.store.commands.get(self._id(phase, host_id, attempt))
        if known is not None:
            self._hint(known)
            return known, False
        return self._new(host_id, phase, kind, msgspec.to_builtins(arguments), attempt), True

    def _hint(self, command: PostedCommand) -> None:
        """An agent whose Cassandra is down says no host id: an earlier life knew which one it is."""
        if command.agent:
            self._around.registry.hint(self._run.cluster, command.host_id, command.agent, command.address)

    async def _next(self, failed: PostedCommand, attempt: int) -> PostedCommand:
        known = await self._around.store.commands.get(self._id(failed.phase, failed.host_id, attempt))
        if known is None:
            known = self._new(failed.host_id, failed.phase, failed.kind, failed.arguments, attempt)
            await self._run.put([known])
        return known

    def _new(self, host_id: str, phase: str, kind: Kind, arguments: dict[str, Any], attempt: int) -> PostedCommand:
        now = self._around.clock()
        cluster = self._run.cluster
        agent = self._around.registry.known(cluster, host_id)
        return PostedCommand(
            id=self._id(phase, host_id, attempt),
            request=self._run.request.id,
            agent=agent.url if agent is not None else "",
            host_id=host_id,
            address=self._around.registry.address_of(cluster, host_id),
            phase=phase,
            kind=kind,
            arguments=arguments,
            fence=self._fence,
            posted=now,
            # By the clock of who compares it.
            not_after=now + self._around.timing.fence + (agent.skew if agent is not None else 0.0)
            if kind in NOT_REPEATED
            else None,
        )

    def _id(self, phase: str, host_id: str, attempt: int) -> str:
        return str(uuid.uuid5(uuid.UUID(self._run.request.id), f"{phase}/{host_id}/{attempt}"))
