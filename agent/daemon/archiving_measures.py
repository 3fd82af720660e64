"""What is known of the commit log's archive, for Prometheus. In: the archiver. Out: gauges, made as they are asked
for."""

from collections.abc import Callable, Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from agent.jobs.archiving.archiver import Archiver
from agent.jobs.archiving.standing import state_of


class ArchivingMeasures:
    """A collector. Nothing is told while archiving was never ordered."""

    def __init__(self, archiver: Archiver, clock: Callable[[], float]) -> None:
        self._archiver = archiver
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client's custom collectors."""
        archiver = self._archiver
        if archiver.order is None:
            return []
        lag = GaugeMetricFamily(
            "helenus_agent_commitlog_lag_seconds",
            "How old the newest write is up to which all are safe in the destination.",
            labels=["destination"],
        )
        waiting = GaugeMetricFamily(
            "helenus_agent_commitlog_waiting_bytes", "Closed segments still to be shipped.", labels=["destination"]
        )
        for shipper in archiver.places:
            place, name = shipper.view(), shipper.target.target.destination
            waiting.add_metric([name], place.waiting_bytes)
            if place.safe_until is not None:
                lag.add_metric([name], max(0.0, self._clock() - place.safe_until))
        seen = archiver.seen
        return [
            lag,
            waiting,
            _gauge("on", "Whether the running Cassandra archives as ordered.", state_of(archiver) == "on"),
            _gauge("ordered", "Whether archiving is ordered.", archiver.order.arguments.enabled),
            _gauge("gaps", "Known losses of segments.", len(archiver.ledger.known.losses)),
            _gauge("directory_bytes", "All of Cassandra's commit-log directory.", seen.bytes),
            _gauge(
                "unarchived_bytes",
                "Closed segments that Cassandra left there, as they could not be archived.",
                sum(file.size for file in archiver.leftovers.waiting(seen)),
            ),
        ]


def _gauge(name: str, told: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"helenus_agent_commitlog_{name}", told, value=float(value))
