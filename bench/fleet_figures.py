"""What a run with many agents gave. In: times of answers, pulses of the event loop. Out: a table, and the bars with
what was wanted and measured."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

MS = 1000.0
SHORT = (
    "GET backups",
    "GET backup-activity, short",
    "GET nodes",
    "GET destinations",
    "request status without details",
    "request status, one node",
)
WHOLE = ("request status, whole", "GET backup-activity, whole", "GET full_status")
SHORT_SECONDS, FIRST_SECONDS, PAUSE_MS, MEMORY_MIB = 0.2, 0.5, 50.0, 500.0
PEAK = "peak memory (RSS) in all, MiB"


class Figures:
    """Of one run. `lags`: what bench.watched_coordinator wrote; `lag_from`, `lag_until`: while the short questions were
    asked, and until `whole_until` the large ones."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[float, float, int]]] = {}
        self.single: dict[str, float] = {}
        self.lags: list[dict[str, float]] = []
        self.lag_from = self.lag_until = self.whole_until = 0.0
        self.agents_told: dict[str, Any] = {}

    def add(self, name: str, first: float, whole: float, size: int) -> None:
        """An answer: seconds to its first byte and to its last, bytes."""
        self.answers.setdefault(name, []).append((first, whole, size))

    def one(self, name: str, value: float) -> None:
        """A single figure."""
        self.single[name] = round(value, 2)

    def worst(self, since: float, until: float) -> dict[str, float]:
        """The pulses of a time, summed up."""
        chosen = [each for each in self.lags if since < each["at"] <= until + 1.0]
        return {
            "latest pulse, ms": max((each["late_ms"] for each in chosen), default=0.0),
            "most own processor time between two pulses, ms": max((each["own_ms"] for each in chosen), default=0.0),
            "pulses over 50 ms": sum(each["turns"] for each in chosen),
            "longest garbage collection, ms": max((each["gc_ms"] for each in chosen), default=0.0),
            "of these by own processor time": sum(each["own_turns"] for each in chosen),
        }

    def pauses(self) -> dict[str, dict[str, float]]:
        """When → how late pulses came."""
        return {
            "from start to the first questions": self.worst(0.0, self.lag_from - 1.0),
            "short questions": self.worst(self.lag_from, self.lag_until),
            "large answers": self.worst(self.lag_until, self.whole_until),
            "end of the backup": self.worst(self.whole_until, 1e12),
        }

    def as_data(self) -> dict[str, Any]:
        """For build/bench-fleet.json."""
        return {
            "answers": {name: _row(each) for name, each in self.answers.items()},
            "single": self.single,
            "pauses": self.pauses(),
            "agents": self.agents_told,
        }


def _row(each: Sequence[tuple[float, float, int]]) -> dict[str, float]:
    firsts, wholes = sorted(first for first, _, _ in each), sorted(whole for _, whole, _ in each)
    return {
        "answers": len(each),
        "first byte, median ms": round(statistics.median(firsts) * MS, 1),
        "first byte, longest ms": round(firsts[-1] * MS, 1),
        "median ms": round(statistics.median(wholes) * MS, 1),
        "p99 ms": round(percentile(wholes, 0.99) * MS, 1),
        "longest ms": round(wholes[-1] * MS, 1),
        "KiB": round(max(size for _, _, size in each) / 1024, 1),
    }


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that so many of them don't exceed."""
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def table(figures: Figures) -> str:
    """All of it for people."""
    rows = {name: _row(each) for name, each in figures.answers.items()}
    columns = [*next(iter(rows.values()))] if rows else []
    lines = ["| answer | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(f"{value:g}" for value in row.values()) + " |" for name, row in rows.items()]
    lines.append("")
    lines += [f"{name}: {value:g}" for name, value in figures.single.items()]
    lines.append("")
    lines += [
        f"event loop, {when}: " + ", ".join(f"{name} {value:g}" for name, value in worst.items())
        for when, worst in figures.pauses().items()
    ]
    lines.append(f"agents told: {figures.agents_told.get('told')}")
    return "\n".join(lines)


def judged(figures: Figures) -> str:
    """A line for each figure that was wanted."""
    rows = {name: _row(each) for name, each in figures.answers.items()}
    longest = "first byte, longest ms"
    lines = [
        *(_verdict(f"{name}, p99 ms", rows[name]["p99 ms"], SHORT_SECONDS * MS) for name in SHORT if name in rows),
        *(_verdict(f"{name}, {longest}", rows[name][longest], FIRST_SECONDS * MS) for name in WHOLE if name in rows),
    ]
    lines.append(_verdict("memory, MiB", figures.single.get(PEAK, 0.0), MEMORY_MIB))
    for when, worst in figures.pauses().items():
        own = worst["most own processor time between two pulses, ms"]
        lines.append(_verdict(f"event loop, {when}, ms of own processor time", own, PAUSE_MS))
    return "\n".join(lines)


def _verdict(name: str, measured: float, wanted: float) -> str:
    return f"{'ok   ' if measured <= wanted else 'SHORT'} {name}: {measured:g} (wanted {wanted:g} at most)"
