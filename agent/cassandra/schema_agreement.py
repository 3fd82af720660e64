"""When all nodes have one schema version. In: the node's own view of the versions. Out: the version, or who differs.

A node that is down keeps the version it had when it went: it is left out, once the failure detector says that it is.
"""

import asyncio
from collections.abc import Awaitable, Callable

from agent.cassandra.errors import SchemaDisagreement
from agent.cassandra.node_view import NodeView
from agent.cassandra.protocol import NodeControl

_PAUSE_SECONDS = 0.25
_ASK_AFTER = 12
"""After so many looks (3 s) the node is asked who is down: with nodetool that costs a JVM start."""

Sleep = Callable[[float], Awaitable[None]]


class SchemaAgreement:
    """Waits for agreement; `sleep` is injected for tests."""

    def __init__(self, view: NodeView, control: NodeControl, sleep: Sleep = asyncio.sleep) -> None:
        self._view = view
        self._control = control
        self._sleep = sleep

    async def settled(self, deadline_seconds: float) -> str:
        """The one schema version of every node that is up. Raises `SchemaDisagreement` with version → addresses."""
        down: frozenset[str] = frozenset()
        looks = max(int(deadline_seconds / _PAUSE_SECONDS), _ASK_AFTER + 1)
        versions: dict[str, str] = {}
        for look in range(looks):
            versions = {
                address: version
                for address, version in (await self._view.schema_versions()).items()
                if address not in down
            }
            if len(set(versions.values())) == 1:
                return next(iter(versions.values()))
            if look == _ASK_AFTER:
                members = await self._control.members()
                down = frozenset(address for address, member in members.items() if not member.up)
                continue
            await self._sleep(_PAUSE_SECONDS)
        by_version: dict[str, list[str]] = {}
        for address, version in versions.items():
            by_version.setdefault(version, []).append(address)
        raise SchemaDisagreement(
            f"the nodes have {len(by_version)} schema versions after {deadline_seconds:.0f} s", versions=by_version
        )
