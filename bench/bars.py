"""The bars that the figures are held against. In: figures. Out: what was wanted and measured, whether it suffices.

A ratio is of the rounds' medians within one run: times depend on the machine, ratios hardly. A part that was not run
has no bars.
"""

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from bench.archiving import WHAT as WRITES
from bench.archiving import WITH, WITHOUT
from bench.backups import LARGE, Figures
from bench.clock import Figure
from bench.memory import GIB, LARGE_FILE, ONE_FILE
from bench.report import median
from bench.several import ALONE, BESIDE

JOLOKIA, NODETOOL = "helenus, jolokia", "helenus, nodetool"
PEAK_MIB = 200


class Bar(msgspec.Struct, frozen=True):
    """`wanted`: at least or, with `at_most`, at most."""

    name: str
    wanted: float
    measured: float
    at_most: bool = False
    unit: str = ""

    @property
    def ok(self) -> bool:
        """Whether it suffices."""
        return self.measured <= self.wanted if self.at_most else self.measured >= self.wanted

    def as_data(self) -> dict[str, Any]:
        """For build/bench.json."""
        return {**msgspec.structs.asdict(self), "ok": self.ok}


def verdicts(judged: Sequence[Bar]) -> str:
    """A line for each: wanted, measured, ok or short."""
    width = max((len(one.name) for one in judged), default=0)
    lines = [f"  {'':<{width}}  {'wanted':>12} {'measured':>9}"]
    for one in judged:
        wanted = f"{'<=' if one.at_most else '>='} {one.wanted:g} {one.unit}".rstrip()
        lines.append(f"  {one.name:<{width}}  {wanted:>12} {one.measured:9.2f}  {'ok' if one.ok else 'SHORT'}")
    return "\n".join(lines)


def bars(figures: Figures) -> list[Bar]:
    """Every bar whose figures are there."""
    rows = {key: median(rounds) for key, rounds in figures.items()}
    judged = [*_first(rows), *_unchanged(rows), *_several(rows), *_large(rows), *_restore(rows), *_memory(rows)]
    return [*judged, *_archiving(figures)]


Rows = dict[tuple[str, str], Figure]


def _first(rows: Rows) -> Iterator[Bar]:
    s3, local = "mixed, S3, first", "mixed, local, first"
    for ours, against_s3, against_local in ((JOLOKIA, 6.0, 4.0), (NODETOOL, 4.0, 2.5)):
        if (s3, ours) in rows:
            wall = rows[s3, ours].wall
            yield Bar(f"{s3}, {ours}: times as fast as medusa", against_s3, rows[s3, "medusa"].wall / wall)
            faster = min(rows[s3, name].wall for name in ("s5cmd", "rclone"))
            yield Bar(f"{s3}, {ours}: times as fast as the faster of s5cmd and rclone", 1.0, faster / wall)
            files = rows[s3, ours].files
            yield Bar(f"{s3}, {ours}: S3 requests a file", 0.35, rows[s3, ours].requests / files, at_most=True)
        if (local, ours) in rows:
            ratio = rows[local, "medusa, local"].wall / rows[local, ours].wall
            yield Bar(f"{local}, {ours}: times as fast as medusa", against_local, ratio)


def _unchanged(rows: Rows) -> Iterator[Bar]:
    what = "mixed, S3, unchanged"
    for ours, wanted in ((JOLOKIA, 3.5), (NODETOOL, 1.8)):
        if (what, ours) in rows:
            row = rows[what, ours]
            yield Bar(f"{what}, {ours}: times as fast as medusa", wanted, rows[what, "medusa"].wall / row.wall)
            yield Bar(f"{what}, {ours}: beside nodetool and Jolokia", 0.4, row.wall - row.inside, True, "s")
            yield Bar(f"{what}, {ours}: JVM starts", 2, row.jvm_starts, at_most=True)


def _several(rows: Rows) -> Iterator[Bar]:
    if (BESIDE, JOLOKIA) in rows:
        alone, beside = rows[ALONE, JOLOKIA], rows[BESIDE, JOLOKIA]
        yield Bar(f"{BESIDE}: times the time alone", 1.2, beside.wall / alone.wall, at_most=True)
        yield Bar(f"{BESIDE}: times the bytes read", 1.05, beside.megabytes / alone.megabytes, at_most=True)


def _large(rows: Rows) -> Iterator[Bar]:
    what = f"{LARGE}, first"
    if (what, JOLOKIA) in rows:
        faster = min(rows[what, name].wall for name in ("s5cmd", "rclone"))
        yield Bar(f"{what}: speed against the faster of s5cmd and rclone", 0.9, faster / rows[what, JOLOKIA].wall)


def _restore(rows: Rows) -> Iterator[Bar]:
    what, floor = "restore of shop, S3", "s5cmd, TRUNCATE, import"
    if (what, JOLOKIA) in rows:
        ratio = rows[what, JOLOKIA].wall / rows[what, floor].wall
        yield Bar(f"{what}: times s5cmd's download, TRUNCATE and import", 1.4, ratio, at_most=True)


def _archiving(figures: Figures) -> Iterator[Bar]:
    without, archived = figures.get((WRITES, WITHOUT), []), figures.get((WRITES, WITH), [])
    if without and archived:
        rates = [one.files / one.wall for one in without]
        yield Bar(f"{WRITES}, {WITHOUT}: a second", 2_000, statistics.median(rates))
        pairs = [alone.wall / beside.wall for alone, beside in zip(without, archived, strict=True)]
        yield Bar(f"{WRITES}, {WITH}: speed against without, median of pairs", 0.92, statistics.median(pairs))


def _memory(rows: Rows) -> Iterator[Bar]:
    for (what, name), row in rows.items():
        if name.startswith("helenus"):
            yield Bar(f"peak, {what}, {name}", PEAK_MIB, row.peak_mib, at_most=True, unit="MiB")
        if what.startswith(ONE_FILE):  # smaller where the disk has no room for more
            yield Bar(f"size, {what}", LARGE_FILE / GIB, float(what.removeprefix(ONE_FILE).split()[0]), unit="GiB")
