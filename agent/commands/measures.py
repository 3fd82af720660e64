"""What is counted of commands, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class CommandMeasures:
    """Metrics of the runner; registered with the registry given, which the composition root makes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.ended = Counter(
            "helenus_agent_commands", "Commands that reached a terminal state.", ["kind", "state"], registry=registry
        )
        self.seconds = Histogram(
            "helenus_agent_command_seconds",
            "From accepted to terminal.",
            ["kind"],
            buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 1_800, 7_200, 43_200),
            registry=registry,
        )
        self.unfinished = Gauge(
            "helenus_agent_commands_unfinished", "Commands queued, running or waiting.", ["lane"], registry=registry
        )
        self.last_success = Gauge(
            "helenus_agent_command_last_success_timestamp_seconds",
            "When a command of the kind last ended in success (unix time).",
            ["kind"],
            registry=registry,
        )
