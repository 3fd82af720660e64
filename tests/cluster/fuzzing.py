"""Schemathesis against a service. In: its address and what is known there. Out: nothing, or the report of what came
that its description doesn't promise.

The runs are the same each time: deterministic, without a database of former examples, with so many of each operation.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster import toml
from tests.cluster.places import REPOSITORY

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)
DEADLINE = 480.0
"""Seconds against hanging."""


async def keeps_its_promises(
    url: str,
    directory: Path,
    *,
    known: Mapping[str, str | int],
    most: int,
    told_failures: Sequence[int] = (),
    only: Sequence[str] = (),
    excluded: Sequence[str] = (),
) -> str:
    """Send every operation examples, systematic mistakes and `most` random orders; the report. `known`: parameters with
    one value (`path.cluster`: …), so that not all is about things that there aren't. `told_failures`: statuses from 500
    on that the description names and the service may give. `only`, `excluded`: operations by their ids."""
    expected = ["2xx", "3xx", "4xx", *told_failures]
    settings = directory / "schemathesis.toml"
    settings.write_text(
        toml.dumps(
            {"parameters": dict(known), "checks": {"not_a_server_error": {"expected-statuses": expected}}},
        )
    )
    arguments = [
        *("--config-file", str(settings), "--no-color", "run", f"{url}/openapi.yaml", "--url", url),
        *("--phases", "examples,coverage,fuzzing", "--checks", ",".join(CHECKS), "--max-examples", str(most)),
        *("--generation-deterministic", "--no-shrink", "--continue-on-failure", "--suppress-health-check", "all"),
        *("--request-timeout", "60", "--warnings", "off"),
        *(word for name in only for word in ("--include-operation-id", name)),
        *(word for name in excluded for word in ("--exclude-operation-id", name)),
    ]
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        *arguments,
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(directory), "PYTHONPATH": str(REPOSITORY)},
    )
    try:
        async with asyncio.timeout(DEADLINE):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    report = output.decode(errors="replace")
    assert process.returncode == 0, report
    return report
