"""Whether the coordinator's openapi.yaml describes what was said to it. In: a recorded exchange. Out: nothing, or
NotAsDescribed.

The description is taken more strictly than clients should take it: an answer with a field that isn't described is one
that nobody described, and so is an error whose code isn't among those named for its status.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import yaml
from openapi_core import OpenAPI

from tests.cluster.described import check
from tests.cluster.exchanges import Exchange
from tests.cluster.validated_client import NotAsDescribed, check_exchange

COORDINATOR_DESCRIPTION = Path(__file__).parents[2] / "coordinator" / "opscenter" / "openapi.yaml"
_HYPHENED = {"column_families": "column-families", "excluded_nodes": "excluded-nodes"}
_OPTION = re.compile(r"[a-z]+(-[a-z]+)+")
_CODE = re.compile(r"`([a-z_]+)`")
_PASSED_ON = frozenset({("changeDestination", 400), ("checkPoint", 409)})
"""Operations and statuses whose errors may have a code of an agent's."""


def check_coordinator(path: Path) -> int:
    """Check what a coordinator's `Recorder` wrote, and forget it; the number of exchanges."""
    return check(path, as_described)


@cache
def description() -> dict[str, Any]:
    """The file's content."""
    content: dict[str, Any] = yaml.safe_load(COORDINATOR_DESCRIPTION.read_text())
    return content


@cache
def closed() -> OpenAPI:
    """The description whose objects have no other fields than those described."""
    return OpenAPI.from_dict(_closed(description()))


def as_described(exchange: Exchange) -> None:
    """Raises NotAsDescribed unless the exchange is in the description."""
    path, _, query = exchange.path.partition("?")
    method = "GET" if exchange.method == "HEAD" else exchange.method
    pattern = exchange.pattern.rstrip("/")
    operation = description()["paths"].get(pattern, {}).get(method.lower())
    if operation is None:
        _nothing_there(exchange)
        return
    headers = exchange.sent_headers
    body = exchange.request
    if body.strip() and exchange.status < 400:
        headers |= {"Content-Type": "application/json"}  # whatever the type says, it is read as JSON
        body = msgspec.json.encode(_in_one_spelling(msgspec.json.decode(body)))
    check_exchange(
        closed(),
        method,
        path.rstrip("/") + (f"?{_query(query, operation)}" if query else ""),
        headers,
        body.strip() or None,
        exchange.status,
        {"Content-Type": exchange.answer_type},
        exchange.answer,
        request_too=exchange.status < 400,
    )
    if exchange.status >= 400:
        code = msgspec.json.decode(exchange.answer)["code"]
        named = codes_of(operation, exchange.status)
        if code not in named and (operation["operationId"], exchange.status) not in _PASSED_ON:
            raise NotAsDescribed(f"{exchange.method} {exchange.path}: {exchange.status} with the code {code}")


def codes_of(operation: dict[str, Any], status: int) -> set[str]:
    """The codes that an operation's description names for a status."""
    response = operation["responses"][str(status)]
    if "$ref" in response:
        response = description()["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
    return set(_CODE.findall(response["description"]))


def _nothing_there(exchange: Exchange) -> None:
    """What the description's beginning says of other paths and methods."""
    told = msgspec.json.decode(exchange.answer) if exchange.answer_type == "application/json" else None
    kept = {"brief", "message", "type", "code", "todo", "fields"}
    if exchange.status < 400 or not isinstance(told, dict) or told.keys() != kept or told["brief"] != "error":
        raise NotAsDescribed(f"{exchange.method} {exchange.path} → {exchange.status}: {exchange.answer[:300]!r}")


def _in_one_spelling(value: Any) -> Any:
    """Options named with hyphens or underscores are the same; the description knows one of the two."""
    if isinstance(value, dict):
        return {_spelt(key): _in_one_spelling(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_in_one_spelling(each) for each in value]
    return value


def _spelt(key: str) -> str:
    if key in _HYPHENED or key in _HYPHENED.values():
        return _HYPHENED.get(key, key)
    return key.replace("-", "_") if _OPTION.fullmatch(key) else key


def _query(query: str, operation: dict[str, Any]) -> str:
    pairs = [(_spelt(name), sign + value) for name, sign, value in (part.partition("=") for part in query.split("&"))]
    return "&".join(
        name + value for name, value in pairs if value not in ("", "=") or not _may_be_empty(name, operation)
    )


def _may_be_empty(name: str, operation: dict[str, Any]) -> bool:
    """Whether the parameter's grammar takes an empty text: OpenAPI has no word for that any more."""
    shared = description()["components"]
    for parameter in operation.get("parameters", []):
        whole = shared["parameters"][parameter["$ref"].rsplit("/", 1)[1]] if "$ref" in parameter else parameter
        if whole["name"] == name:
            schema = shared["schemas"].get(whole["schema"].get("$ref", "").rsplit("/", 1)[-1], whole["schema"])
            return "pattern" in schema and "minLength" not in schema and re.search(schema["pattern"], "") is not None
    return False


def _closed(value: Any) -> Any:
    if isinstance(value, list):
        return [_closed(each) for each in value]
    if not isinstance(value, dict):
        return value
    shut = {key: each if key in ("example", "examples") else _closed(each) for key, each in value.items()}
    is_object = "object" in value.get("type", ()) if isinstance(value.get("type"), str | list) else False
    if is_object and "properties" in value and "additionalProperties" not in value:
        shut["additionalProperties"] = False
    return shut
