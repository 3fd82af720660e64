"""What is counted of destinations, for Prometheus. In: each verb as it ends. Out: metrics labelled by provider."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from agent.storage.protocol import Transient
from agent.wire.destinations import Settings


class StorageMeasures:
    """Metrics of all storages of the agent."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._operations = Counter(
            "helenus_agent_storage_operations",
            "Operations on destinations, by outcome (ok, or the error's code).",
            ["provider", "verb", "outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "helenus_agent_storage_operation_seconds",
            "How long an operation took.",
            ["provider", "verb"],
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60),
            registry=registry,
        )
        self._sent = Counter("helenus_agent_storage_sent_bytes", "Payload sent.", ["provider"], registry=registry)
        self._received = Counter(
            "helenus_agent_storage_received_bytes", "Payload received.", ["provider"], registry=registry
        )
        self._retries = Counter(
            "helenus_agent_storage_retries", "Operations that were tried again.", ["verb", "code"], registry=registry
        )

    def observer(self, settings: Settings) -> "ProviderObserver":
        """An observer (agent.storage.measured) for storages of that provider."""
        provider = settings.provider
        return ProviderObserver(
            provider, self._operations, self._seconds, self._sent.labels(provider), self._received.labels(provider)
        )

    def retried(self, verb: str, fault: Transient) -> None:
        """One retry."""
        self._retries.labels(verb, fault.code).inc()


class ProviderObserver:
    """Counts the operations of one provider."""

    def __init__(
        self, provider: str, operations: Counter, seconds: Histogram, sent: Counter, received: Counter
    ) -> None:
        self._provider = provider
        self._operations = operations
        self._seconds = seconds
        self._sent = sent
        self._received = received

    def done(self, verb: str, seconds: float, sent: int, received: int, error: str | None) -> None:
        """One operation ended."""
        self._operations.labels(self._provider, verb, error or "ok").inc()
        self._seconds.labels(self._provider, verb).observe(seconds)
        if sent:
            self._sent.inc(sent)
        if received:
            self._received.inc(received)
