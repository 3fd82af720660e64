"""Points and times for people, and how exactly a version of Cassandra can keep a point. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Literal

Precision = Literal["microseconds", "milliseconds", "seconds"]

UNIT: dict[Precision, int] = {"microseconds": 1, "milliseconds": 1_000, "seconds": 1_000_000}
"""Microseconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def told_point(micros: int) -> str:
    """A point, with as many digits as it needs."""
    moment = _EPOCH + timedelta(microseconds=micros)
    fraction = f"{moment:%f}".rstrip("0")
    return f"{moment:%Y-%m-%d %H:%M:%S}{'.' if fraction else ''}{fraction} UTC"


def told_time(seconds: float) -> str:
    """A moment by a node's clock, to the millisecond."""
    return f"{(_EPOCH + timedelta(seconds=seconds)):%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC"


def floored(micros: int, precision: Precision) -> int:
    """The newest point that the precision can express and that isn't after this one."""
    return micros - micros % UNIT[precision]


def intersection(windows: list[list[list[float]]]) -> list[list[float]]:
    """The [from, until] pairs that lie in some window of every one; of nobody nothing."""
    if not windows:
        return []
    common = windows[0]
    for others in windows[1:]:
        common = [
            [max(since, other_since), min(until, other_until)]
            for since, until in common
            for other_since, other_until in others
            if max(since, other_since) <= min(until, other_until)
        ]
    return sorted(common)


def common_windows(nodes: list[dict[str, list[list[float]]]]) -> dict[str, list[list[float]]]:
    """By backup, as far as every node knows it."""
    tags = [tag for tag in (nodes[0] if nodes else {}) if all(tag in each for each in nodes)]
    return {tag: intersection([each[tag] for each in nodes]) for tag in tags}
