"""The coordinator's own paths, /health and /metrics. In: store and process metrics. Out: signs of life, and numbers."""

from collections import Counter as Count
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import Counter, Gauge

from coordinator.model.requests import RequestKind, RequestState
from coordinator.opscenter.app import Endpoint
from coordinator.opscenter.context import Api
from coordinator.opscenter.errors import answer
from kit.metrics import CONTENT_TYPE, ProcessMetrics


async def nothing_more() -> None:
    """Nothing else is measured."""


class Measures:
    """Counts answers and running requests. `more`: has others measure what they show, right before it is shown."""

    def __init__(
        self, api: Api, metrics: ProcessMetrics, version: str, more: Callable[[], Awaitable[None]] = nothing_more
    ) -> None:
        self._api = api
        self._metrics = metrics
        self._version = version
        self._more = more
        self._answers = Counter(
            "helenus_http_answers",
            "Answers by path pattern and status.",
            ["method", "path", "status"],
            registry=metrics.registry,
        )
        self._running = Gauge(
            "helenus_requests_running", "Requests under way.", ["cluster", "kind"], registry=metrics.registry
        )

        self._succeeded = Gauge(
            "helenus_schedule_last_success_timestamp_seconds",
            "When the last whole backup of a job schedule was seen to have ended; 0 = none was.",
            ["cluster", "schedule"],
            registry=metrics.registry,
        )
        self._without = self._gauge("nodes_without", "Nodes that do not archive their commit log as ordered.")
        self._lag = self._gauge(
            "lag_seconds", "Age of the oldest write that is not safe in every destination, at most."
        )
        self._waiting = self._gauge("waiting_bytes", "Bytes of segments that are not in every destination, all nodes.")
        self._gaps = self._gauge("gaps", "Gaps in the archived commit log, all nodes.")

    def _gauge(self, name: str, told: str) -> Gauge:
        return Gauge(f"helenus_archiving_{name}", told, ["cluster"], registry=self._metrics.registry)

    def routes(self) -> list[tuple[str, str, Endpoint]]:
        """For `build_app`."""
        return [("GET", "/health", self.health), ("GET", "/metrics", self.metrics)]

    async def count(self, request: web.Request, response: web.StreamResponse) -> None:
        """To be called when an answer is about to be sent."""
        resource = request.match_info.route.resource
        # Patterns, never paths: a label per path would grow with whatever strangers ask.
        pattern = "none" if resource is None else resource.canonical
        self._answers.labels(request.method, pattern, response.status).inc()

    async def health(self, request: web.Request) -> web.Response:
        """200 while the state can be read; its error otherwise."""
        await self._api.store.values.get("health")
        return answer({"status": "ok", "version": self._version})

    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus' text form."""
        running = await self._api.store.requests.find(state=RequestState.RUNNING)
        found = Count((request.cluster, request.kind) for request in running)
        self._succeeded.clear()  # those of schedules that are deleted go
        for cluster in self._api.clusters:
            for schedule in await self._api.schedules.all(cluster):
                self._succeeded.labels(cluster, schedule.id).set(schedule.succeeded)
            for kind in RequestKind:
                self._running.labels(cluster, kind.value).set(found[cluster, kind])
            self._measure_archiving(cluster)
        await self._more()
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    def _measure_archiving(self, cluster: str) -> None:
        """As it was at the last look, a few seconds ago; nothing of a cluster that never archived."""
        nodes = self._api.archiving.seen(cluster)
        if not nodes:
            return
        archiving = [node for node in nodes if node.state != "off"]  # what was switched off doesn't grow older
        times = [time for node in archiving for time in node.safe.values() if time is not None]
        self._without.labels(cluster).set(sum(bool(node.without) for node in nodes))
        self._lag.labels(cluster).set(max(0.0, self._api.clock() - min(times)) if times else 0.0)
        self._waiting.labels(cluster).set(sum(node.waiting_bytes for node in nodes))
        self._gaps.labels(cluster).set(sum(len(node.gaps) for node in nodes))
