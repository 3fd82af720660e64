"""What every store of the coordinator's keeps of users, sessions, schedules and the outbox: classes of tests for each
to inherit.

In: `site` (`store_samples.Site`)."""

import asyncio

import msgspec

from coordinator.model.access import Change, PasswordHash, Role, Session, User
from coordinator.model.notices import Notice, Waiting
from coordinator.model.requests import RequestState
from coordinator.model.schedules import BackupJob, Schedule, Timetable
from coordinator.store.protocol import Outbox
from tests.cluster.store_samples import CLUSTER, NOW, TAG, Site, request


def user(name: str, role: Role = Role.ADMIN, *, disabled: bool = False) -> User:
    """A user whose password nobody knows."""
    return User(name, role, PasswordHash(2, 1, 1, "00", "11"), "s1", NOW, NOW, disabled)


def session(key: str = "k1", ends: float = NOW + 10) -> Session:
    """A session of ada's."""
    return Session(key, "ada", "s1", NOW, ends, NOW)


def schedule(name: str = "s1", version: int = 1, cluster: str = CLUSTER) -> Schedule:
    """One that runs daily."""
    daily = Timetable("2017-03-18", "12:00:00", "UTC", 1, "days")
    return Schedule(name, cluster, version, daily, BackupJob(), {"type": "backup"}, decided=NOW + version)


def notice(name: str) -> Notice:
    """A notice of a backup."""
    return Notice(name, "backup.succeeded", NOW, CLUSTER, "r1", TAG)


def waiting(name: str, hook: str = "ops", put: float = NOW) -> Waiting:
    """It waits for the hook."""
    return Waiting(hook, notice(name), put)


async def handed_out(outbox: Outbox, hook: str = "ops") -> list[str]:
    """All that waits for the hook, each done at once."""
    found = []
    while (first := await outbox.first(hook)) is not None:
        found.append(first.notice.id)
        await outbox.done(hook, first.notice.id)
    return found


class PeopleContract:
    """Of users and sessions."""

    async def test_a_user_is_kept_as_it_was_put_and_a_name_is_given_once(self, site: Site) -> None:
        """Promise: what was added is there, by name; a second one of the same name changes nothing."""
        store = await site.open()
        assert not await store.users.any()
        assert await store.users.add(user("bob", Role.READ))
        assert await store.users.add(user("ada"))
        assert not await store.users.add(user("bob", Role.ADMIN))
        assert await store.users.any()
        assert await store.users.all() == [user("ada"), user("bob", Role.READ)]
        assert await store.users.get("bob") == user("bob", Role.READ)
        assert await store.users.get("Bob") is None

    async def test_a_change_that_another_one_overtook_is_missed(self, site: Site) -> None:
        """Promise: of two who change one user at once, neither undoes what the other did without knowing."""
        store = await site.open()
        await store.users.add(user("ada"))
        await store.users.add(user("bob"))
        promoted = msgspec.structs.replace(user("bob"), role=Role.RESTORE)
        assert await store.users.replace(user("bob"), promoted, admin_stays=True) is Change.DONE
        assert await store.users.replace(user("bob"), user("bob", disabled=True), admin_stays=True) is Change.MISSED
        assert await store.users.get("bob") == promoted
        assert await store.users.replace(promoted, None, admin_stays=True) is Change.DONE
        assert await store.users.replace(promoted, None, admin_stays=True) is Change.MISSED

    async def test_of_two_admins_who_demote_each_other_one_is_refused(self, site: Site) -> None:
        """Promise: however changes meet, somebody is left who can manage users; a disabled admin is nobody."""
        store = await site.open()
        for name in ("ada", "bob"):
            await store.users.add(user(name))
        await store.users.add(user("eve", disabled=True))
        changes = await asyncio.gather(
            store.users.replace(user("ada"), user("ada", Role.READ), admin_stays=True),
            store.users.replace(user("bob"), user("bob", disabled=True), admin_stays=True),
        )
        assert sorted(changes) == [Change.DONE, Change.LAST_ADMIN]
        assert sum(one.administers for one in await store.users.all()) == 1
        left = next(one for one in await store.users.all() if one.administers)
        assert await store.users.replace(left, None, admin_stays=True) is Change.LAST_ADMIN
        assert await store.users.replace(left, None, admin_stays=False) is Change.DONE

    async def test_a_session_is_kept_and_goes_when_it_is_over(self, site: Site) -> None:
        """Promise: sessions outlive a restart, a late use brings none back, and what is over is forgotten."""
        store = await site.open()
        await store.sessions.put(session())
        await store.sessions.saw("k1", NOW + 5)
        await store.sessions.saw("k1", NOW + 3)
        assert await store.sessions.get("k1") == msgspec.structs.replace(session(), seen=NOW + 5)
        await store.sessions.remove("k1")
        await store.sessions.saw("k1", NOW + 6)
        assert await store.sessions.get("k1") is None
        await store.sessions.put(session("k2"))
        await store.sessions.put(session("k3", NOW + 20))
        await store.prune(NOW + 10)
        assert await store.sessions.get("k2") is None
        assert await store.sessions.get("k3") is not None


class SchedulesContract:
    """Of schedules."""

    async def test_schedules_are_kept_by_version_in_the_order_in_which_they_were_made(self, site: Site) -> None:
        """Promise: a version replaces the one before it alone, whoever else decides meanwhile; one that was removed
        doesn't come back; other clusters' are others."""
        store = await site.open()
        for name in ("s2", "s1"):
            assert await store.schedules.put(schedule(name))
        assert await store.schedules.put(schedule("s1", cluster="other"))
        assert not await store.schedules.put(schedule("s1"))
        assert not await store.schedules.put(schedule("s1", 3))
        second = await site.open()
        done = await asyncio.gather(*(each.schedules.put(schedule("s2", 2)) for each in (store, second)))
        assert sorted(done) == [False, True]
        assert await second.schedules.of(CLUSTER) == [schedule("s2", 2), schedule("s1")]
        assert await second.schedules.get(CLUSTER, "s2") == schedule("s2", 2)
        assert await store.schedules.remove(CLUSTER, "s2")
        assert not await store.schedules.remove(CLUSTER, "s2")
        assert not await second.schedules.put(schedule("s2", 3))
        assert await second.schedules.get(CLUSTER, "s2") is None
        assert await second.schedules.of("other") == [schedule("s1", cluster="other")]


class OutboxContract:
    """Of notices that wait, and of the ends that they tell of."""

    async def test_each_hook_is_handed_its_own_in_the_order_in_which_it_was_put(self, site: Site) -> None:
        """Promise: whatever the ids and times are; what is done for one hook isn't for another."""
        store = await site.open()
        kept = store.outbox
        assert await kept.first("ops") is None
        await kept.put([waiting("b"), waiting("a"), waiting("b", "other")])
        await kept.put([waiting("c", put=NOW - 500)])
        assert await kept.first("ops") == waiting("b")
        assert await handed_out(kept) == ["b", "a", "c"]
        assert await handed_out(kept, "other") == ["b"]

    async def test_what_is_known_is_not_put_again(self, site: Site) -> None:
        """Promise: the same id changes nothing, waiting, postponed or done."""
        store = await site.open()
        kept = store.outbox
        await kept.put([waiting("a"), waiting("b")])
        await kept.postpone("ops", "a", 3, NOW + 40)
        await kept.done("ops", "b")
        await kept.put([waiting("a"), waiting("b"), waiting("b", "other")])
        assert await kept.first("ops") == Waiting("ops", notice("a"), NOW, 3, NOW + 40)
        assert await kept.waiting() == {"ops": 1, "other": 1}

    async def test_it_outlives_a_crash(self, site: Site) -> None:
        """Promise: a process that is killed leaves all as it was, the next try too."""
        store = await site.open()
        await store.outbox.put([waiting("a"), waiting("b"), waiting("c")])
        await store.outbox.done("ops", "a")
        await store.outbox.postpone("ops", "b", 2, NOW + 9)
        again = await site.open()
        assert await again.outbox.first("ops") == Waiting("ops", notice("b"), NOW, 2, NOW + 9)
        await again.outbox.put([waiting("a")])
        assert await handed_out(again.outbox) == ["b", "c"]

    async def test_of_too_many_the_newest_stay(self, site: Site) -> None:
        """Promise: the oldest of the hook go, how many is told, and they don't come back."""
        store = await site.open()
        kept = store.outbox
        await kept.put([waiting(name) for name in "abcde"] + [waiting("a", "other")])
        await kept.done("ops", "c")
        assert await kept.keep_newest("ops", 2) == 2
        assert await kept.keep_newest("ops", 2) == 0
        await kept.put([waiting(name) for name in "abcde"])
        assert await handed_out(kept) == ["d", "e"]
        assert await handed_out(kept, "other") == ["a"]

    async def test_what_is_old_is_forgotten_but_not_what_a_hook_waits_for(self, site: Site) -> None:
        """Promise: done ones, and those of hooks that are configured no more; age never takes a notice from a hook."""
        store = await site.open()
        kept = store.outbox
        old, new = NOW - 100, NOW
        await kept.put([waiting("done", put=old), waiting("young", put=new), waiting("waits", put=old)])
        await kept.put([waiting("waits", "removed", old), waiting("young", "removed", new)])
        for name in ("done", "young"):
            await kept.done("ops", name)
        await kept.prune(NOW - 50, ["ops", "never-told"])
        await kept.put([waiting("done", put=new), waiting("young", put=new)])
        assert await handed_out(kept) == ["waits", "done"]
        assert await handed_out(kept, "removed") == ["young"]
        await kept.prune(NOW + 1, [])
        assert await kept.waiting() == {}

    async def test_ends_are_found_by_their_time(self, site: Site) -> None:
        """Promise: what ended then or later, oldest first; nothing that runs."""
        store = await site.open()
        requests = store.requests
        await requests.create(request("runs"))
        for name, at in (("late", NOW + 9), ("early", NOW + 1), ("before", NOW - 1)):
            await requests.create(request(name))
            await requests.finish(request(name, state=RequestState.SUCCESS, finished=at))
        assert [found.id for found in await requests.ended_since(NOW + 1)] == ["early", "late"]
        assert {found.state for found in await requests.ended_since(0)} == {RequestState.SUCCESS}
