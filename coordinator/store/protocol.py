"""What the coordinator remembers: the one interface of its durable state, whatever keeps it.

Every write is durable when the call returns. An implementation is safe for concurrent tasks of one event loop.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from coordinator.model.access import Change, Session, User
from coordinator.model.activity import ActivityEvent, ActivityQuery
from coordinator.model.commands import PostedCommand
from coordinator.model.destinations import Destination
from coordinator.model.leading import Lease
from coordinator.model.notices import Waiting
from coordinator.model.requests import NodePart, Request, RequestKind, RequestState
from coordinator.model.retention import KeptRule
from coordinator.model.schedules import Schedule

Hold = Callable[[], Awaitable[None]]
"""Returns at once while one may write, and never afterwards."""
EVERYTHING = ActivityQuery()
"""The whole log, oldest first."""


PARTS = ("requests", "commands", "destinations", "retention", "schedules", "users", "sessions", "values", "outbox")
"""Of a store; all but the record of the lead."""


class Requests(Protocol):
    """Requests, their durable steps, and the activity log that goes with them."""

    async def claim_tag(self, cluster: str, backup_id: str, at: int) -> tuple[str, int]:
        """A tag that no backup of the cluster was given, and its time: `at` (unix seconds), or the next free second."""
        ...

    async def create(self, request: Request, events: Sequence[ActivityEvent] = ()) -> None:
        """Keep a new request and its events, all or nothing. The same id again changes nothing."""
        ...

    async def get(self, request_id: str) -> Request | None:
        """The request, or None."""
        ...

    async def find(
        self,
        *,
        cluster: str | None = None,
        kind: RequestKind | None = None,
        state: RequestState | None = None,
        tag: str | None = None,
    ) -> list[Request]:
        """Requests that match, oldest first."""
        ...

    async def ended_since(self, since: float) -> list[Request]:
        """Requests whose `finished` is `since` (unix seconds) or later, oldest first."""
        ...

    async def update(self, request: Request) -> None:
        """Replace the request as it stands; one that has ended already stays as it is. A `cancel` that is kept
        stays."""
        ...

    async def finish(
        self,
        request: Request,
        parts: Sequence[NodePart] = (),
        events: Sequence[ActivityEvent] = (),
        forget: Sequence[str] = (),
    ) -> None:
        """Replace the request by its terminal form, with its nodes' parts and events, and without the destinations
        `forget` (ids) of its cluster, all or nothing. Of a request that has ended already nothing is changed."""
        ...

    async def ask_cancel(self, request_id: str, *, force: bool) -> Request | None:
        """Note that a person wants it stopped, if it still runs; the request as it is then, None if unknown."""
        ...

    async def drop_cancel(self, request_id: str, cancel: str) -> None:
        """Forget that a person wants it stopped, if it still runs and no more was asked than this `cancel`."""
        ...

    async def parts(self, request_id: str) -> list[NodePart]:
        """The nodes' parts of an ended request; empty while it runs."""
        ...

    async def kept_parts(self, request_id: str) -> list[bytes]:
        """The same, each as `coordinator.store.kept_parts` packs it, for whoever needs one at a time."""
        ...

    async def step(self, request_id: str, name: str) -> dict[str, Any] | None:
        """What was recorded of a step, None = it has not been recorded."""
        ...

    async def record_step(self, request_id: str, name: str, data: dict[str, Any]) -> None:
        """Record a step, or replace its record."""
        ...

    async def record_steps(self, request_id: str, steps: Mapping[str, dict[str, Any]]) -> None:
        """Record several steps by name, or replace their records, all or nothing."""
        ...

    async def events(self, cluster: str, query: ActivityQuery = EVERYTHING) -> list[ActivityEvent]:
        """A page of the cluster's activity, without a query all of it, oldest first. Empty when the query's `first` is
        none of it."""
        ...

    async def events_of(self, request_id: str) -> list[ActivityEvent]:
        """The request's own entries in the activity log."""
        ...

    async def mark_deleted(self, cluster: str, tag: str, destination: str, at: int) -> None:
        """Note in the activity log that the backup was deleted at the destination (OPSC_ON_SERVER = on the nodes)."""
        ...


class Commands(Protocol):
    """Commands posted to agents. Written before they are sent."""

    async def put(self, commands: Sequence[PostedCommand]) -> None:
        """Keep new commands or replace them as they stand, all or nothing."""
        ...

    async def get(self, command_id: str) -> PostedCommand | None:
        """The command, or None."""
        ...

    async def of(self, request_id: str) -> list[PostedCommand]:
        """The request's commands in the order of their first put."""
        ...

    async def cancels_owed(self) -> list[PostedCommand]:
        """Every command whose agent is still to be told that it is cancelled."""
        ...

    async def next_fence(self, job: str, above: int = 0) -> int:
        """The job's next fence: 1, 2, 3, …, and higher than `above`; durable before it is returned."""
        ...


class Destinations(Protocol):
    """Destinations with their secrets: kept where only the service's user reads."""

    async def get(self, cluster: str, destination_id: str) -> Destination | None:
        """The destination, or None."""
        ...

    async def all(self, cluster: str) -> list[Destination]:
        """The cluster's destinations, oldest first."""
        ...

    async def put(self, destination: Destination) -> None:
        """Keep it, or replace an older revision; a revision older than the kept one changes nothing."""
        ...

    async def remove(self, cluster: str, destination_id: str) -> bool:
        """Forget it; False if it was not there."""
        ...


class Retention(Protocol):
    """Rules of retention. Those of a destination go with its settings; an id that had a rule of its own there retains
    all when the same repository is added anew."""

    async def of(self, cluster: str, destination: str | None = None) -> list[KeptRule]:
        """The cluster's rules, or those of one place of it, by place and backup id."""
        ...

    async def put(self, rules: Sequence[KeptRule]) -> None:
        """Keep the rules, each in the place of a former one, all or nothing. One for every id that retains all is none:
        the former one goes. One of an id that does is kept: the wider one must not take its place."""
        ...


class Schedules(Protocol):
    """Schedules of backups, with what is decided of each."""

    async def of(self, cluster: str) -> list[Schedule]:
        """The cluster's schedules, oldest first."""
        ...

    async def get(self, cluster: str, schedule_id: str) -> Schedule | None:
        """The schedule, or None."""
        ...

    async def put(self, schedule: Schedule, rules: Sequence[KeptRule] = ()) -> bool:
        """Keep a new one (version 1), or replace the one whose version is one less, and the rules with it; False, and
        nothing is changed, when another version is kept, or none."""
        ...

    async def remove(self, cluster: str, schedule_id: str) -> bool:
        """Forget it; False if it was not there. In the same transaction its id retains all, at each place of its job
        and wherever it had a rule."""
        ...


class Values(Protocol):
    """Small named values that live longer than a request (a cluster's changes of destinations under way)."""

    async def get(self, name: str) -> Any:
        """The JSON value, None if never put."""
        ...

    async def put(self, name: str, value: Any) -> None:
        """Keep the JSON value."""
        ...


class Outbox(Protocol):
    """Notices for each hook, in the order in which they were put. One that is done (told, or given up) is remembered
    for a while, so that it isn't put again."""

    async def put(self, waiting: Sequence[Waiting]) -> None:
        """Keep those whose notice's id isn't known for their hook, done or not, all or nothing; others change
        nothing."""
        ...

    async def first(self, hook: str) -> Waiting | None:
        """The oldest one of the hook that isn't done."""
        ...

    async def done(self, hook: str, notice_id: str) -> None:
        """It isn't handed out any more."""
        ...

    async def postpone(self, hook: str, notice_id: str, tries: int, next_try: float) -> None:
        """Note how often it was tried, and when it is to be tried again (unix seconds)."""
        ...

    async def waiting(self) -> dict[str, int]:
        """Hook → how many are not done; hooks without any may be left out."""
        ...

    async def keep_newest(self, hook: str, count: int) -> int:
        """All but the newest `count` of those that are not done become done; how many did."""
        ...

    async def prune(self, before: float, hooks: Collection[str]) -> None:
        """Forget what was put before then (unix seconds), but for what isn't done of these hooks."""
        ...


class Users(Protocol):
    """Who may log in. What one coordinator wrote counts for all at their next call."""

    async def any(self) -> bool:
        """Whether there is a user at all, disabled or not."""
        ...

    async def get(self, name: str) -> User | None:
        """The user, or None."""
        ...

    async def all(self) -> list[User]:
        """Every user, by name."""
        ...

    async def add(self, user: User) -> bool:
        """Keep a new user; False if the name is taken, and nothing is changed."""
        ...

    async def replace(self, former: User, user: User | None, *, admin_stays: bool) -> Change:
        """Put `user`, of the same name, in the place of `former`, or remove it (None), if it is still as `former` says;
        with `admin_stays` only if a user that administers is left. Judged and done in one step: of two that would each
        leave the other as the last one, one is refused."""
        ...


class Sessions(Protocol):
    """Logins, accepted by every coordinator of this state."""

    async def get(self, key: str) -> Session | None:
        """The session, over or not, or None."""
        ...

    async def put(self, session: Session) -> None:
        """Keep a new one. Those that ended before it began may go."""
        ...

    async def saw(self, key: str, at: float) -> None:
        """Note that it was used (unix seconds); one that is gone stays gone."""
        ...

    async def remove(self, key: str) -> None:
        """Forget it."""
        ...


class LeadRecord(Protocol):
    """Who of several coordinators leads: one record of the whole state. What one of them kept counts for all. Errors
    leave open whether it was done; the next call sees it done, or it is done later or never."""

    async def get(self) -> Lease | None:
        """The lease as every coordinator sees it now, None if there never was one."""
        ...

    async def swap(self, former: Lease | None, lease: Lease) -> bool:
        """Keep the lease if what is kept is still `former`; False, and nothing is changed, if it isn't."""
        ...


class Store(Protocol):
    """The coordinator's durable state."""

    @property
    def requests(self) -> Requests: ...

    @property
    def commands(self) -> Commands: ...

    @property
    def destinations(self) -> Destinations: ...

    @property
    def retention(self) -> Retention: ...

    @property
    def schedules(self) -> Schedules: ...

    @property
    def users(self) -> Users: ...

    @property
    def sessions(self) -> Sessions: ...

    @property
    def values(self) -> Values: ...

    @property
    def outbox(self) -> Outbox: ...

    @property
    def lead(self) -> LeadRecord | None:
        """None: a state that only one coordinator has, which needs no lead."""
        ...

    def kept_on(self) -> frozenset[str]:
        """Host ids of the Cassandra cluster that holds it; none: it is in a file."""
        ...

    def during(self, hold: Hold) -> AbstractAsyncContextManager["Store"]:
        """The same state for one time of leading: where a write may wait or is tried again, `hold` is awaited before
        each attempt. When the context ends nothing of it is being written any more."""
        ...

    async def prune(self, now: float) -> None:
        """Forget what is too old at `now` (unix seconds) to be kept; nothing of what runs."""
        ...

    async def close(self) -> None:
        """Finish what is being written and let go of the files."""
        ...
