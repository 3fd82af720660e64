"""How webhooks stand, for people and for Prometheus. In: their states. Out: `GET /webhooks`, and metrics."""

from collections.abc import Awaitable, Callable, Iterator, Sequence

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from coordinator.model.notices import HookState
from coordinator.opscenter.app import Endpoint
from coordinator.opscenter.errors import answer


class Webhooks(Collector):
    """`states` gives every configured hook's state. Neither URLs nor secrets are in it."""

    def __init__(self, states: Callable[[], Awaitable[Sequence[HookState]]], registry: CollectorRegistry) -> None:
        self._states = states
        self._seen: Sequence[HookState] = []
        registry.register(self)

    def routes(self) -> list[tuple[str, str, Endpoint]]:
        """For `build_app`."""
        return [("GET", "/webhooks", self.all)]

    async def all(self, request: web.Request) -> web.Response:
        """Each hook by name."""
        told = {state.name: msgspec.to_builtins(state) for state in await self._states()}
        return answer({name: {key: state[key] for key in state if key != "name"} for name, state in told.items()})

    async def measure(self) -> None:
        """Look before the metrics are shown."""
        self._seen = await self._states()

    def collect(self) -> Iterator[Metric]:
        """As at the last `measure`."""
        counted = {
            "told": "Notices that the webhook took.",
            "failed": "Tries to tell the webhook that failed.",
            "dropped": "Notices that the webhook was never told, because it was away for too long.",
        }
        for name, what in counted.items():
            counter = CounterMetricFamily(f"helenus_notices_{name}", what, labels=["webhook"])
            for state in self._seen:
                counter.add_metric([state.name], getattr(state, name))
            yield counter
        waiting = GaugeMetricFamily("helenus_notices_waiting", "Notices that wait for the webhook.", labels=["webhook"])
        gone = GaugeMetricFamily(
            "helenus_notices_webhook_gone", "Whether the webhook answered that it wants no more.", labels=["webhook"]
        )
        for state in self._seen:
            waiting.add_metric([state.name], state.waiting)
            gone.add_metric([state.name], state.gone)
        yield from (waiting, gone)
