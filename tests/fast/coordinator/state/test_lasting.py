"""The state for work that waits: calls are made again until there is an answer."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from coordinator.model.settings import StateSettings
from coordinator.opscenter.errors import error_answer
from coordinator.store.cassandra.driver import mapped
from coordinator.store.cassandra.errors import Refused, StoreUnreachable, Unanswered
from coordinator.store.database import StoreFailed
from coordinator.store.lasting import lasting
from coordinator.store.migrations import MIGRATIONS
from coordinator.store.protocol import Store
from coordinator.store.sqlite import FILE, SqliteStore
from tests.cluster.troubled_database import Troubled


class Site:
    """A store in trouble, and the same for work that waits."""

    def __init__(self, database: Troubled) -> None:
        self.database = database
        self.over = False
        self.store: Store = SqliteStore(database)
        self.lasting = lasting(self.store, "work", 0.001, lambda: self.over)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    database = await Troubled.open(tmp_path / FILE, MIGRATIONS)
    assert isinstance(database, Troubled)
    made = Site(database)
    yield made
    await made.store.close()


async def test_a_call_waits_for_the_state(site: Site) -> None:
    """Promise: a write and a look are made again until they are answered, and give what the state gives."""
    site.database.trouble = StoreUnreachable("away")
    calls = asyncio.gather(site.lasting.commands.next_fence("job", above=4), site.lasting.values.get("none"))
    async with asyncio.timeout(20):
        while site.database.refused < 6:  # noqa: ASYNC110 - the refusals are plain facts
            await asyncio.sleep(0.001)
        assert not calls.done()
        site.database.trouble = None
        assert [*await calls] == [5, None]


async def test_it_is_told_once_for_all_that_waits(site: Site) -> None:
    """Promise: however many calls of some work wait, and however often they are made again, the log has a line about
    it, and not one for each."""
    site.database.trouble = StoreUnreachable("away")
    with structlog.testing.capture_logs() as lines:
        calls = asyncio.gather(site.lasting.values.put("a", 1), *(site.lasting.commands.of(str(n)) for n in range(9)))
        async with asyncio.timeout(20):
            while site.database.refused < 100:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.001)
            site.database.trouble = None
            await calls
    assert [(line["event"], line["work"]) for line in lines] == [("work waits for the state", "work")]


async def test_work_that_is_over_waits_for_nothing(site: Site) -> None:
    """Promise: what is cancelled and still asks the state comes to its end."""
    site.database.trouble = StoreUnreachable("away")
    waiting = asyncio.create_task(site.lasting.values.put("a", 1))
    async with asyncio.timeout(20):
        while not site.database.refused:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)
        site.over = True
        with pytest.raises(StoreUnreachable):
            await waiting


async def test_other_trouble_is_told(site: Site) -> None:
    """Promise: a full disk or a damaged state isn't waited for here: its error comes out as it is."""
    site.database.trouble = StoreFailed("the disk is full")
    async with asyncio.timeout(20):
        with pytest.raises(StoreFailed, match="full"):
            await site.lasting.values.put("a", 1)


def test_people_are_told_when_to_ask_again() -> None:
    """Promise: while the state is away the API says 503 with Retry-After; of an error that stays it doesn't."""
    assert error_answer(StoreUnreachable("away")).headers["Retry-After"] == "5"
    assert "Retry-After" not in error_answer(StoreFailed("the disk is full")).headers


def test_what_cassandra_can_not_look_up_now_is_waited_for() -> None:
    """Promise: a node that can't read its own tables of roles and rights has refused nothing; a role without a right
    has no use of waiting."""
    from cassandra import AuthenticationFailed, Unauthorized

    for words in (
        "Unable to perform authorization of permissions: Cannot achieve consistency level LOCAL_QUORUM",
        "Unable to perform authorization of super-user permission: Operation timed out",
    ):
        assert isinstance(mapped(Unauthorized(words), StateSettings()), Unanswered)
    looked_up = AuthenticationFailed("Unable to perform authentication: timed out")
    assert isinstance(mapped(looked_up, StateSettings()), Unanswered)
    assert isinstance(mapped(Unauthorized("User x has no SELECT permission on <table a.b>"), StateSettings()), Refused)
