"""Users, for admins. In: GET /users, GET, POST, PUT, DELETE /users/{name}. Out: users without their passwords."""

from typing import Any

import structlog
from aiohttp import web

from coordinator.access.errors import LoginRefused
from coordinator.model.access import Role, User
from coordinator.model.asking import asked_by
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api
from coordinator.opscenter.errors import answer

log = structlog.get_logger(__name__)


class Users:
    """Options: password, role, and of PUT old_password (OpsCenter's) and disabled (ours)."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def all(self, request: web.Request) -> web.Response:
        """GET /users"""
        return answer([_shown(user) for user in await self._api.people.accounts.all()])

    async def one(self, request: web.Request) -> web.Response:
        """GET /users/{name}"""
        return answer(_shown(await self._api.people.accounts.get(request.match_info["name"])))

    async def add(self, request: web.Request) -> web.Response:
        """POST /users/{name}: password, role."""
        name, body = await self._order(request, ("password", "role"))
        role = _role(body.get("role"))
        password = _password(body, "password")
        if password is None:
            raise quirks.refuse("password", "is missing")
        user = await self._api.people.accounts.add(name, password, role)
        log.info("a user was added", user=name, role=user.role, asked_by=asked_by())
        return answer(_shown(user))

    async def change(self, request: web.Request) -> web.Response:
        """PUT /users/{name}: what isn't sent stays. An `old_password` is looked at when it is sent."""
        name, body = await self._order(request, ("password", "old_password", "role", "disabled"))
        accounts = self._api.people.accounts
        former = await accounts.get(name)
        old = _password(body, "old_password")
        if old is not None and not await accounts.has_password(former, old):
            raise LoginRefused
        disabled = body.get("disabled")
        user = await accounts.change(
            name,
            password=_password(body, "password"),
            role=None if body.get("role") is None else _role(body["role"]),
            disabled=None if disabled is None else quirks.as_bool(disabled, "disabled"),
        )
        log.info(
            "a user was changed",
            user=name,
            role=user.role,
            disabled=user.disabled,
            password=user.password != former.password,
            asked_by=asked_by(),
        )
        return answer(_shown(user))

    async def remove(self, request: web.Request) -> web.Response:
        """DELETE /users/{name}"""
        name, _ = await self._order(request, ())
        await self._api.people.accounts.remove(name)
        log.info("a user was removed", user=name, asked_by=asked_by())
        return answer({})

    async def _order(self, request: web.Request, allowed: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
        quirks.no_query(request)
        body = await quirks.read_body(request)
        quirks.allow_only(body, allowed)
        return request.match_info["name"], body


def _shown(user: User) -> dict[str, Any]:
    return {
        "username": user.name,
        "role": user.role,
        "disabled": user.disabled,
        "created": int(user.created),
        "changed": int(user.changed),
    }


def _role(value: object) -> Role:
    return Role(quirks.as_one_of(value, "role", Role))


def _password(body: dict[str, Any], field: str) -> str | None:
    """The password as it is, or None; never quirks' own reading of a text, which would repeat it."""
    value = body.get(field)
    if value is not None and not isinstance(value, str):
        raise quirks.refuse(field, "must be a text")
    return value
