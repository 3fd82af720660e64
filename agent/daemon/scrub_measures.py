"""What scrubs know, for Prometheus. In: the notes. Out: gauges for each destination, made as they are asked for."""

from collections.abc import Callable, Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from agent.jobs.scrub.notes import ScrubNotes


class ScrubMeasures:
    """A collector. `known`: the ids of the agent's destinations, for a forgotten one is not to be watched for ever."""

    def __init__(self, notes: ScrubNotes, known: Callable[[], Iterable[str]], clock: Callable[[], float]) -> None:
        self._notes = notes
        self._known = known
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client's custom collectors."""
        unread = GaugeMetricFamily(
            "helenus_agent_scrub_oldest_unread_age_seconds",
            "How long the stored byte that was unread for longest is unread.",
            labels=["destination"],
        )
        last = GaugeMetricFamily(
            "helenus_agent_scrub_last_timestamp_seconds",
            "When the last scrub that read all its share began (unix time).",
            labels=["destination"],
        )
        wrong = GaugeMetricFamily(
            "helenus_agent_scrub_bad_objects",
            "Objects and manifests known to be damaged or missing that no backup has put anew.",
            labels=["destination", "problem"],
        )
        known = set(self._known())
        for note in self._notes.all():
            if note.destination not in known:
                continue
            if note.unread_since is not None:
                unread.add_metric([note.destination], max(0.0, self._clock() - note.unread_since))
            if note.run is not None:
                last.add_metric([note.destination], note.run)
            wrong.add_metric([note.destination, "damaged"], note.damaged)
            wrong.add_metric([note.destination, "missing"], note.missing)
        return [unread, last, wrong]
