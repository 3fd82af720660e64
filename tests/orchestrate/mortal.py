"""Hands orders to coordinators that die, and tells how they ended."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.cluster.toy_coordinator import DEADLINE

ROOT = Path(__file__).parents[2]


class Mortal:
    """`async with Mortal() as mortal`: the process that forks lives."""

    async def __aenter__(self) -> "Mortal":
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.cluster.mortal_coordinator",
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(DEADLINE):
            await self._process.wait()

    async def carry_out(
        self,
        state: Path,
        urls: list[str],
        kind: str,
        order: dict[str, Any],
        deaths: list[tuple[int, bool]],
        *,
        forget: bool = False,
    ) -> dict[str, Any]:
        """The end of an order whose coordinator dies at these writes, one per life, and forgets all then if asked."""
        task = {"state": str(state), "urls": urls, "kind": kind, "order": order, "deaths": deaths, "forget": forget}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(task).encode() + b"\n")
        async with asyncio.timeout(DEADLINE * 2):
            answer: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return answer
