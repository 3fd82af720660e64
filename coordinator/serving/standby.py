"""The API of a coordinator that doesn't lead. In: who leads. Out: signs of life and the description of the API from
here, all else from the leader.

The doors are the coordinator's own, and then the leader's as well: an address that asks for a token must not be a way
round it to a leader on the same machine that asks for none.
"""

import time
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import Gauge

from coordinator.access.passwords import Passwords
from coordinator.access.people import people_of
from coordinator.model.leading import Lease
from coordinator.opscenter.app import Endpoint
from coordinator.opscenter.doors import who_may
from coordinator.opscenter.errors import answer, error_answer, errors_in_form
from coordinator.opscenter.roles import ROLES
from coordinator.serving.forwarding import Forwarding
from coordinator.serving.ready import Ready
from coordinator.store.protocol import Store
from kit.http_description import Description
from kit.http_errors import ERROR_FORM
from kit.http_limits import body_limits
from kit.http_origin import same_origin
from kit.metrics import CONTENT_TYPE, ProcessMetrics


def leading_gauge(metrics: ProcessMetrics, *, leads: bool) -> None:
    """Tell whether this coordinator leads."""
    Gauge("helenus_leading", "1: this coordinator leads; 0: another one does, or none.", registry=metrics.registry).set(
        leads
    )


class Standby:
    """`app` answers while another coordinator leads, or none. `apart`: answers first, for jobs that go on here."""

    def __init__(
        self,
        ready: Ready,
        store: Store,
        leader: Callable[[], Lease | None],
        forwarding: Forwarding,
        passwords: Passwords,
        version: str,
        apart: Middleware,
    ) -> None:
        self._store = store
        self._leader = leader
        self._version = version
        self.metrics = ProcessMetrics("coordinator", version)
        leading_gauge(self.metrics, leads=False)
        others_administer = ready.access.token is not None or ready.access.client_certificate
        people = people_of(store, ready.settings.access, time.time, passwords, others_administer=others_administer)
        doors = [
            same_origin(ready.access),
            who_may(ready.access, people.logins),
            body_limits(ready.settings.http.body_seconds),
            apart,
        ]
        self.app = web.Application(
            middlewares=[errors_in_form(), *doors], client_max_size=ready.settings.http.max_body_bytes
        )
        self.app[ERROR_FORM] = error_answer
        own = self._own()
        served = {(method, path) for method, path, _ in own}
        passed = [(method, path, forwarding.pass_on) for method, path in ROLES if (method, path) not in served]
        for method, path, endpoint in (*own, *passed):
            for spelling in (path, f"{path}/"):
                self.app.router.add_route(method, spelling, endpoint)

    def _own(self) -> list[tuple[str, str, Endpoint]]:
        described = Description("coordinator.opscenter").routes("GET", "HEAD")
        return [("GET", "/health", self.health), ("GET", "/metrics", self.show_metrics), *described]

    async def health(self, request: web.Request) -> web.Response:
        """200 while the state can be read; its error otherwise. Who leads is told by address alone."""
        await self._store.values.get("health")
        leader = self._leader()
        told = {"status": "standby", "version": self._version, "leader": None if leader is None else leader.url}
        return answer(told)

    async def show_metrics(self, request: web.Request) -> web.Response:
        """Prometheus' text form, of the process."""
        return web.Response(body=self.metrics.render(), headers={"Content-Type": CONTENT_TYPE})
