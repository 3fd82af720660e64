"""A person's calls to the coordinator. In: paths and bodies as in the API's text. Out: answers, and a request followed
to its end with its progress."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.cluster.services import CoordinatorProcess

Report = Callable[[dict[str, Any]], None]
POLL_SECONDS = 0.5


class RequestFailed(Exception):
    """A request did not end in success; the message is the coordinator's, `status` its whole answer."""

    def __init__(self, status: dict[str, Any]) -> None:
        super().__init__(f"request {status['id']} ended {status['state']}: {status.get('details')}")
        self.status = status

    @property
    def error(self) -> dict[str, Any]:
        """The error object of the request."""
        error: dict[str, Any] = self.status["details"]["error"]
        return error


class OpsCenter:
    """The API of one cluster."""

    def __init__(self, coordinator: CoordinatorProcess) -> None:
        self._coordinator = coordinator

    async def get(self, path: str) -> Any:
        """GET /{cluster}{path}."""
        return await self._coordinator.ask("GET", f"/{self._coordinator.cluster}{path}")

    async def post(self, path: str, body: object) -> Any:
        """POST /{cluster}{path}."""
        return await self._coordinator.ask("POST", f"/{self._coordinator.cluster}{path}", body)

    async def delete(self, path: str) -> Any:
        """DELETE /{cluster}{path}."""
        return await self._coordinator.ask("DELETE", f"/{self._coordinator.cluster}{path}")

    async def refused(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and answer of a request, whatever they are."""
        return await self._coordinator.call(method, f"/{self._coordinator.cluster}{path}", body)

    async def follow(
        self, request: str, report: Report | None = None, deadline: float = 600.0, poll: float = POLL_SECONDS
    ) -> dict[str, Any]:
        """Call `report` with the request's status until it ends. Raises RequestFailed."""
        async with asyncio.timeout(deadline):
            while True:
                status: dict[str, Any] = await self._coordinator.ask("GET", f"/request/{request}/status")
                if report is not None:
                    report(status)
                if status["state"] != "running":
                    break
                await asyncio.sleep(poll)
        if status["state"] != "success":
            raise RequestFailed(status)
        return status
