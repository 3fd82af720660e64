"""Metrics of a process. In: numbers. Out: Prometheus' text form. The registry is made by the composition root."""

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST


class ProcessMetrics:
    """A registry with what every service tells: version, process, garbage collection, lag of the event loop."""

    def __init__(self, service: str, version: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        Gauge("helenus_build_info", "The service's version.", ["service", "version"], registry=self.registry).labels(
            service, version
        ).set(1)
        self._lag = Histogram(
            "helenus_event_loop_lag_seconds",
            "How late the event loop's pulse came.",
            buckets=(0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 2.0),
            registry=self.registry,
        )

    def observe_lag(self, seconds: float) -> None:
        """One pulse's lag."""
        self._lag.observe(seconds)

    def render(self) -> bytes:
        """All metrics as text, of content type `CONTENT_TYPE`."""
        return generate_latest(self.registry)
