"""What every section of the API works with."""

from collections.abc import Callable, Mapping

import msgspec
from aiohttp import web

from agent.wire.destinations import ON_SERVER, Settings, secrets_of
from coordinator.access.passwords import Passwords
from coordinator.access.people import People, people_of
from coordinator.model.destinations import Destination
from coordinator.model.errors import NoSuchDestination
from coordinator.model.settings import AccessSettings
from coordinator.opscenter import quirks
from coordinator.orchestrate.protocol import ArchivingControl, Orchestrator, RetentionRuns, ScheduleControl
from coordinator.store.protocol import Store
from kit.logs import Redactor


class ClusterEntry(msgspec.Struct, frozen=True):
    """A configured cluster as the API shows it."""

    name: str
    agents: list[str]


class Api:
    """`clusters`: configured ones by id. `clock` gives unix seconds, `new_id` an id nobody had.
    `redactor` learns the destinations' secrets, so that no log line shows them. `floor`: that of a rule of retention
    which doesn't say one. `people`: users and their logins, none = by the default settings."""

    def __init__(
        self,
        clusters: Mapping[str, ClusterEntry],
        store: Store,
        orchestrator: Orchestrator,
        retention: RetentionRuns,
        archiving: ArchivingControl,
        schedules: ScheduleControl,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        redactor: Redactor,
        floor: int = 1,
        people: People | None = None,
    ) -> None:
        self.clusters = clusters
        self.store = store
        self.orchestrator = orchestrator
        self.retention = retention
        self.archiving = archiving
        self.schedules = schedules
        self.floor = floor
        self.people = people or people_of(store, AccessSettings(), clock, Passwords(), others_administer=False)
        self.clock = clock
        self.new_id = new_id
        self._redactor = redactor
        self._names = {cluster: entry.name for cluster, entry in clusters.items()}

    def keep_secret(self, settings: Settings) -> None:
        """From now on no log line shows the secrets of these settings."""
        for secret in secrets_of(settings).values():
            self._redactor.add(secret)

    def cluster(self, request: web.Request) -> str:
        """The id of the cluster that the path names. Raises `NoSuchCluster`."""
        return quirks.find_cluster(self._names, request.match_info["cluster"])

    async def destination(self, cluster: str, destination_id: str) -> Destination:
        """The destination. Raises `NoSuchDestination`."""
        found = await self.store.destinations.get(cluster, destination_id)
        if found is None:
            raise NoSuchDestination(quirks.shown(destination_id))
        return found

    async def place(self, cluster: str, value: object, field: str = "destination") -> str | None:
        """The destination that an optional parameter names: its id, which exists, or None = on the nodes. An empty one
        is refused: taken for «on the nodes» it would delete or restore another copy than was meant."""
        if value is None or value == ON_SERVER:
            return None
        if value == "":
            raise quirks.refuse(
                field, f"is empty: give a destination's id, or {ON_SERVER} (or leave it out) for what is on the nodes"
            )
        return (await self.destination(cluster, quirks.as_destination_id(value, field))).id
