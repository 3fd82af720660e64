"""Logins. In: POST /login, GET and POST /logout. Out: a session's id, in the answer and as a cookie."""

from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from coordinator.access.errors import TooManyLogins
from coordinator.model.errors import InvalidArguments
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api
from coordinator.opscenter.doors import SESSION, session_of
from coordinator.opscenter.errors import answer, error_answer
from kit.http_origin import refuse_other_site

FORM = "application/x-www-form-urlencoded"
FIELDS = ("username", "password")


class Login:
    """A login is JSON, whatever the Content-Type says (curl says that it is a form), or a form."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def login(self, request: web.Request) -> web.Response:
        """POST /login: username, password."""
        quirks.no_query(request)
        name, password = await _read(request)
        try:
            session = await self._api.people.logins.begin(name, password, request.remote or "")
        except TooManyLogins as error:
            refused = error_answer(error)
            refused.headers["Retry-After"] = str(error.seconds)
            return refused
        response = answer({"sessionid": session})
        response.set_cookie(SESSION, session, path="/", httponly=True, samesite="Strict", secure=request.secure)
        return response

    async def logout(self, request: web.Request) -> web.Response:
        """GET or POST /logout. Of a session that is over already nothing is said."""
        shown = session_of(request)
        if shown is not None:
            session, cookie = shown
            if cookie:
                refuse_other_site(request)
            await self._api.people.logins.end(session)
        response = answer({})
        response.del_cookie(SESSION, path="/", httponly=True, samesite="Strict", secure=request.secure)
        return response


async def _read(request: web.Request) -> tuple[str, str]:
    """The name and the password. No refusal repeats anything of them."""
    raw = await request.read()
    if request.content_type == FORM and not raw.lstrip().startswith(b"{"):
        body = _form(raw)
    else:
        body = await quirks.read_body(request)
    quirks.allow_only(body, FIELDS)
    for field in FIELDS:
        if not isinstance(body.get(field), str):
            raise quirks.refuse(field, "is missing" if body.get(field) is None else "must be a text")
    return body["username"], body["password"]


def _form(raw: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=8, errors="strict")
    except ValueError:
        raise InvalidArguments("the body is neither JSON nor a form", field="body") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise InvalidArguments("the form has a field twice", field="body")
    return form
