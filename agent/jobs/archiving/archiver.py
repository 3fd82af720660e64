"""What the daemon does all the time for the node's commit log. In: the order, the directories. Out: segments in every
destination, and off the node; what is known of it all (agent.jobs.archiving.standing).

Once a second it looks at both directories; nothing else is the truth, so that nothing depends on having been told of a
change (a look is one listing of some tens of names: watching for changes would save nothing and could miss some). Each
destination ships by itself. What goes wrong is told, and tried again at the next look.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from agent.cassandra.commit_log.errors import ArchivingRefused, NotTaken, SegmentUnreadable
from agent.cassandra.commit_log.first_write import holds_writes
from agent.cassandra.errors import CassandraError
from agent.jobs.archiving.copies import Copies
from agent.jobs.archiving.errors import ArchiveCopyDiffers, ArchiveUnread
from agent.jobs.archiving.ledger import Ledger
from agent.jobs.archiving.leftovers import Leftovers
from agent.jobs.archiving.looking import Look, SeenFile, look
from agent.jobs.archiving.node_logs import KeptSegments, OwnLog
from agent.jobs.archiving.node_side import NodeSide
from agent.jobs.archiving.order import ArchivingOrder, OrderFile
from agent.jobs.archiving.places import Places
from agent.jobs.archiving.removal import removable, remove
from agent.jobs.archiving.seeing import Sights
from agent.jobs.archiving.tail import Tail, refusal_of
from agent.jobs.schema_history.kept import KeptHistory
from agent.model.commit_log import SchemaRecord
from agent.model.own_state import own_state
from agent.pipeline.segments import SegmentBytes
from agent.plan.segment_names import segment_id
from agent.repository.opened import Repositories
from agent.storage.threads import MakeWorkers, Workers
from kit.errors import HelenusError

EVERY_SECONDS = 1.0
_NODE_EVERY = 5.0
_LEFTOVERS_EVERY = 10.0
_THREADS = 4
_log = structlog.get_logger(__name__)


class Archiver:
    """Runs as long as the agent does. `clock`: unix seconds."""

    def __init__(
        self,
        state: Path,
        node: NodeSide,
        repositories: Repositories,
        clock: Callable[[], float],
        *,
        workers: MakeWorkers = Workers,
        every: float = EVERY_SECONDS,
    ) -> None:
        self.node = node
        self.orders = OrderFile(state)
        self.ledger = Ledger(state)
        self.seen = Look({}, {}, frozenset(), 0)
        self.trouble: HelenusError | None = None
        self.is_told = False
        self.answers = False
        """Whether Cassandra answered when it was last asked."""
        self.tail_refused = ""
        self._generation = 0
        self._clock = clock
        self._every = every
        self._workers = workers(_THREADS, "segments")
        self._sights = Sights(self.ledger)
        self._copies = Copies()
        self.places = Places(repositories, SegmentBytes(self._workers, clock), self.ledger, lambda: self.seen)
        self.leftovers = Leftovers(node, self.ledger, self._sights, clock)
        self._tail = Tail(self.ledger, self._workers, clock)
        self._held: dict[str, tuple[SeenFile, bool]] = {}
        self.kept = KeptSegments(self.looked, lambda: self.ledger.known, self._schemas)
        self.history: KeptHistory | None = None
        self._look_at_schema: Callable[[], Awaitable[None]] | None = None
        self._next: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self.orders.load()
        self.ledger.load()

    @property
    def order(self) -> ArchivingOrder | None:
        """What was ordered last."""
        return self.orders.current

    def wants(self, destination_id: str) -> bool:
        """Whether segments go to the destination, or are still to."""
        order = self.order
        if order is None or all(one.target.destination != destination_id for one in order.arguments.targets):
            return False
        mine = [one for one in self.places if one.target.target.destination == destination_id]
        return order.arguments.enabled or any(one.pending() for one in mine)

    def wake(self) -> None:
        """The order changed."""
        self._wake.set()

    async def run(self) -> None:
        """Look for ever."""
        try:
            while True:
                await self._look_once()
                self._wake.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._every):
                        await self._wake.wait()
        finally:
            await self.places.close()
            await self._workers.close()

    async def _look_once(self) -> None:
        try:
            await self.turn()
            self._trouble(self._seen_trouble(self.seen))
        except HelenusError as error:
            self._trouble(error)
        except Exception:  # noqa: BLE001 - none of this may end the daemon
            _log.exception("commit_log_archiving_in_trouble")

    def _seen_trouble(self, seen: Look) -> HelenusError | None:
        if seen.unread:
            return ArchiveUnread(seen.unread)
        if false := seen.false:
            return ArchiveCopyDiffers([false[name].path for name in sorted(false, key=segment_id)])
        return self._not_taken(seen)

    def _not_taken(self, seen: Look) -> NotTaken | None:
        """That the archive directory leaves segments where they are, while they are to go there."""
        order = self.order
        waiting = self.leftovers.waiting(seen)
        if order is None or not order.arguments.enabled or not waiting:
            return None
        directory, reason = order.arguments.directory, self.leftovers.refused or "the archive command failed"
        told = f"{len(waiting)} closed segment{'s' * (len(waiting) > 1)}, {sum(file.size for file in waiting):,} bytes"
        first = waiting[0].path.name
        return NotTaken(f"{directory} has not taken {told}, from {first} on: {reason}", path=directory, reason=reason)

    def _trouble(self, error: HelenusError | None) -> None:
        if error is not None and (self.trouble is None or self.trouble.code != error.code):
            _log.warning("commit_log_archiving_in_trouble", code=error.code, reason=error.message)
        self.trouble = error

    async def turn(self) -> None:
        """Look, and do what is due. Raises a HelenusError."""
        order = self.order
        if order is None:
            return
        async with self._turn:
            if self._due("node", _NODE_EVERY):
                await self._ask_node()
            await self._see(order)
            await self.places.follow(order.arguments.targets)
            self.places.wake()
            await self._free(order)
            if order.arguments.tail_seconds and self._due("tail", order.arguments.tail_seconds):
                await self._take_tails()
            if self._runs_told(order) and self._due("leftovers", _LEFTOVERS_EVERY):
                await self._leftovers(order)
            await self.ledger.save()
            await self.leftovers.forget(self.seen)

    async def _ask_node(self) -> None:
        """Who the node is, and where its log is: what was last known counts while it doesn't answer."""
        try:
            life = await self.node.life()
            host_id = life.host_id
            commitlog = await self.node.commitlog()
            mode = await self.node.setting("commitlog_disk_access_mode")
        except CassandraError:
            self.answers = False
            return
        self.answers, self._generation = True, life.generation
        self.tail_refused = await asyncio.to_thread(refusal_of, self.seen, mode)
        if (host_id, commitlog) != (self.ledger.known.host_id, self.ledger.known.commitlog):
            self.ledger.change(host_id=host_id, commitlog=commitlog)

    async def _see(self, order: ArchivingOrder) -> None:
        with own_state():
            seen, held, self.is_told = await asyncio.to_thread(self._read, order)
        self.seen = seen
        newest = max(map(segment_id, seen.live), default=0)
        in_force = order.arguments.enabled and self.is_told and newest >= order.told_at * 1000
        if not seen.live:  # Cassandra is down, or its directory isn't known yet
            in_force = self.ledger.known.in_force and order.arguments.enabled
        for loss in self._sights.see(seen, held, self.ledger.known.host_id, in_force, self._clock()):
            _log.error(
                "commit_log_gap",
                after=loss.after,
                before=loss.before,
                since=loss.since,
                until=loss.until,
                reason=loss.reason,
            )

    def _runs_told(self, order: ArchivingOrder) -> bool:
        """Whether the Cassandra whose directory was seen was told to archive, whether it can or not."""
        newest = max(map(segment_id, self.seen.live), default=0)
        return self.ledger.known.in_force or (order.arguments.enabled and newest >= order.told_at * 1000)

    def looked(self) -> Look:
        """The directories as they are now. Blocks. Raises OSError."""
        order = self.order
        archives, mark = ((), None) if order is None else (order.directories, self._mark(order))
        failed, offered, differing = self.node.failed(), self.node.offered(), self.node.differing()
        seen = look(self.ledger.known.commitlog, archives, failed, mark, offered, self._own_marks())
        return self._copies.told_apart(seen, differing)

    def _mark(self, order: ArchivingOrder) -> str | None:
        """What the archive directory's mark must say, "" = no matter; None while archiving is off: nothing is to go
        there any more. An order of before there were marks has none, and the archive command wants one all the same."""
        return order.mark or self.ledger.known.host_id if order.arguments.enabled else None

    def _own_marks(self) -> set[str]:
        """What a mark of this node may say, of host ids that it had before too; none while it isn't known."""
        known, order = self.ledger.known, self.order
        if not known.host_id or order is None:
            return set()
        return {known.host_id, order.mark, *(one.host_id for one in known.segments.values())}

    def own_log(self, is_down: Callable[[], Awaitable[bool]]) -> OwnLog:
        """All of the log that is on the node."""
        return OwnLog(self.looked, lambda: self.ledger.known, self._schemas, is_down)

    async def archive(self, segment: Path) -> None:
        """Archive one segment of a Cassandra that is down, as it would itself at its start; nothing where archiving is
        not ordered: nobody will look for it, and its directory may be gone. Raises ArchivingRefused."""
        order = self.order
        if order is None or not order.arguments.enabled:
            return
        if reason := await self.leftovers.archive_one(segment, order.arguments.directory):
            raise NotTaken(
                f"{segment.name} can't be put into the archive directory: {reason}",
                path=order.arguments.directory,
                reason=reason,
            )

    async def before_stop(self) -> None:
        """Archive what the archive command left: at its next start Cassandra tries it once more, and then deletes it.
        So it does with what it is stopped with, which has to have a place too. Raises ArchiveUnread, ArchivingRefused,
        StateFailed."""
        order = self.order
        if order is None or not order.arguments.enabled:
            return
        seen = await self._look()
        # What is stopped goes to the present directory: a former one that is away keeps no node from a restart.
        if seen.present_unread:
            raise ArchiveUnread(seen.present_unread)
        for file in self.leftovers.waiting(seen):
            await self.archive(file.path)

    async def refuse_unarchived(self) -> None:
        """Raises, while archiving is on, ArchiveUnread where an archive directory, be it a former one, can't be read,
        ArchiveCopyDiffers where other bytes keep a segment of Cassandra's out of it, ArchivingRefused where one waits
        for whatever else (the directory is full), and StateFailed. Archives nothing itself."""
        order = self.order
        if order is None or not order.arguments.enabled:
            return
        seen = await self._look()
        if seen.unread:
            raise ArchiveUnread(seen.unread)
        if kept_out := seen.kept_out(order.arguments.directory):
            raise ArchiveCopyDiffers(kept_out)
        if not_taken := self._not_taken(seen):
            raise not_taken

    async def _look(self) -> Look:
        with own_state():
            return await asyncio.to_thread(self.looked)

    def keep_history(self, history: KeptHistory, look: Callable[[], Awaitable[None]]) -> None:
        """Where the schema's history is kept on the node, and what has it reach to now."""
        self.history, self._look_at_schema = history, look

    async def _schemas(self) -> Sequence[SchemaRecord]:
        if self.history is None or self._look_at_schema is None:
            return []
        await self._look_at_schema()
        return await self.history.records()

    def _read(self, order: ArchivingOrder) -> tuple[Look, dict[str, bool], bool]:
        """Blocks."""
        seen = self.looked()
        held = {}
        for name, file in {**seen.live, **seen.archived}.items():
            known = self._held.get(name)
            # A first write may leave the modification time as it was (a mapped page that was not written out yet): what
            # is in Cassandra's directory is read until it holds writes, and once more when it is archived.
            if known is None or (not known[1] and (known[0] != file or name not in seen.archived)):
                known = file, _held_data(file.path, name in seen.archived)
            self._held[name] = known
            held[name] = known[1]
        self._held = {name: self._held[name] for name in held}
        directory = order.arguments.directory
        return seen, held, bool(directory) and self.node.is_told(directory)

    async def _free(self, order: ArchivingOrder) -> None:
        if order.arguments.keep:
            return
        files = removable(self.ledger.known, self.seen, self.places.names)
        if files:
            await self.ledger.save()
            await remove(files)

    async def _take_tails(self) -> None:
        if self.tail_refused or not self.ledger.known.in_force:
            return
        for source in await self._tail.sources(self.seen):
            for shipper in self.places:
                shipper.tails[source.name] = source
        self.places.wake()

    async def _leftovers(self, order: ArchivingOrder) -> None:
        directory, mark = order.arguments.directory, self._mark(order)
        if not self.is_told and mark:
            with suppress(ArchivingRefused):  # the view says that it is lost
                await self.node.mend(directory, "" if order.mark else mark)
        self.leftovers.watch(self.seen)
        await self.ledger.save()  # once it is archived, nothing on the disk tells that Cassandra leaves it
        if await self.leftovers.archive(self.seen, directory):
            self._wake.set()
        await self.leftovers.clean(directory)
        if not self.answers:
            return
        for loss in await self.leftovers.tidy(self.seen, self._generation):
            _log.error("commit_log_gap", after=loss.after, before=loss.before, since=loss.since, until=loss.until)

    def _due(self, what: str, every: float) -> bool:
        """Whether it is time for it again."""
        now = asyncio.get_running_loop().time()
        if now < self._next.get(what, 0.0):
            return False
        self._next[what] = now + every
        return True


def _held_data(path: Path, closed: bool) -> bool:
    """Whether there is a write in the file. A header that can't be read is being made; of a closed one nobody can say
    that it is empty."""
    try:
        return holds_writes(path)
    except SegmentUnreadable:
        return closed
