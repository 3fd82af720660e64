"""Random kill loops on a real node: agent, coordinator, both or a nodetool die at random moments of backups, syncs,
restores, deletes and sweeps, in a directory, in S3 and on the server, again and again. After each request the oracles
are green, the rows are right, nothing is left behind. tests/long/seed.py says what is drawn and how to draw it again.
"""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from tests.cluster.crash_site import CrashSite
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import Service
from tests.cluster.stores import Seaweed
from tests.cluster.victims import nodetool_pids
from tests.long.seed import KILLS, SEED
from tests.oracle.checker import Oracle
from tests.oracle.reader import BucketReader

BUCKET = "loops"
NODETOOL_KILLED = "nodetool_killed"
NOT_THERE = {"agent_unreachable", "missing_nodes"}
"""Codes of a request whose agent died before it was told of it."""
VICTIMS = ("agent", "agent", "coordinator", "both", "nodetool")
VERBS = ("snapshot", "clearsnapshot", "import")
MOST_DEATHS = 3
"""Of one request: an import that is interrupted more often is left to a person."""
LONGEST = {"backup": 3.0, "keep": 2.0, "sync": 2.0, "restore": 8.0, "delete": 2.0}
"""Seconds after which a request of the kind is probably over."""

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120 + 60 * KILLS)]


@dataclass
class Place:
    """A destination, or the nodes themselves (no id): its backups that nobody has deleted, and who judges it."""

    id: str
    oracle: Oracle | None
    tags: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.id or "on the server"


@dataclass
class World:
    """The site and all its places; the last one is the server itself."""

    site: CrashSite
    places: list[Place]

    @property
    def server(self) -> Place:
        return self.places[-1]

    def full(self, least: int = 1) -> list[Place]:
        """The places with so many backups."""
        return [place for place in self.places if len(place.tags) >= least]


@dataclass(frozen=True)
class Order:
    """A request that was drawn. `tag`: of the backup that it is about, if that is there already."""

    kind: str
    place: Place
    tag: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.tag} {self.place}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    directory = tmp_path_factory.mktemp("loops")
    async with (
        Seaweed(directory / "seaweed") as store,
        ScratchCluster(directory / "cluster", nodes=1, name="loops", data_directories=2) as cluster,
        CrashSite(directory / "site", cluster) as site,
    ):
        await store.make_bucket(BUCKET)
        made = await site.ask("POST", "/backups/destinations", store.settings(BUCKET))
        await site.succeeded(made["request_id"])
        bucket = Place(str(made["destination_id"]["id"]), Oracle(BucketReader(store.client(), BUCKET)))
        yield World(site, [Place(site.place, site.oracle), bucket, Place("", None)])


async def test_whatever_dies_at_any_moment_every_request_ends_well(world: World) -> None:
    """The same request ends in success (or, where its nodetool was killed, says so and ends so when asked for again);
    oracles, rows, snapshots and staging after each."""
    site, rng = world.site, random.Random(SEED)
    await finish(world, Order("backup", world.places[0]), await post(site, Order("backup", world.places[0])))
    kills = 0
    while kills < KILLS:
        order = drawn(world, rng)
        if order.kind == "restore":
            await site.disaster()
        request = await post(site, order)
        nodetool_died = False
        for _ in range(rng.randint(1, MOST_DEATHS)):
            victim, pause = rng.choice(VICTIMS), rng.uniform(0, LONGEST[order.kind])
            await asyncio.sleep(pause)
            died = await kill(site, victim)
            print(
                f"{kills}: {order} {request}: {victim} after {pause:.3f} s {'' if died else '(none ran)'}", flush=True
            )
            kills += died
            nodetool_died |= died and victim == "nodetool"
        await finish(world, order, request, nodetool_died=nodetool_died)
        await site.settled()
        await site.all_is_well(kept=world.server.tags)
        for place in world.places:
            if place.oracle is not None:
                place.oracle.check(idle=True)


def drawn(world: World, rng: random.Random) -> Order:
    """A request that can be carried out now. One backup stays in each place, for restores."""
    kind = rng.choice(["backup", "keep", "restore", "restore", "sync", "delete"])
    if kind == "sync":
        places = [(place, tag) for place in world.places[:-1] for tag in world.server.tags if tag not in place.tags]
        if places:
            return Order(kind, *rng.choice(places))
    if kind == "delete" and (full := world.full(2)):
        place = rng.choice(full)
        return Order(kind, place, rng.choice(place.tags))
    if kind == "restore":
        place = rng.choice(world.full())
        return Order(kind, place, rng.choice(place.tags))
    return Order("keep", world.server) if kind == "keep" else Order("backup", rng.choice(world.places[:-1]))


async def post(site: CrashSite, order: Order) -> str:
    """The request that carries it out."""
    place, tag = order.place, order.tag
    match order.kind:
        case "backup":
            return await site.start_backup(destinations={place.id: {}})
        case "keep":
            return str(await site.ask("POST", "/backups/run", {"keyspaces": [site.keyspace]}))
        case "sync":
            return str(await site.ask("POST", "/backups/sync", {"tag": tag, "destinations": {place.id: {}}}))
        case "delete":
            if place.oracle is not None:
                place.oracle.deleted(tag)
            query = f"?tag={tag}" + (f"&destination={place.id}" if place.id else "")
            return str(await site.ask("DELETE", f"/backups{query}"))
        case _:
            body: dict[str, Any] = {"destination": place.id} if place.id else {}
            body["keyspaces"] = {site.keyspace: {"truncate": True}}
            return str(await site.ask("POST", f"/backups/restore/{tag}", body))


async def finish(world: World, order: Order, request: str, *, nodetool_died: bool = False) -> None:
    """See the request to its end and note what is there now. It is asked for again where its nodetool was killed, or
    where its agent was dead before it was settled who takes part and nobody was told anything, and it says so."""
    site, place = world.site, order.place
    status = await site.follow(request)
    if status["state"] == "error":
        reasons = {NODETOOL_KILLED} if nodetool_died else set()
        reasons |= NOT_THERE if await site.commands(job=request) == [] else set()
        assert any(reason in str(status["details"]) for reason in reasons), str(status)
        status = await site.follow(await post(site, order))
    assert status["state"] == "success", str(status)
    if order.kind == "delete":
        place.tags.remove(order.tag)
    elif order.kind != "restore":
        tag = order.tag or str(status["tag"])
        place.tags.append(tag)
        if place.oracle is not None:
            place.oracle.expect(tag, [str(part["host_id"]) for part in status["details"]["subrequests"].values()])


async def kill(site: CrashSite, victim: str) -> bool:
    """Whether anybody died."""
    if victim == "nodetool":
        died = 0
        for pid in [pid for verb in VERBS for pid in nodetool_pids(site.node, verb)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                died += 1
        return died > 0
    services: dict[str, list[Service]] = {"agent": [site.agent], "coordinator": [site.coordinator]}
    services["both"] = [*services["agent"], *services["coordinator"]]
    for service in services[victim]:
        await service.child.kill(group=False)
    for service in services[victim]:
        await service.start()
    return True
