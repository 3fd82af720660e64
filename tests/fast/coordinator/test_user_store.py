"""Users and sessions are kept, changed in one step, and seen by a second process at once."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from coordinator.model.access import Change, PasswordHash, Role, Session, User
from coordinator.store.database import StoreMissing
from coordinator.store.migrations import MIGRATIONS
from coordinator.store.protocol import Store
from coordinator.store.sqlite import FILE, SqliteStore

NOW = 1_489_763_169.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await SqliteStore.open(tmp_path / "state", now=NOW)
    yield opened
    await opened.close()


def user(name: str, role: Role = Role.ADMIN, *, disabled: bool = False) -> User:
    """A user whose password nobody knows."""
    return User(name, role, PasswordHash(2, 1, 1, "00", "11"), "s1", NOW, NOW, disabled)


def session(key: str = "k1", ends: float = NOW + 10) -> Session:
    """A session of ada's."""
    return Session(key, "ada", "s1", NOW, ends, NOW)


async def test_a_user_is_kept_as_it_was_put_and_a_name_is_given_once(store: Store) -> None:
    """Promise: what was added is there, by name; a second one of the same name changes nothing."""
    assert not await store.users.any()
    assert await store.users.add(user("bob", Role.READ))
    assert await store.users.add(user("ada"))
    assert not await store.users.add(user("bob", Role.ADMIN))
    assert await store.users.any()
    assert await store.users.all() == [user("ada"), user("bob", Role.READ)]
    assert await store.users.get("bob") == user("bob", Role.READ)
    assert await store.users.get("Bob") is None


async def test_a_change_that_another_one_overtook_is_missed(store: Store) -> None:
    """Promise: of two who change one user at once, neither undoes what the other did without knowing."""
    await store.users.add(user("ada"))
    await store.users.add(user("bob"))
    promoted = msgspec.structs.replace(user("bob"), role=Role.RESTORE)
    assert await store.users.replace(user("bob"), promoted, admin_stays=True) is Change.DONE
    assert await store.users.replace(user("bob"), user("bob", disabled=True), admin_stays=True) is Change.MISSED
    assert await store.users.get("bob") == promoted
    assert await store.users.replace(promoted, None, admin_stays=True) is Change.DONE
    assert await store.users.replace(promoted, None, admin_stays=True) is Change.MISSED


async def test_of_two_admins_who_demote_each_other_one_is_refused(store: Store) -> None:
    """Promise: however changes meet, somebody is left who can manage users; a disabled admin is nobody."""
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


async def test_a_session_is_kept_and_goes_when_it_is_over(store: Store) -> None:
    """Promise: sessions outlive a restart, a late use brings none back, and what is over is forgotten."""
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


async def test_a_second_process_writes_users_beside_a_running_coordinator(store: Store, tmp_path: Path) -> None:
    """Promise: what the command wrote while the coordinator runs is what its next look finds, and the other way
    around; both write at once, and nothing is lost."""
    beside = await SqliteStore.open_beside(tmp_path / "state")
    try:
        await asyncio.gather(
            *(store.users.add(user(f"a{number}")) for number in range(20)),
            *(beside.users.add(user(f"b{number}")) for number in range(20)),
        )
        assert len(await store.users.all()) == 40
        assert await beside.users.all() == await store.users.all()
    finally:
        await beside.close()


async def test_a_second_process_makes_no_state_and_migrates_none(tmp_path: Path) -> None:
    """Promise: a command of another release changes nothing of the state under a running coordinator."""
    with pytest.raises(StoreMissing, match="there is no state"):
        await SqliteStore.open_beside(tmp_path / "state")
    assert not (tmp_path / "state").exists()
    await (await SqliteStore.open(tmp_path / "state", now=NOW)).close()
    with sqlite3.connect(tmp_path / "state" / FILE) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) - 1}")
    connection.close()
    with pytest.raises(StoreMissing, match="version"):
        await SqliteStore.open_beside(tmp_path / "state")
