"""Attack row A01 at the coordinator: no, wrong, foreign and misplaced credentials; floods of logins."""

import asyncio
import threading
from pathlib import Path

import aiohttp
import pytest
import structlog

from coordinator.access.attempts import Allowance, Attempts
from coordinator.access.errors import LoginRefused, TooManyLogins
from coordinator.access.logins import OF_A_USER, OF_AN_ADDRESS, Logins
from coordinator.access.passwords import BUSY_SECONDS, Passwords
from coordinator.model.access import PasswordHash
from coordinator.model.settings import AccessSettings
from tests.fast.coordinator.access_site import BEARER, CHEAP, TOKEN, password_of, site
from tests.fast.coordinator.conftest import NOW

RUN = "/Test_Cluster/backups/run"
OTHERS = {"Authorization": "Bearer token-of-the-agents"}


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({}, ""),
        ({"Authorization": "Bearer wrong"}, ""),
        (OTHERS, ""),
        ({"Authorization": TOKEN}, ""),
        ({"Authorization": f"Basic {TOKEN}"}, ""),
        ({"opscenter-session": TOKEN}, ""),
        ({"opscenter-session": "0" * 32}, ""),
        ({"opscenter-session": "' OR 1=1 --"}, ""),
        ({"opscenter-session": ""}, ""),
        ({"Cookie": f"opscenter-session={'0' * 32}"}, ""),
        ({}, f"?token={TOKEN}"),
        ({}, f"?access_token={TOKEN}"),
        ({}, "?opscenter-session={session}"),
        (BEARER, f"?token={TOKEN}"),
        (BEARER, "?Sessionid=x"),
    ],
)
async def test_a_wrong_credential_is_a_401_and_changes_nothing(
    tmp_path: Path, headers: dict[str, str], query: str
) -> None:
    """Promise: nothing but the token in its header, or a live session, lets an order in; a credential in a query is not
    read and has the request refused even beside a right header; no answer repeats one."""
    async with site(tmp_path) as served:
        await served.add("ada")
        session = await served.login("ada")
        before = await served.state()
        for method, path in (("POST", RUN), ("DELETE", "/users/ada"), ("GET", "/users"), ("GET", "/no/such/path")):
            status, told = await served.ask(method, path + query.format(session=session), headers=headers)
            assert (status, told["type"]) == (401, "Unauthorized")
            assert TOKEN not in str(told)
            assert session not in str(told)
        assert await served.state() == before


async def test_a_wrong_token_is_not_saved_by_a_right_session(tmp_path: Path) -> None:
    """Promise: one credential counts, the first one that is shown; a wrong one is never passed over."""
    async with site(tmp_path) as served:
        await served.add("ada")
        session = await served.header("ada")
        assert (await served.ask("POST", RUN, headers={**OTHERS, **session}))[0] == 401
        assert (await served.ask("POST", RUN, headers={**BEARER, "opscenter-session": "0" * 32}))[0] == 200


async def test_refusals_write_a_line_a_minute(tmp_path: Path) -> None:
    """Promise: who tries tokens all day is told of, with how often, and fills no disk; the line holds no credential."""
    async with site(tmp_path) as served:
        with structlog.testing.capture_logs() as lines:
            for number in range(30):
                await served.ask("GET", "/users", headers={"Authorization": f"Bearer canary-{number}"})
        told = [line for line in lines if line["log_level"] == "warning"]
        assert [(line["code"], line["remote"], line["untold"]) for line in told] == [("unauthorized", "127.0.0.1", 0)]
        assert "canary" not in str(lines)


async def test_wrong_logins_are_put_off_and_right_ones_are_not_counted(tmp_path: Path) -> None:
    """Promise: a name is guessed at a few times, then once in a while, also with the right password; the answer says
    when to come again, the log tells it once, and a session of before goes on."""
    async with site(tmp_path) as served:
        await served.add("ada")
        for _ in range(2 * OF_AN_ADDRESS.at_once):
            session = await served.header("ada")
        wrong = {"username": "ada", "password": "canary of a guess"}
        with structlog.testing.capture_logs() as lines:
            for _ in range(OF_A_USER.at_once):
                assert (await served.ask("POST", "/login", json=wrong))[0] == 401
            right = {"username": "ada", "password": password_of("ada")}
            async with (
                aiohttp.ClientSession() as client,
                client.post(f"{served.url}/login", json=right) as answer,
            ):
                told = await answer.json()
                assert (answer.status, told["type"]) == (429, "TooManyRequests")
                assert int(answer.headers["Retry-After"]) == told["fields"]["seconds"]
                assert 0 < told["fields"]["seconds"] <= OF_A_USER.seconds
        assert len([line for line in lines if line["log_level"] == "warning"]) == 2
        assert "canary" not in str(lines)
        assert (await served.ask("POST", RUN, headers=session))[0] == 200


async def test_an_address_is_put_off_whatever_names_it_tries(tmp_path: Path) -> None:
    """Promise: a list of names doesn't get more guesses than one name from the same place."""
    async with site(tmp_path) as served:
        statuses = [
            (await served.ask("POST", "/login", json={"username": f"user{number}", "password": "x"}))[0]
            for number in range(OF_AN_ADDRESS.at_once + 3)
        ]
        assert statuses == [401] * OF_AN_ADDRESS.at_once + [429] * 3


def test_attempts_come_back_with_time() -> None:
    """Promise: so many at once, then one each so many seconds, up to as many at once again."""
    now = [0.0]
    attempts = Attempts(Allowance(3, 10.0), clock=lambda: now[0])
    assert [attempts.take("a") for _ in range(5)] == [0, 0, 0, 10, 10]
    assert attempts.take("b") == 0
    now[0] = 9.5
    assert attempts.take("a") == 1
    now[0] = 10.0
    assert [attempts.take("a"), attempts.take("a")] == [0, 10]
    attempts.give_back("a")
    assert [attempts.take("a"), attempts.take("a")] == [0, 10]
    now[0] = 1_000.0
    assert [attempts.take("a") for _ in range(4)] == [0, 0, 0, 10]


def test_a_flood_of_names_neither_fills_the_memory_nor_frees_a_guesser() -> None:
    """Promise: the memory of attempts is bounded, what is held against a name stays while others come, and what is
    held against nobody any more goes."""
    now = [0.0]
    attempts = Attempts(Allowance(2, 10.0), clock=lambda: now[0], most_keys=100)
    assert [attempts.take("victim") for _ in range(3)] == [0, 0, 10]
    for number in range(1_000):
        attempts.take(f"flood{number}")
    assert len(attempts) <= 101
    assert attempts.take("victim") > 0
    assert attempts.take("somebody new") > 0
    now[0] = 100.0
    assert attempts.take("somebody new") == 0
    assert len(attempts) <= 2


async def test_addresses_of_one_network_share_their_attempts(tmp_path: Path) -> None:
    """Promise: a machine with a whole network of IPv6 addresses has no more attempts than one with an address; an IPv4
    address is the same however it is written."""
    async with site(tmp_path) as served:
        users, sessions = served.store.users, served.store.sessions
        once = Attempts(Allowance(1, 1_000.0))
        logins = Logins(users, sessions, served.passwords, AccessSettings(), lambda: NOW, by_address=once)

        async def put_off(address: str) -> bool:
            with pytest.raises((TooManyLogins, LoginRefused)) as caught:
                await logins.begin("nobody", "x", address)
            return caught.type is TooManyLogins

        assert not await put_off("2001:db8::1")
        assert await put_off("2001:db8::2")
        assert not await put_off("2001:db8:0:1::1")
        assert not await put_off("192.0.2.1")
        assert await put_off("::ffff:192.0.2.1")
        assert not await put_off("192.0.2.2")


async def test_a_stranger_keeps_nobody_out_who_comes_from_elsewhere(tmp_path: Path) -> None:
    """Promise: wrong tries count against a name only from where they come; from everywhere together they count too, and
    then the name has no more tries from anywhere."""
    async with site(tmp_path) as served:
        await served.add("ada")
        users, sessions = served.store.users, served.store.sessions
        rare = Attempts(Allowance(12, 1_000.0))
        logins = Logins(users, sessions, served.passwords, AccessSettings(), lambda: NOW, by_name=rare)
        for number in range(OF_A_USER.at_once + 5):
            with pytest.raises(LoginRefused if number < OF_A_USER.at_once else TooManyLogins):
                await logins.begin("ada", "wrong", "192.0.2.1")
        assert await logins.begin("ada", password_of("ada"), "192.0.2.2")
        for _ in range(2):
            with pytest.raises(LoginRefused):
                await logins.begin("ada", "wrong", "192.0.2.3")
        with pytest.raises(TooManyLogins):
            await logins.begin("ada", password_of("ada"), "192.0.2.4")


async def test_a_try_that_nobody_had_time_for_does_not_count(tmp_path: Path) -> None:
    """Promise: while too many digests are made a right password costs its user no try."""
    async with site(tmp_path) as served:
        await served.add("ada")
        users, sessions = served.store.users, served.store.sessions
        full = Passwords(CHEAP, at_once=1, waiting=-1)
        tries = [Attempts(Allowance(1, 1_000.0)) for _ in range(3)]
        for passwords, wanted in ((full, TooManyLogins), (full, TooManyLogins), (served.passwords, None)):
            logins = Logins(users, sessions, passwords, AccessSettings(), lambda: NOW, *tries)
            if wanted is None:
                assert await logins.begin("ada", password_of("ada"), "192.0.2.1")
            else:
                with pytest.raises(wanted) as caught:
                    await logins.begin("ada", password_of("ada"), "192.0.2.1")
                assert caught.value.fields["seconds"] == BUSY_SECONDS
        full.close()


async def test_a_flood_of_logins_is_worked_on_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: however many log in at once, so many digests as were said are made at a time, outside of the loop, and
    who would wait too long is sent away at once; afterwards it goes on."""
    held, begun, at_once = threading.Event(), threading.Semaphore(0), []

    def slow(password: str, kept: PasswordHash) -> str:
        at_once.append(threading.current_thread())
        begun.release()
        assert held.wait(60)
        return "00"

    monkeypatch.setattr("coordinator.access.passwords._scrypt", slow)
    passwords = Passwords(CHEAP, at_once=2, waiting=3)
    async with asyncio.timeout(60):
        tasks = [asyncio.create_task(passwords.matches("x", None)) for _ in range(20)]
        await asyncio.to_thread(begun.acquire)
        await asyncio.to_thread(begun.acquire)
        refused = [task for task in tasks if task.done()]
        assert len(refused) == 15
        assert all(isinstance(task.exception(), TooManyLogins) for task in refused)
        assert len(at_once) == 2
        assert threading.main_thread() not in at_once
        waiting = [task for task in tasks if not task.done()]
        waiting[0].cancel()  # who goes away while the digest is made gives nobody else the place early
        await asyncio.sleep(0)
        with pytest.raises(TooManyLogins):
            await passwords.matches("x", None)
        held.set()
        assert await asyncio.gather(*waiting[1:]) == [False] * 4
        assert await passwords.matches("x", None) is False
    passwords.close()
