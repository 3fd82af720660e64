"""Tries out whether a store keeps the protocol. In: a store and a scratch prefix. Out: one result for each promise.

The tests run it on every provider, `POST /v1/destinations/{id}/check` on a person's own bucket. Whatever it stores
lies under the prefix and is removed at the end, after a failure too.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Literal

from agent.storage import conformance_checks as checks
from agent.storage.conformance_checks import Broken, Skipped
from agent.storage.protocol import (
    BucketMissing,
    Denied,
    DestinationFull,
    DirectoryDenied,
    DirectoryReadOnly,
    Storage,
    StorageError,
)
from agent.wire.destinations import CheckResult

CONDITIONAL_CREATE = "conditional_create"
Check = Callable[[Storage, str], Awaitable[str]]

_CHECKS: dict[str, Check] = {
    "missing_key": checks.missing_key,
    "existing_key": checks.existing_key,
    "exact_keys": checks.exact_keys,
    "zero_bytes": checks.zero_bytes,
    "range_reads": checks.range_reads,
    "replace": checks.replace,
    "concurrent_puts": checks.concurrent_puts,
    CONDITIONAL_CREATE: checks.conditional_create,
    "past_1000_keys": checks.past_1000_keys,
    "delete_many": checks.delete_many,
    "clock": checks.Clock(time.time),
    "large_object": checks.large_object,
}
NAMES = frozenset(_CHECKS)
BIG_ONLY = frozenset({"large_object"})
"""Not for a person's own store: through a small limit its 40 MiB take longer than anybody waits for a check. A store
that can't do it refuses the first backup, and each object's digest is compared when it is read. A listing that ends
early shows nowhere else: what it hides would count as used by no backup, and be deleted."""


async def conform(
    storage: Storage,
    prefix: str,
    *,
    big: bool,
    names: Collection[str] = NAMES,
    clock: Callable[[], float] = time.monotonic,
) -> list[CheckResult]:
    """Run the checks of `names` in their order; `prefix` must end with `/` and be empty.

    Without `big` those that move much (one object of 20 MiB) are skipped. `conditional_create` is a capability: a
    store without it, or that never showed it clearly, is «skipped» there, and its user must ask before each put. A
    bucket that is missing or refuses the credentials ends the run: the remaining checks are skipped. Raises
    `DestinationFull`: without room nothing shows what a store can do.
    """
    results: list[CheckResult] = []
    hopeless: str | None = None
    for name, check in _CHECKS.items():
        if name not in names:
            continue
        if hopeless is not None or (name in BIG_ONLY and not big):
            results.append(CheckResult(name, "skipped", hopeless or "only when asked for: it moves much data"))
            continue
        since = clock()
        outcome, detail = await _outcome(check, storage, f"{prefix}{name}/")
        if outcome == "hopeless":
            hopeless = f"not tried after: {detail}"
        results.append(CheckResult(name, "failed" if outcome == "hopeless" else outcome, detail, clock() - since))
    return results


async def _outcome(
    check: Check, storage: Storage, prefix: str
) -> tuple[Literal["ok", "failed", "skipped", "hopeless"], str]:
    try:
        try:
            return "ok", await check(storage, prefix)
        finally:
            await _clean(storage, prefix)
    except Skipped as reason:
        return "skipped", str(reason)
    except Broken as failure:
        return "failed", str(failure)
    except (BucketMissing, Denied, DirectoryDenied, DirectoryReadOnly) as failure:
        return "hopeless", f"{failure.code}: {failure.message}"
    except DestinationFull:
        raise
    except StorageError as failure:
        return "failed", f"{failure.code}: {failure.message}"


async def _clean(storage: Storage, prefix: str) -> None:
    await asyncio.shield(_remove(storage, prefix))


async def _remove(storage: Storage, prefix: str) -> None:
    await storage.delete([entry.key async for entry in storage.list(prefix)])
