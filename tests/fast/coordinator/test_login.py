"""Logins and sessions on the served API: what begins one, what ends it, and what a stranger learns."""

import json
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest

from coordinator.access import passwords
from coordinator.access.logins import key_of
from coordinator.model.access import PasswordHash, Role
from coordinator.model.settings import AccessSettings
from coordinator.store.sqlite import FILE
from kit.http_settings import Access
from tests.fast.coordinator.access_site import BEARER, CHEAP, Site, password_of, site
from tests.fast.coordinator.conftest import OPEN

NODES = "/Test_Cluster/nodes"
RUN = "/Test_Cluster/backups/run"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
WRONG = {"username": "ada", "password": "not the password"}
RIGHT = {"username": "ada", "password": password_of("ada")}


@pytest.mark.parametrize("form", [False, True])
async def test_a_login_gives_a_session_that_the_header_shows(tmp_path: Path, form: bool) -> None:
    """Promise: JSON as curl sends it, which calls it a form, and a real form both log in; the session's id is 32 hex
    digits, and after a logout it is nobody's."""
    async with site(tmp_path) as served:
        await served.add("ada")
        body = urlencode(RIGHT) if form else json.dumps(RIGHT)
        status, told = await served.ask("POST", "/login", data=body, headers=FORM)
        assert status == 200
        assert set(told) == {"sessionid"}
        session = told["sessionid"]
        assert len(bytes.fromhex(session)) == 16
        header = {"opscenter-session": session}
        assert (await served.ask("GET", NODES, headers=header))[0] == 200
        assert await served.ask("GET", "/logout", headers=header) == (200, {})
        assert (await served.ask("GET", NODES, headers=header))[0] == 401
        assert await served.ask("POST", "/logout", headers=header) == (200, {})


async def test_the_state_holds_neither_password_nor_session(tmp_path: Path) -> None:
    """Promise: whoever reads the state's files can't log in with what they find."""
    async with site(tmp_path) as served:
        await served.add("ada")
        session = await served.login("ada")
        kept = b"".join(file.read_bytes() for file in (tmp_path / "state").glob(f"{FILE}*"))
        assert key_of(session).encode() in kept
        assert session.encode() not in kept
        assert password_of("ada").encode() not in kept


async def test_the_cookie_is_for_this_site_alone(tmp_path: Path) -> None:
    """Promise: a browser's session goes to no script and to no other site, it opens as the header does, and an order
    that another page, or one of another port, had the browser send with it is refused and changes nothing."""
    async with site(tmp_path) as served:
        await served.add("ada")
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client,
            client.post(f"{served.url}/login", json=RIGHT) as answer,
        ):
            [cookie] = answer.headers.getall("Set-Cookie")
        parts = {part.strip() for part in cookie.split(";")}
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= parts
        assert "Secure" not in parts
        shown = {"Cookie": cookie.partition(";")[0]}
        before = await served.state()
        for foreign in ({"Origin": "http://127.0.0.1:1"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}):
            status, told = await served.ask("POST", RUN, headers={**shown, **foreign})
            assert (status, told["code"]) == (403, "foreign_origin")
        assert await served.state() == before
        assert (await served.ask("GET", "/logout", headers={**shown, "Sec-Fetch-Site": "cross-site"}))[0] == 403
        own = {**shown, "Origin": served.url, "Sec-Fetch-Site": "same-origin"}
        assert (await served.ask("POST", RUN, headers=own))[0] == 200
        assert (await served.ask("GET", "/logout", headers=shown))[0] == 200
        assert (await served.ask("GET", NODES, headers=shown))[0] == 401


@pytest.mark.parametrize("wrong", ["password", "user", "disabled", "name"])
async def test_every_wrong_login_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    """Promise: whether the name, the password or a disabled user was wrong, the answer is one and the same, after the
    same work."""
    async with site(tmp_path) as served:
        await served.add("ada")
        await served.add("bob", Role.READ)
        await served.people.accounts.change("bob", disabled=True)
        worked: list[tuple[int, int, int]] = []

        def counting(password: str, kept: PasswordHash) -> str:
            worked.append((kept.n, kept.r, kept.p))
            return scrypt(password, kept)

        scrypt = passwords._scrypt
        monkeypatch.setattr(passwords, "_scrypt", counting)
        body = {
            "password": WRONG,
            "user": {"username": "nobody", "password": password_of("nobody")},
            "disabled": {"username": "bob", "password": password_of("bob")},
            "name": {"username": "../x\n" * 100, "password": "y" * 9_000},
        }[wrong]
        status, told = await served.ask("POST", "/login", json=body)
        assert (status, told["type"], told["message"]) == (401, "Unauthorized", "the name or the password is wrong")
        assert set(told) == {"brief", "message", "type", "code", "todo", "fields"}
        assert told["fields"] == {}
        assert worked == [(CHEAP.n, CHEAP.r, CHEAP.p)]


@pytest.mark.parametrize(
    "body",
    [
        "", "[]", "{", "username=ada", "username=ada&username=bob&password=x", "\xff", '{"username": "ada"}',
        '{"username": "ada", "password": 5}', '{"username": "ada", "password": "secret-canary", "more": 1}',
        '{"username": "ada", "password": "secret-canary", "password": "x"}', "secret-canary",
    ],
)  # fmt: skip
async def test_what_is_no_login_is_a_400_that_repeats_nothing(tmp_path: Path, body: str) -> None:
    """Promise: a broken login is refused in the API's form, and nothing of what may be a password comes back."""
    async with site(tmp_path) as served:
        status, told = await served.ask("POST", "/login", data=body.encode("latin-1"), headers=FORM)
        assert (status, told["brief"]) == (400, "error")
        assert "canary" not in str(told)


async def test_a_stranger_sends_little(tmp_path: Path) -> None:
    """Promise: who isn't known yet can't have the coordinator read a large body, whether its size is told or not; and
    an option in the query is no login."""
    async with site(tmp_path) as served:
        for data in (b" " * 16_385, aiohttp.payload.BytesPayload(b" " * 16_385)):
            assert (await served.ask("POST", "/login", data=data))[0] == 413
        await served.add("ada")
        status, _ = await served.ask("POST", f"/login?{urlencode(RIGHT)}")
        assert status == 400


async def test_a_session_ends_by_itself(tmp_path: Path) -> None:
    """Promise: one that isn't used is over after the idle time, and one that is used after the whole time; when it was
    used is kept to the minute."""
    settings = AccessSettings(session_idle_seconds=600.0, session_seconds=3_000.0)
    async with site(tmp_path, settings=settings) as served:
        await served.add("ada")
        idle = await served.header("ada")
        used = await served.header("ada")
        for _ in range(5):
            served.now += 590.0
            assert (await served.ask("GET", NODES, headers=used))[0] == 200
        assert (await served.ask("GET", NODES, headers=idle))[0] == 401
        served.now += 60.0
        status, told = await served.ask("GET", NODES, headers=used)
        assert (status, told["code"]) == (401, "not_logged_in")
        served.now -= 3_010.0
        assert (await served.ask("GET", NODES, headers=used))[0] == 401  # what is over was forgotten


async def test_its_last_use_is_written_once_a_minute(tmp_path: Path) -> None:
    """Promise: a client that asks all the time doesn't make each request a write."""
    async with site(tmp_path) as served:
        await served.add("ada")
        session = await served.login("ada")
        seen = []
        for seconds in (0.0, 59.0, 2.0, 30.0):
            served.now += seconds
            assert (await served.ask("GET", NODES, headers={"opscenter-session": session}))[0] == 200
            kept = await served.store.sessions.get(key_of(session))
            assert kept is not None
            seen.append(kept.seen - kept.begun)
        assert seen == [0.0, 0.0, 61.0, 61.0]


async def end_by(served: Site, how: str) -> None:
    """End bob's session in one of the ways that aren't his."""
    accounts = served.people.accounts
    match how:
        case "password":
            await accounts.change("bob", password="another good one")
        case "disabled":
            await accounts.change("bob", disabled=True)
        case "disabled and enabled":
            await accounts.change("bob", disabled=True)
            await accounts.change("bob", disabled=False)
        case "removed":
            await accounts.remove("bob")
        case _:
            await accounts.remove("bob")
            await served.add("bob")


@pytest.mark.parametrize("how", ["password", "disabled", "disabled and enabled", "removed", "removed and added"])
async def test_a_session_is_over_with_its_user(tmp_path: Path, how: str) -> None:
    """Promise: a new password, disabling and removing end every session at once, for good; other users' go on."""
    async with site(tmp_path) as served:
        await served.add("bob")
        await served.add("ada")
        header, other = await served.header("bob"), await served.header("ada")
        assert (await served.ask("GET", NODES, headers=header))[0] == 200
        await end_by(served, how)
        before = await served.state()
        status, told = await served.ask("POST", RUN, headers=header)
        assert (status, told["code"]) == (401, "not_logged_in")
        assert await served.state() == before
        assert (await served.ask("GET", NODES, headers=other))[0] == 200


async def test_a_session_is_taken_by_another_coordinator_of_the_same_state(tmp_path: Path) -> None:
    """Promise: who logged in at one coordinator is logged in at all that share its state."""
    async with site(tmp_path) as first:
        await first.add("ada")
        header = await first.header("ada")
        async with site(tmp_path) as second:
            assert (await second.ask("GET", NODES, headers=header))[0] == 200
            assert (await second.ask("POST", "/logout", headers=header))[0] == 200
        assert (await first.ask("GET", NODES, headers=header))[0] == 401


async def test_without_users_and_token_it_is_open_until_the_first_user(tmp_path: Path) -> None:
    """Promise: a coordinator on loopback asks nobody for anything, until there is a user: then everybody."""
    async with site(tmp_path, OPEN) as served:
        assert (await served.ask("GET", NODES))[0] == 200
        assert (await served.ask("GET", NODES, headers={"opscenter-session": "stale"}))[0] == 200
        body = {"password": password_of("ada"), "role": "admin"}
        status, told = await served.ask("POST", "/users/ada", json=body)
        assert (status, told["username"], told["role"]) == (200, "ada", "admin")
        assert "password" not in told
        status, told = await served.ask("GET", NODES)
        assert (status, told["code"]) == (401, "not_logged_in")
        assert (await served.ask("GET", NODES, headers=BEARER))[0] == 401
        assert (await served.ask("GET", NODES, headers=await served.header("ada")))[0] == 200


async def test_login_can_be_needed_before_there_is_a_user(tmp_path: Path) -> None:
    """Promise: with [access] login nobody gets in, and nobody makes the first user, but by the command."""
    settings = AccessSettings(login=True)
    async with site(tmp_path, Access(None, None, False, login=True), settings) as served:
        assert (await served.ask("GET", NODES))[0] == 401
        body = {"password": password_of("eve"), "role": "admin"}
        assert (await served.ask("POST", "/users/eve", json=body))[0] == 401
        assert await served.store.users.all() == []
        assert (await served.ask("POST", "/login", json=RIGHT))[0] == 401
        await served.add("ada")
        assert (await served.ask("GET", NODES, headers=await served.header("ada")))[0] == 200
