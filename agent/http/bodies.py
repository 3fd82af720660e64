"""Bodies and parameters. In: a request. Out: typed, checked data, or the error that names the field; and JSON
answers."""

import asyncio
import re
from collections.abc import Collection, Iterable
from typing import Any, TypeVar

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from multidict import MultiDict

from agent.wire.names import check_name
from kit.errors import HelenusError, InvalidInput
from kit.json_bodies import refuse_repeated_keys

Body = TypeVar("Body")

STUCK_SECONDS = 60.0
"""An answer that is given bit by bit is broken off when its reader takes nothing for so long."""
MAX_DEPTH = 100
"""Levels of nested lists and objects in a body."""

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")
_WHOLE = re.compile(r"[0-9]{1,15}")


class UnsupportedMediaType(HelenusError):
    """A body that is not plain JSON."""

    code = "unsupported_media_type"
    status = 415
    todo = "Send the body as application/json (curl: -H 'Content-Type: application/json'), not compressed."


def json_response(data: object, status: int = 200) -> web.Response:
    """An answer; fields of errors that JSON doesn't know are shown as text."""
    return web.Response(
        body=msgspec.json.encode(data, enc_hook=str), status=status, content_type="application/json", headers=_HEADERS
    )


async def json_list(request: web.Request, items: Iterable[object]) -> web.StreamResponse:
    """An answer that is a list, encoded and sent item by item: a long one never stands in memory as a whole, and others
    have their turn between two items."""
    response = web.StreamResponse(headers=_HEADERS)
    response.content_type = "application/json"
    await response.prepare(request)
    before = b"["
    try:
        for item in items:
            async with asyncio.timeout(STUCK_SECONDS):
                await response.write(before + msgspec.json.encode(item, enc_hook=str))
            before = b","
            await asyncio.sleep(0)
        async with asyncio.timeout(STUCK_SECONDS):
            await response.write_eof(b"]" if before == b"," else b"[]")
    except (ConnectionError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()
    return response


@web.middleware
async def plain_json_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse bodies of other types, and compressed ones (a small one may unpack to any size), before they are read."""
    if request.body_exists:
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
            raise UnsupportedMediaType("a compressed body is not taken")
        if request.content_type != "application/json":
            raise UnsupportedMediaType(f"a body of type {request.content_type[:80]} is not taken")
    return await handler(request)


async def read_json(request: web.Request, wanted: type[Body]) -> Body:
    """The body as `wanted`. Raises InvalidInput with the path of the field that is wrong, RepeatedKey."""
    raw = await request.read()
    _check_depth(raw)
    try:
        body = msgspec.json.decode(raw, type=wanted)
        refuse_repeated_keys(raw)
        return body
    except msgspec.ValidationError as wrong:
        raise InvalidInput(f"the body can't be taken: {wrong}", field=_path_of(str(wrong))) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as wrong:
        raise InvalidInput(f"the body is not JSON: {wrong}") from None


def path_name(request: web.Request, what: str, part: str) -> str:
    """A checked name of the path. Raises InvalidName."""
    return check_name(what, request.match_info[part], part)


def query_of(request: web.Request, allowed: Collection[str]) -> "MultiDict[str]":
    """The query's parameters. Raises InvalidInput for one that the path doesn't know."""
    query = MultiDict(request.query)
    for name in query:
        if name not in allowed:
            raise InvalidInput(f"unknown parameter {name[:80]!r}", field=name[:80], allowed=sorted(allowed))
    return query


def whole_number(query: "MultiDict[str]", name: str, default: int, most: int) -> int:
    """A parameter from 0 to `most`. Raises InvalidInput."""
    text = query.get(name)
    if text is None:
        return default
    if _WHOLE.fullmatch(text) is None or int(text) > most:
        raise InvalidInput(f"{name} must be a whole number from 0 to {most}", field=name)
    return int(text)


def flag(query: "MultiDict[str]", name: str) -> bool:
    """A parameter that is true or false. Raises InvalidInput."""
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise InvalidInput(f"{name} must be true or false", field=name)
    return text == "true"


def _check_depth(raw: bytes) -> None:
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _BRACKETS.finditer(_STRINGS.sub(b"", raw)):
        depth += 1 if bracket.group() in b"[{" else -1
        if depth > MAX_DEPTH:
            raise InvalidInput(f"the body is nested deeper than {MAX_DEPTH} levels", most=MAX_DEPTH)


def _path_of(message: str) -> Any:
    found = re.search(r"at `\$\.?([^`]*)`$", message)
    unknown = re.search(r"unknown field `([^`]*)`", message)
    missing = re.search(r"required field `([^`]*)`", message)
    path = found.group(1) if found else ""
    last = (unknown or missing).group(1) if unknown or missing else ""  # type: ignore[union-attr]
    return ".".join(part for part in (path, last) if part) or None
