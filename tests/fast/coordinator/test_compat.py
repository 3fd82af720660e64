"""docs/opscenter-compat.md is complete: a row for each endpoint and parameter, and a test for each row."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from tests.cluster.coordinator_exchanges import description

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs" / "opscenter-compat.md"
_ROW = re.compile(r"^\| `([A-Z]+ /[^`]*)` \| ([^|]*) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
_WORD = re.compile(r"`([^`]+)`")
JUDGED = ("exact", "differs", "ours", "not built")
RESTORE = ("throttle", "excluded-nodes", "force", "destination")
TEXT: dict[str, tuple[str, ...]] = {
    "GET /{cluster}/backup-activity": (
        "count", "reverse", "timestamp", "filter_type", "filter_live", "filter_success", "first_backup_id",
    ),
    "GET /{cluster}/backups": ("match", "last_seen", "amount", "destination", "list_all"),
    "GET /{cluster}/backups/{keyspace}": (),
    "POST /{cluster}/backups/run": ("keyspaces", "destinations"),
    "POST /{cluster}/backups/sync": ("tag", "destinations"),
    "DELETE /{cluster}/backups": ("tag", "destination", "remove_destination"),
    "GET /{cluster}/backups/pit": (),
    "POST /{cluster}/backups/pit": ("destinations", "backup_directory", "sleep", "drain_first"),
    "DELETE /{cluster}/backups/pit": ("sleep", "drain_first"),
    "GET /{cluster}/backups/pit/logs": (),
    "POST /{cluster}/backups/restore/{tag}": (*RESTORE, "force_schema", "keyspaces"),
    "POST /{cluster}/backups/restore/{tag}/{keyspace}": (*RESTORE, "column-families", "truncate"),
    "POST /{cluster}/backups/restore/{tag}/{keyspace}/{table}": (*RESTORE, "truncate"),
    "POST /{cluster}/backups/pit_check": ("pit", "destination", "keyspaces", "pit_destination"),
    "POST /{cluster}/backups/pit/run": ("keyspaces", "destination", "pit_destination", "pit", "restart_pause"),
    "GET /{cluster}/backups/graphs/{tag}/{destination}": (),
    "GET /{cluster}/backups/destinations": (),
    "GET /{cluster}/backups/destinations/{destination}": (),
    "POST /{cluster}/backups/destinations": (
        "id", "delete_this", "access_key", "access_secret", "path", "provider", "server_side_encryption",
    ),
    "DELETE /{cluster}/backups/destinations/{destination}": (),
}  # fmt: skip
"""Endpoints and parameters of the text."""


def rows() -> list[tuple[str, tuple[str, ...], str, list[str]]]:
    """Endpoint, parameters, what is said, tests."""
    found = _ROW.findall(DOCUMENT.read_text())
    assert len(found) == DOCUMENT.read_text().count("\n| `"), "a row that isn't written as the others"
    return [
        (endpoint, tuple(_WORD.findall(named)), said, _WORD.findall(tests)) for endpoint, named, said, tests in found
    ]


def described() -> dict[str, set[str]]:
    """Operation of the description → its options, in the query or the body."""
    shared = description()["components"]
    operations: dict[str, set[str]] = {}
    for path, item in description()["paths"].items():
        for method, operation in item.items():
            if method not in ("get", "post", "put", "delete"):
                continue
            options = set()
            for parameter in operation.get("parameters", []):
                whole = _resolved(parameter, shared["parameters"])
                options |= {whole["name"]} if whole["in"] == "query" else set()
            schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            options |= _resolved(schema, shared["schemas"]).get("properties", {}).keys()
            operations[f"{method.upper()} {path}"] = options
    return operations


def _resolved(part: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = shared[part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part
    return whole


def test_every_endpoint_and_parameter_has_a_row() -> None:
    """Promise: nothing of the text is left out, nothing that is served is, and no row is about what there is not."""
    told: dict[str, list[str]] = {}
    for endpoint, named, _, _ in rows():
        told.setdefault(endpoint, []).extend(named or [""])
    served = described()
    assert told.keys() == served.keys()
    for endpoint, names in told.items():
        assert sorted(names) == sorted({*served[endpoint], ""}), endpoint
    for endpoint, options in TEXT.items():
        assert {*options} <= {*told[endpoint]}, endpoint


def test_each_row_says_exact_or_why_not() -> None:
    """Promise: whoever comes from OpsCenter reads of each option whether his script goes on as it is."""
    for endpoint, named, said, _ in rows():
        assert said.startswith(JUDGED), (endpoint, named, said)
        if said.startswith("differs"):
            assert len(said) > len("differs: "), (endpoint, named)
        for option in named:
            assert not (option in TEXT.get(endpoint, ()) and said.startswith(("ours", "not built"))), (endpoint, option)


def test_each_row_names_a_test_that_exists() -> None:
    """Promise: what is said is shown by a test."""
    for endpoint, named, _, tests in rows():
        assert tests, (endpoint, named)
        for name in tests:
            path, _, function = name.partition("::")
            assert function in _functions(path), (endpoint, named, name)


@cache
def _functions(path: str) -> frozenset[str]:
    return frozenset(re.findall(r"^(?:async )?def (test_\w+)\(", (ROOT / "tests" / path).read_text(), re.MULTILINE))
