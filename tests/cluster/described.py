"""Whether a service's openapi.yaml describes what was said to it.

In: the file of a `Recorder` (see `exchanges`). Out: how many exchanges it had, or NotAsDescribed. What the service
accepted (a status below 400) must be a described request and a described answer; of what it refused only the answer is
checked, for the request may be wrong on purpose.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from tests.cluster.canaries import refuse
from tests.cluster.exchanges import Exchange
from tests.cluster.validated_client import AGENT_DESCRIPTION, NotAsDescribed, check_exchange, description_of

_WORD = re.compile(r"[a-z_]{1,24}")


def check(path: Path, compare: "Comparing | None" = None) -> int:
    """Check what was recorded and forget it; the number of exchanges. Those that differ from an earlier one in texts
    and numbers alone are checked once in this process. `compare`: with another description than the agent's. Raises
    NotAsDescribed."""
    if not path.exists():
        return 0
    count = 0
    for exchange in _recorded(path):
        count += 1
        refuse(f"the answer to {exchange.method} {exchange.path}", exchange.answer)
        form = _form_of(exchange)
        if form in _described:
            continue
        (compare or as_the_agents)(exchange)
        _described.add(form)
    os.truncate(path, 0)
    return count


Comparing = Callable[[Exchange], None]
"""Raises NotAsDescribed."""


def as_the_agents(exchange: Exchange) -> None:
    """Compare it with the agent's description."""
    check_exchange(
        description_of(AGENT_DESCRIPTION),
        exchange.method,
        exchange.path,
        exchange.sent_headers,
        exchange.request,
        exchange.status,
        {"Content-Type": exchange.answer_type},
        exchange.answer,
        request_too=exchange.status < 400,
    )


_described: set[str] = set()
"""A cache of forms that were found right."""


def _recorded(path: Path) -> Iterator[Exchange]:
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                try:
                    yield msgspec.json.decode(line, type=Exchange)
                except msgspec.DecodeError:
                    if not line.endswith(b"\n") or not line.rstrip().endswith(b"}"):
                        continue  # cut by the death of the agent
                    raise NotAsDescribed(f"{path} has a line that is no exchange: {line[:200]!r}") from None


def _form_of(exchange: Exchange) -> str:
    path, _, query = exchange.path.partition("?")
    parameters = sorted(part.partition("=")[0] for part in query.split("&"))
    parts = path.split("/")
    place = exchange.pattern or (parts[:3], parts[4:])  # between them stands a name: of a destination, a command, a tag
    bodies = [_shape(body) for body in (exchange.request, exchange.answer)]
    return repr((exchange.method, place, parameters, exchange.status, exchange.answer_type, bodies))


def _shape(body: bytes) -> Any:
    try:
        return _form(msgspec.json.decode(body)) if body else None
    except (msgspec.DecodeError, RecursionError):
        return "text"


def _form(value: Any) -> Any:
    """Keys and types; short words (states, kinds, codes) as they are."""
    if isinstance(value, dict):
        return {key: _form(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return sorted({repr(_form(item)) for item in value})
    if isinstance(value, str):
        return value if _WORD.fullmatch(value) else "str"
    return type(value).__name__
