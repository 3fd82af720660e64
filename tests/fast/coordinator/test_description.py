"""openapi.yaml says what the coordinator does: paths, methods, names, codes, with examples that are right."""

import importlib
import pkgutil
from typing import Any

import msgspec
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

import coordinator
import kit
from agent.wire import names
from agent.wire.destinations import PROVIDERS, SECRET_FIELDS
from coordinator.model.access import Role
from coordinator.model.activity import ActivityEvent
from coordinator.model.notices import HookState
from coordinator.model.requests import RequestKind, RequestState
from coordinator.opscenter import activity, requests
from coordinator.opscenter.backup_options import OPTIONS as RUN_OPTIONS
from coordinator.opscenter.clusters import PROPERTIES
from coordinator.opscenter.copies import UNBUILT
from coordinator.opscenter.destination_settings import OPTIONS
from coordinator.opscenter.job_schedules import TOLD, WHEN
from coordinator.opscenter.rules import NAMES
from kit.errors import HelenusError
from tests.cluster.coordinator_exchanges import codes_of, description
from tests.fast.coordinator.served_routes import SERVED

SCHEMAS = description()["components"]["schemas"]
METHODS = ("get", "put", "post", "patch", "delete")
OPERATIONS = [
    (path, method, operation)
    for path, item in description()["paths"].items()
    for method, operation in item.items()
    if method in METHODS
]
INNER = frozenset(
    {
        *("configuration", "invalid_input", "state_directory_in_use", "state_directory_unusable", "store_missing"),
        *("webhook_failed", "webhook_address_refused", "webhook_gone"),
    }
)
"""Codes that no request ends with: of the start and of a command beside it, of the agents' own bodies, of webhooks."""


def test_the_description_is_valid_openapi() -> None:
    """Promise: tools for OpenAPI 3.1 can read it."""
    OpenAPIV31SpecValidator(description()).validate()


def test_every_route_is_described_and_every_description_is_a_route() -> None:
    """Promise: nothing is served in secret, nothing is promised in vain."""
    # A HEAD is a GET whose body stays away.
    assert {(path, method.replace("HEAD", "GET").lower()) for method, path in SERVED} == {
        (path, method) for path, method, _ in OPERATIONS
    }
    assert len({operation["operationId"] for _, _, operation in OPERATIONS}) == len(OPERATIONS)


def contents() -> list[tuple[str, Any, Any]]:
    """Where, schema and example of each JSON body; None: it has no example."""
    found = []
    for path, method, operation in OPERATIONS:
        bodies = {"request": operation.get("requestBody", {}), **operation["responses"]}
        for name, body in bodies.items():
            shared = "$ref" in body
            whole = description()["components"]["responses"][body["$ref"].rsplit("/", 1)[1]] if shared else body
            content = whole.get("content", {}).get("application/json")
            if content is None:
                continue
            examples = [each["value"] for each in content.get("examples", {}).values()]
            given = [content["example"]] if "example" in content else examples or [None]
            found += [(f"{method} {path} {name}", content["schema"], example) for example in given]
    return found


def test_every_json_body_has_examples_that_are_as_described() -> None:
    """Promise: what a person copies out of the description is taken, and what he reads there is what comes."""
    for where, schema, example in contents():
        assert example is not None or "{property}" in where, where
        validator = OAS31Validator({**schema, "components": description()["components"]})
        assert not list(validator.iter_errors(example)), where


def test_the_page_finds_what_it_fills_in() -> None:
    """Promise: the page puts the coordinator's own cluster where the description has an example, after a login."""
    assert description()["components"]["parameters"]["Cluster"]["example"]
    assert "/login" in description()["paths"]


def test_every_code_is_named_with_its_status() -> None:
    """Promise: whoever meets a code finds it in the description of the answer that it came with."""
    for package in (coordinator, kit):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    order, login = named("changeDestination"), named("login")
    for kind in kinds(HelenusError):
        if kind.__module__.startswith(("coordinator.", "kit.")) and kind.code not in INNER and kind.status != 405:
            operation = login if kind.status == 429 else order
            assert kind.code in codes_of(operation, kind.status), (kind.__name__, kind.status)


def named(operation_id: str) -> dict[str, Any]:
    """The operation of that id."""
    by_id: dict[str, dict[str, Any]] = {operation["operationId"]: operation for _, _, operation in OPERATIONS}
    return by_id[operation_id]


def kinds(of: type[HelenusError]) -> list[type[HelenusError]]:
    return [each for kind in of.__subclasses__() for each in (kind, *kinds(kind))]


def test_every_operation_says_what_can_go_wrong_anywhere() -> None:
    """Promise: the refusals of the doors, which stand before every path and ask the state, are named at each."""
    doors = {"400", "401", "403", "404", "408", "413", "414", "417", "421", "431", "500", "503"}
    for path, method, operation in OPERATIONS:
        assert doors <= operation["responses"].keys(), (path, method)


@pytest.mark.parametrize("shown", ["Destination", "ChangedDestination"])
def test_a_destinations_attributes_are_those_of_its_settings(shown: str) -> None:
    """Promise: each provider's settings, as they are sent and as they are shown, secrets as a mask alone."""
    settings = {field.name for kind in PROVIDERS.values() for field in msgspec.structs.fields(kind)}
    properties = SCHEMAS[shown]["properties"]
    assert properties.keys() - {"id"} == settings | {"provider", *NAMES}
    flat = {**properties, **properties["encryption"]["properties"]}
    masks = {name for name, schema in flat.items() if schema.get("$ref", "").endswith("/Masked")}
    assert masks == SECRET_FIELDS
    assert SCHEMAS["DestinationOptions"]["properties"].keys() == OPTIONS | set(NAMES)


def test_words_and_grammars_are_the_codes_own() -> None:
    """Promise: a type, a state or a character more in one place is one in the other."""
    assert SCHEMAS["RequestType"]["enum"] == [kind.value for kind in RequestKind]
    assert SCHEMAS["State"]["enum"] == [state.value for state in RequestState]
    assert set(SCHEMAS["EventType"]["enum"]) == activity.TYPES
    assert set(ActivityEvent.__annotations__["type"].__args__) == activity.TYPES
    assert SCHEMAS["Tag"]["pattern"] == f"^{names._GRAMMARS['tag'].pattern}$"
    assert SCHEMAS["RunOptions"]["properties"].keys() == {"type", *RUN_OPTIONS}
    assert SCHEMAS["JobParams"]["properties"].keys() == {"type", *RUN_OPTIONS}
    assert SCHEMAS["CopyOptions"]["properties"].keys() >= {*NAMES, *UNBUILT}
    assert SCHEMAS["ScriptName"]["anyOf"][0]["pattern"] == f"^({names._GRAMMARS['script'].pattern})?$"
    assert SCHEMAS["Role"]["enum"] == [role.value for role in Role]
    assert SCHEMAS["ScheduleOptions"]["properties"].keys() == {*WHEN, "job_params", *TOLD}
    assert SCHEMAS["Schedule"]["properties"].keys() == {*WHEN, "job_params", *TOLD}
    assert set(SCHEMAS["Webhook"]["properties"]) == set(HookState.__struct_fields__) - {"name"}
    shared = description()["components"]["parameters"]
    assert shared["NodeProperty"]["schema"]["enum"] == list(PROPERTIES)
    assert SCHEMAS["Node"]["properties"].keys() == set(PROPERTIES)
    listed = named("listRequests")
    assert listed["parameters"][0]["schema"]["default"] == requests.UNASKED
    assert listed["parameters"][0]["description"].startswith(f"At most so many; {requests.MOST_LISTED:,} at most")
