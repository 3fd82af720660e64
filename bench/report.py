"""The table of a run. In: figures by what was done and by whom. Out: text for people and data for build/bench.json."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bench.backups import Figures
from bench.clock import Figure

COLUMNS = (
    f"{'':<28} {'wall s':>8} {'MB/s':>6} {'CPU s':>7} {'children':>9} {'MiB':>7} {'requests':>9} {'orders s':>9}"
    f" {'JVMs':>5}  rounds (wall)"
)
LEGEND = (
    "medians; CPU of the tool (medusa's with its nodetool), children: nodetool's JVMs; MiB: peak of its largest\n"
    "process, JVMs apart; orders: the part of the wall time inside nodetool or Jolokia; JVMs: nodetool starts"
)


def median(figures: list[Figure]) -> Figure:
    """Each number's median."""
    values = [msgspec.structs.astuple(figure) for figure in figures]
    return Figure(*(statistics.median(column) for column in zip(*values, strict=True)))


def table(figures: Figures) -> str:
    """One block for each thing that was done, its contenders below."""
    lines: list[str] = [LEGEND]
    for what in dict.fromkeys(key[0] for key in figures):
        lines += ["", what, COLUMNS]
        lines += [_line(name, rounds) for (done, name), rounds in figures.items() if done == what]
    return "\n".join(lines)


def _line(name: str, rounds: list[Figure]) -> str:
    row = median(rounds)
    ours = name.startswith("helenus") and row.inside
    speed = f"{row.megabytes / row.wall:.0f}" if row.megabytes else ""
    orders, starts = (f"{row.inside:.2f}", f"{row.jvm_starts:.0f}") if ours else ("", "")
    walls = " ".join(f"{figure.wall:.2f}" for figure in rounds)
    return (
        f"  {name:<26} {row.wall:8.2f} {speed:>6} {row.cpu:7.2f} {row.child_cpu:9.2f} {row.peak_mib:7.0f}"
        f" {row.requests:9.0f} {orders:>9} {starts:>5}  {walls}"
    )


def ratios(figures: Figures) -> dict[str, float]:
    """Medians of a peer over ours (more is better)."""
    walls = {key: median(rounds).wall for key, rounds in figures.items()}
    found: dict[str, float] = {}
    for (what, name), wall in walls.items():
        if name.startswith("helenus"):
            for (done, peer), other in walls.items():
                if done == what and not peer.startswith("helenus"):
                    found[f"{what}: {peer} / {name}"] = round(other / wall, 2)
    return found


def as_data(figures: Figures, bars: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Everything, for a machine."""
    return {
        "runs": [
            {"what": what, "who": who, "rounds": [msgspec.structs.asdict(figure) for figure in rounds]}
            for (what, who), rounds in figures.items()
        ],
        "ratios": ratios(figures),
        "bars": list(bars),
    }
