"""Users as admins manage them over the API."""

from pathlib import Path
from typing import Any

import pytest
import structlog

from coordinator.model.access import Role
from kit.http_settings import Access
from tests.fast.coordinator.access_site import BEARER, TOKEN_NEEDED, password_of, site
from tests.fast.coordinator.conftest import NOW, OPEN

NODES = "/Test_Cluster/nodes"
NEW = {"password": "a good password", "role": "read"}


async def test_an_admin_makes_changes_and_removes_users(tmp_path: Path) -> None:
    """Promise: OpsCenter's calls do it, each answers the user as it is then, and none ever shows a password or what is
    kept of one."""
    async with site(tmp_path) as served:
        shown = {"username": "bob", "role": "read", "disabled": False, "created": NOW, "changed": NOW}
        assert await served.ask("GET", "/users", headers=BEARER) == (200, [])
        assert await served.ask("POST", "/users/bob", json=NEW, headers=BEARER) == (200, shown)
        assert await served.ask("GET", "/users/bob", headers=BEARER) == (200, shown)
        assert await served.ask("GET", "/users", headers=BEARER) == (200, [shown])
        served.now += 5
        body = {"password": "another password", "old_password": NEW["password"], "role": "restore"}
        status, told = await served.ask("PUT", "/users/bob", json=body, headers=BEARER)
        assert (status, told) == (200, {**shown, "role": "restore", "changed": NOW + 5})
        header = {"opscenter-session": await served.login("bob", "another password")}
        assert (await served.ask("GET", NODES, headers=header))[0] == 200
        status, told = await served.ask("PUT", "/users/bob", json={"disabled": True}, headers=BEARER)
        assert (status, told["disabled"], told["role"]) == (200, True, "restore")
        assert await served.ask("DELETE", "/users/bob", headers=BEARER) == (200, {})
        assert await served.store.users.all() == []


@pytest.mark.parametrize(
    ("method", "name", "body", "status", "code"),
    [
        ("POST", "bob", NEW, 409, "user_exists"),
        ("POST", "eve", {"role": "read"}, 400, "invalid_arguments"),
        ("POST", "eve", {"password": "a good password"}, 400, "invalid_arguments"),
        ("POST", "eve", {**NEW, "role": "root"}, 400, "invalid_arguments"),
        ("POST", "eve", {**NEW, "role": ["read"]}, 400, "invalid_arguments"),
        ("POST", "eve", {**NEW, "password": "canary"}, 400, "weak_password"),
        ("POST", "eve", {**NEW, "password": "canary" * 200}, 400, "weak_password"),
        ("POST", "eve", {**NEW, "password": ["canary"]}, 400, "invalid_arguments"),
        ("POST", "eve", {**NEW, "disabled": True}, 400, "invalid_arguments"),
        ("POST", "administrator", {**NEW, "password": "Administrator"}, 400, "weak_password"),
        ("POST", "token", NEW, 400, "invalid_arguments"),
        ("POST", "schedule", NEW, 400, "invalid_arguments"),
        ("POST", "-eve", NEW, 400, "invalid_arguments"),
        ("POST", "eve%0Aadmin", NEW, 400, "invalid_arguments"),
        ("POST", "e" * 65, NEW, 400, "invalid_arguments"),
        ("PUT", "eve", {"role": "admin"}, 404, "unknown_user"),
        ("PUT", "bob", {"role": "root"}, 400, "invalid_arguments"),
        ("PUT", "bob", {"disabled": "perhaps"}, 400, "invalid_arguments"),
        ("PUT", "bob", {"password": "canary"}, 400, "weak_password"),
        ("PUT", "bob", {"password": "a good password", "old_password": "canary"}, 401, "login_refused"),
        ("PUT", "bob", {"rôle": "admin"}, 400, "invalid_arguments"),
        ("DELETE", "eve", None, 404, "unknown_user"),
        ("DELETE", "bob", {"force": True}, 400, "invalid_arguments"),
        ("GET", "eve", None, 404, "unknown_user"),
    ],
)
async def test_a_wrong_order_about_a_user_is_named_and_changes_nothing(
    tmp_path: Path, method: str, name: str, body: Any, status: int, code: str
) -> None:
    """Promise: unknown and taken names, weak passwords, unknown roles and options are refused in the API's form, which
    repeats no password."""
    async with site(tmp_path) as served:
        await served.add("bob", Role.READ)
        before = await served.state()
        answered, told = await served.ask(method, f"/users/{name}", json=body, headers=BEARER)
        assert (answered, told["code"], told["brief"]) == (status, code, "error")
        assert "canary" not in str(told)
        assert await served.state() == before


@pytest.mark.parametrize(("method", "body"), [("DELETE", None), ("PUT", {"role": "read"}), ("PUT", {"disabled": True})])
async def test_the_last_admin_stays_while_no_token_is_configured(tmp_path: Path, method: str, body: Any) -> None:
    """Promise: nobody locks everybody out; with a token, or once there is another admin, the same is done."""
    async with site(tmp_path / "open", OPEN) as served:
        await served.add("ada")
        header = await served.header("ada")
        status, told = await served.ask(method, "/users/ada", json=body, headers=header)
        assert (status, told["code"]) == (409, "last_admin")
        assert (await served.ask("GET", NODES, headers=header))[0] == 200
        await served.add("bob")
        assert (await served.ask(method, "/users/ada", json=body, headers=header))[0] == 200
    async with site(tmp_path / "token", TOKEN_NEEDED) as served:
        await served.add("ada")
        assert (await served.ask(method, "/users/ada", json=body, headers=BEARER))[0] == 200


@pytest.mark.parametrize(
    ("access", "status"), [(OPEN, 409), (TOKEN_NEEDED, 200), (Access(None, None, False, login=True), 401)]
)
async def test_the_first_user_is_an_admin_where_nobody_else_could_be(
    tmp_path: Path, access: Access, status: int
) -> None:
    """Promise: the user who closes an open coordinator is one who can go on."""
    async with site(tmp_path, access) as served:
        header = BEARER if access is TOKEN_NEEDED else {}
        assert (await served.ask("POST", "/users/bob", json=NEW, headers=header))[0] == status
        assert bool(await served.store.users.all()) is (status == 200)


async def test_the_log_tells_who_changed_users_and_no_password(tmp_path: Path) -> None:
    """Promise: who made whom an admin can be looked up later; what was typed can't."""
    async with site(tmp_path) as served:
        await served.add("ada")
        header = await served.header("ada")
        with structlog.testing.capture_logs() as lines:
            await served.ask("POST", "/users/bob", json={**NEW, "password": "canary password"}, headers=header)
            await served.ask("PUT", "/users/bob", json={"password": "canary password 2"}, headers=BEARER)
            await served.ask("DELETE", "/users/bob", headers=header)
            await served.login("ada")
            with pytest.raises(AssertionError):
                await served.login("ada", "canary password 3")
        told = [(line["event"], line["user"], line.get("asked_by")) for line in lines if "user" in line]
        assert told == [
            ("a user was added", "bob", "ada"),
            ("a user was changed", "bob", "token"),
            ("a user was removed", "bob", "ada"),
            ("a user logged in", "ada", None),
            ("logins were refused", "ada", None),
        ]
        assert "canary" not in str(lines)
        assert password_of("ada") not in str(lines)
