"""The coordinator's own paths, /health and /metrics. In: store and process metrics. Out: signs of life, and numbers."""

from collections import Counter as Count

from aiohttp import web
from prometheus_client import Counter, Gauge

from coordinator.model.requests import RequestKind, RequestState
from coordinator.opscenter.app import Endpoint
from coordinator.opscenter.context import Api
from coordinator.opscenter.errors import answer
from kit.metrics import CONTENT_TYPE, ProcessMetrics


class Measures:
    """Counts answers and running requests."""

    def __init__(self, api: Api, metrics: ProcessMetrics, version: str) -> None:
        self._api = api
        self._metrics = metrics
        self._version = version
        self._answers = Counter(
            "helenus_http_answers",
            "Answers by path pattern and status.",
            ["method", "path", "status"],
            registry=metrics.registry,
        )
        self._running = Gauge(
            "helenus_requests_running", "Requests under way.", ["cluster", "kind"], registry=metrics.registry
        )

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
        for cluster in self._api.clusters:
            for kind in RequestKind:
                self._running.labels(cluster, kind.value).set(found[cluster, kind])
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})
