"""openapi.yaml says what the code does: paths, methods, schemas, names."""

import re
import types
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import msgspec
import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

from agent.wire import archiving, backups, commands, destinations, names, node, point_in_time, throttle
from tests.cluster.validated_client import AGENT_DESCRIPTION
from tests.fast.commands.tiny_agent import everything, quick
from tests.fast.http.served import served

DESCRIPTION: dict[str, Any] = yaml.safe_load(AGENT_DESCRIPTION.read_text())
SCHEMAS = DESCRIPTION["components"]["schemas"]
STRUCTS = {
    name: kind
    for module in (backups, commands, destinations, node, throttle)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind is not destinations.BucketSettings
} | {
    kind.__name__: kind
    for kind in (
        archiving.LogTarget,
        archiving.LogGap,
        archiving.LogPlace,
        archiving.ArchivingView,
        archiving.ArchiveArguments,
        archiving.RestartArguments,
        archiving.TrimLogsArguments,
        point_in_time.PitArguments,
        point_in_time.JobDocument,
    )
}
"""All but what providers have in common: no one sends that by itself; and but results, which are objects there."""


def test_the_description_is_valid_openapi() -> None:
    """Tools for OpenAPI 3.1 can read it."""
    OpenAPIV31SpecValidator(DESCRIPTION).validate()


async def test_every_route_is_described_and_every_description_is_a_route(tmp_path: Path) -> None:
    """Nothing is served in secret, nothing is promised in vain."""
    async with served(tmp_path, everything(quick)) as agent:
        routes = {
            (resource.canonical, route.method.lower())
            for resource in agent.app.router.resources()
            for route in resource
            if route.method != "HEAD"
        }
    described = {
        (path, method)
        for path, item in DESCRIPTION["paths"].items()
        for method in item
        if method in ("get", "put", "post", "patch", "delete")
    }
    assert routes == described


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_each_type_of_the_wire_is_described_field_by_field(name: str) -> None:
    """Fields, which are required of requests, and whether unknown ones are refused."""
    kind, schema = STRUCTS[name], SCHEMAS[name]
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    config = kind.__struct_config__
    tag = {config.tag_field} if config.tag_field else set()
    assert schema["properties"].keys() == fields.keys() | tag
    if config.forbid_unknown_fields:
        assert schema["additionalProperties"] is False
        assert set(schema.get("required", [])) == {n for n, field in fields.items() if field.required} | tag
    else:
        assert {n for n, field in fields.items() if field.required} <= set(schema["required"])
    for field_name, field in fields.items():
        nullable = type(None) in _members(field.type)
        assert _may_be_null(schema["properties"][field_name]) == nullable, field_name


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _may_be_null(schema: dict[str, Any]) -> bool:
    if "$ref" in schema:
        return _may_be_null(SCHEMAS[schema["$ref"].rsplit("/", 1)[1]])
    kinds = schema.get("type", [])
    return "null" in ([kinds] if isinstance(kinds, str) else kinds) or any(map(_may_be_null, schema.get("anyOf", [])))


def test_enumerations_and_grammars_are_the_codes_own() -> None:
    """A kind, a state or a character more in one place is one in the other."""
    assert SCHEMAS["Kind"]["enum"] == [kind.value for kind in commands.Kind]
    assert SCHEMAS["State"]["enum"] == [state.value for state in commands.State]
    for schema, what in {
        "Name": "command",
        "DestinationId": "destination",
        "Tag": "tag",
        "Keyspace": "keyspace",
        "TableName": "table",
        "HostId": "host_id",
        "ShortId": "repository_id",
        "MadeBy": "made_by",
    }.items():
        assert SCHEMAS[schema]["pattern"] == f"^{names._GRAMMARS[what].pattern}$"


def test_every_operation_answers_errors_in_one_form() -> None:
    """Where a token is asked for, 401 is described; where a body is taken, so are its three refusals."""
    for path, item in DESCRIPTION["paths"].items():
        for method, operation in item.items():
            if method not in ("get", "put", "post", "patch", "delete") or path == "/health":
                continue
            assert "401" in operation["responses"], (method, path)
            if "requestBody" in operation:
                assert {"400", "408", "413", "415"} <= operation["responses"].keys(), (method, path)


def test_every_error_code_of_the_agents_protocol_is_in_the_list_of_errors() -> None:
    """A code that a person meets can be looked up."""
    listed = set(re.findall(r"^\| `([a-z_]+)`", (AGENT_DESCRIPTION.parents[2] / "docs/errors.md").read_text(), re.M))
    from agent.commands import errors as command_errors
    from agent.http import bodies, readers
    from agent.http import errors as http_errors
    from kit import http_auth, http_limits
    from kit.errors import HelenusError

    codes = {
        kind.code
        for module in (command_errors, http_errors, bodies, readers, names, http_auth, http_limits)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, HelenusError)
    }
    assert codes <= listed, codes - listed
