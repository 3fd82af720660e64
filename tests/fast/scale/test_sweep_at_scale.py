"""List, delete and sweep in a bucket of a million objects: bounded memory, calls that grow with what is there."""

import asyncio
import json
import sys
from typing import Any

import pytest

MOST_KIB = 200 * 1024


async def swept(*measures: int) -> dict[str, Any]:
    """What a process of its own did and took."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fast.scale.sweeping", *map(str, measures), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    assert child.returncode == 0
    told: dict[str, Any] = json.loads(out)
    return told


def pages(keys: int) -> int:
    return -(-keys // 1000)


@pytest.mark.parametrize(
    ("nodes", "objects", "backups", "sweeps"),
    [(100, 10_000, 500, 2), (100, 10_000, 250, 1), (100, 5_000, 500, 1)],
)
async def test_a_million_objects_are_swept_in_little_memory_and_few_calls(
    nodes: int, objects: int, backups: int, sweeps: int
) -> None:
    """Promise: with 100 nodes, 500 backups and a million objects the process stays within 200 MiB, and its calls grow
    with what there is and no faster: `judge` says how. tests/long sweeps all the nodes, and one that has it all."""
    judge(await swept(nodes, objects, backups, sweeps), nodes, objects, backups, sweeps)


def judge(told: dict[str, Any], nodes: int, objects: int, backups: int, sweeps: int) -> None:
    """A listing costs a GET a backup and a list for 1,000 of them, a delete three calls, and the sweep of a node a HEAD
    and a GET for each undeleted backup, a GET for the mark of each deleted one, three looks at the marks and manifests
    of all, two at its own objects, and a delete for each 1,000 keys that go. The last node also takes what is left of
    each deleted backup."""
    half = backups // 2
    assert told["peak_kib"] < MOST_KIB
    assert told["listed"] == backups
    assert told["list"] == {"list": pages(backups), "get": backups}
    assert told["delete"] == {"head": half, "list": half, "put": half}
    assert told["freed"] == [[objects // 2, half, objects - objects // 2]] * sweeps
    calls = told["sweep"]
    view = pages(nodes * backups) + pages(backups + half)
    forgotten = half if nodes == sweeps else 0
    assert calls["get"] <= (backups + _A_FEW) * sweeps
    assert calls["head"] <= (backups - half + _A_FEW) * sweeps
    assert calls["list"] <= (3 * view + 2 * pages(objects) + _A_FEW) * sweeps + 2 * forgotten
    assert calls["delete"] <= (pages(half) + pages(objects // 2) + _A_FEW) * sweeps + 2 * forgotten
    assert calls["put"] <= _A_FEW * sweeps


_A_FEW = 4
"""Calls about intents and the sweep's own mark, however much there is."""
