"""Retention: in, the rules of each place, and the time; out, deletes of what they let go, one after the other.

A run at a place is due after each backup that ended well there, at a time of the day, when a person asks, and when one
was cut off; a new rule by itself is no reason. Each backup is judged by a listing taken right before its delete, so
that nothing a former life of the coordinator, or an earlier step of the run, believed lets one go; the delete itself is
a request like a person's, and ends like one. The deletes of one run but the last leave their space to the last one's
sweep.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
import structlog

from agent.wire.destinations import ON_SERVER
from coordinator.model.activity import ActivityQuery
from coordinator.model.errors import NoSuchBackup, NoSuchDestination, TagInUse
from coordinator.model.orders import DeleteOrder
from coordinator.model.requests import Request, RequestState
from coordinator.model.retention import RetentionNote, Verdict, ruled_places
from coordinator.orchestrate.beside import Beside
from coordinator.orchestrate.errors import RetentionFailed, foreseen
from coordinator.orchestrate.outcome import cause_of
from coordinator.orchestrate.retention.scene import ListBackups, RetentionScene
from coordinator.orchestrate.run import Surroundings
from kit.errors import HelenusError

log = structlog.get_logger(__name__)

DAY_SECONDS = 86_400.0
LONGEST_AGAIN = 6 * 3_600.0
"""Seconds between two runs of which the first failed, at most."""
NEWEST = 200
"""Backups that ended well among which new ones are looked for."""

StartDelete = Callable[[str, DeleteOrder], Awaitable[str]]


class Retention(Beside):
    """Use as `async with Retention(…)`: inside, runs that are due are carried out, one at a time. The collaborators are
    the orchestrator's `list_backups` and `start_delete`."""

    def __init__(self, around: Surroundings, list_backups: ListBackups, start_delete: StartDelete) -> None:
        self._around = around
        self._scene = RetentionScene(around, list_backups)
        self._start_delete = start_delete
        self._again: dict[tuple[str, str], tuple[float, float]] = {}
        """place of a cluster → when its failed run is tried again (monotonic), and the pause after that"""
        self._asked = asyncio.Event()
        self._asked_since_begun: set[tuple[str, str]] = set()
        """places of clusters of which a run was asked for after the last one began"""
        self._notes = asyncio.Lock()

    async def preview(self, cluster: str, place: str) -> list[Verdict]:
        """What a run would do now. Raises `NoSuchDestination`, `RetentionWaits`, `DamageUncounted`, and what a listing
        raises."""
        return await self._scene.verdicts(cluster, place)

    async def ask(self, cluster: str, place: str) -> None:
        """Have a run as soon as possible; durable when it returns. One that begins from now on will do."""
        self._asked_since_begun.add((cluster, place))
        await self._note(cluster, place, asked=True)
        self._again.pop((cluster, place), None)
        self._asked.set()

    async def notes(self, cluster: str) -> dict[str, RetentionNote]:
        """Place → how its last run went."""
        kept = await self._around.store.values.get(_name(cluster)) or {}
        return msgspec.convert(kept, dict[str, RetentionNote])

    async def _always(self) -> None:
        while True:
            self._asked.clear()
            try:
                for cluster in self._around.registry.clusters():
                    for place in ruled_places(await self._around.store.retention.of(cluster)):
                        await self._run_if_due(cluster, place)
            except Exception:  # the store fails now, or worse: the next look is another one's
                log.exception("retention can't look", again_seconds=self._around.timing.retention_look)
            try:
                async with asyncio.timeout(self._around.timing.retention_look):
                    await self._asked.wait()
            except TimeoutError:
                pass

    async def _run_if_due(self, cluster: str, place: str) -> None:
        at, pause = self._again.get((cluster, place), (0.0, self._around.timing.retention_again))
        if at > self._around.monotonic():
            return
        note = (await self.notes(cluster)).get(place)
        good = await self._good_backups(cluster, place)
        if note is None:
            # The first rule of a place: a person may still try it, and take it back, before anything goes by it.
            await self._note(cluster, place, ruled=self._around.clock(), after=good)
            return
        if not note.asked and not self._is_day(note) and not set(good) - set(note.after):
            return
        self._asked_since_begun.discard((cluster, place))
        await self._note(cluster, place, begun=self._around.clock(), asked=True, after=good)
        deleted: list[str] = []
        try:
            await self._run(cluster, place, deleted)
        except NoSuchDestination:
            return  # it was forgotten, and its rules with it
        except HelenusError as error:
            log.warning("retention failed", cluster=cluster, destination=place, again_seconds=pause, **error.as_dict())
            failed: HelenusError | None = error
        except Exception as error:
            log.exception("retention failed in an unforeseen way", cluster=cluster, destination=place)
            failed = foreseen(error)
        else:
            failed = None
        if failed is not None:
            self._again[cluster, place] = (self._around.monotonic() + pause, min(2 * pause, LONGEST_AGAIN))
            same = (note.error or {}).get("code") == failed.code and note.failed
            since = note.failed if same else self._around.clock()
            await self._note(cluster, place, deleted=deleted, error=failed.as_dict(), failed=since)
            self._around.news.set()
            return
        self._again.pop((cluster, place), None)
        log.info("retention is done", cluster=cluster, destination=place, deleted=deleted)
        again = (cluster, place) in self._asked_since_begun
        await self._note(cluster, place, ended=self._around.clock(), asked=again, deleted=deleted, error=None)
        self._around.news.set()

    async def _run(self, cluster: str, place: str, deleted: list[str]) -> None:
        """Delete what goes; `deleted` learns each tag. Raises what keeps it from that, once all others are tried."""
        failed: dict[str, dict[str, object]] = {}
        held: set[str] = set()

        def learn(tag: str, request: Request) -> None:
            if request.state is RequestState.SUCCESS:
                deleted.append(tag)
            elif request.state is RequestState.ERROR:
                failed[tag] = request.error or {}
            else:
                held.add(tag)  # a person called it back, for now

        for request in await self._scene.under_way(cluster, place):
            learn(request.tag or "", await self._ended(request.id))
        while True:
            verdicts = await self._scene.verdicts(cluster, place)
            going = [one for one in verdicts if one.goes and one.tag not in held and one.tag not in failed]
            if not going:
                break
            one = going[0]
            where = None if place == ON_SERVER else place
            order = DeleteOrder(one.tag, where, because=one.why, sweep=where is None or len(going) == 1)
            try:
                learn(one.tag, await self._delete(cluster, order))
            except (TagInUse, NoSuchBackup):
                held.add(one.tag)  # somebody needs it, or deletes it: the next run sees
            except HelenusError as error:
                failed[one.tag] = error.as_dict()  # keeps no other from going
        unswept = await self._scene.unswept(cluster, place)
        back = {one.tag for one in verdicts}  # a backup that was brought back since is judged like all others
        if unswept is not None and unswept.tag not in failed and unswept.tag not in back:
            with suppress(NoSuchBackup):  # a sweep came by already
                request = await self._delete(cluster, unswept)
                if request.state is RequestState.ERROR:
                    failed[unswept.tag] = request.error or {}
        if failed:
            told = "; ".join(f"{tag}: {cause_of(error)}" for tag, error in failed.items())
            raise RetentionFailed(f"retention could not delete {told}", backups=failed)

    async def _delete(self, cluster: str, order: DeleteOrder) -> Request:
        """The ended request of the delete."""
        request_id = await self._start_delete(cluster, order)
        log.info("retention deletes", cluster=cluster, tag=order.tag, destination=order.destination, why=order.because)
        return await self._ended(request_id)

    async def _ended(self, request_id: str) -> Request:
        while True:
            request = await self._around.store.requests.get(request_id)
            if request is not None and request.state is not RequestState.RUNNING:
                return request
            await asyncio.sleep(self._around.timing.retry_pause)

    async def _good_backups(self, cluster: str, place: str) -> list[str]:
        newest = ActivityQuery(newest_first=True, type="backup", successful=True, count=NEWEST)
        events = await self._around.store.requests.events(cluster, newest)
        return [event.request for event in events if event.destination["id"] == place and not event.rebuilt]

    def _is_day(self, note: RetentionNote) -> bool:
        """Whether the time of day has come by since the last run began, or the first rule was seen. A note of the
        future is of a clock that was wrong."""
        now = self._around.clock()
        of_day = (now - self._around.timing.retention_at) // DAY_SECONDS * DAY_SECONDS
        since = of_day + self._around.timing.retention_at
        return not any(since <= at <= now for at in (note.ruled, note.begun))

    async def _note(self, cluster: str, place: str, **changes: object) -> None:
        async with self._notes:
            notes = await self.notes(cluster)
            notes[place] = msgspec.structs.replace(notes.get(place, RetentionNote()), **changes)
            await self._around.store.values.put(_name(cluster), msgspec.to_builtins(notes))


def _name(cluster: str) -> str:
    """The named value that holds how the runs of a cluster's places went."""
    return f"retention of {cluster}"
