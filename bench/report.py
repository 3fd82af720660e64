"""The table of a run. In: figures by what was done and by whom. Out: text for people and data for build/bench.json."""

import statistics
from typing import Any

import msgspec

from bench.backups import Figures
from bench.clock import Figure

COLUMNS = f"{'':<28} {'wall s':>8} {'CPU s':>7} {'children':>9} {'MiB':>7} {'requests':>9}  rounds (wall)"


def median(figures: list[Figure]) -> Figure:
    """Each number's median."""
    values = [msgspec.structs.astuple(figure) for figure in figures]
    wall, cpu, child, peak, requests = (statistics.median(column) for column in zip(*values, strict=True))
    return Figure(wall, cpu, child, peak, int(requests))


def table(figures: Figures) -> str:
    """One block for each thing that was done, its contenders below."""
    lines: list[str] = []
    for what in dict.fromkeys(key[0] for key in figures):
        lines += ["", what, COLUMNS]
        for (done, name), rounds in figures.items():
            if done == what:
                row = median(rounds)
                walls = " ".join(f"{figure.wall:.2f}" for figure in rounds)
                lines.append(
                    f"  {name:<26} {row.wall:8.2f} {row.cpu:7.2f} {row.child_cpu:9.2f} {row.peak_mib:7.0f}"
                    f" {row.requests:9d}  {walls}"
                )
    return "\n".join(lines)


def ratios(figures: Figures) -> dict[str, float]:
    """What the bars of the design are about: medians of a peer over ours (more is better)."""
    walls = {key: median(rounds).wall for key, rounds in figures.items()}
    found: dict[str, float] = {}
    for (what, name), wall in walls.items():
        if name.startswith("helenus"):
            for (done, peer), other in walls.items():
                if done == what and not peer.startswith("helenus"):
                    found[f"{what}: {peer} / {name}"] = round(other / wall, 2)
    return found


def as_data(figures: Figures) -> dict[str, Any]:
    """Everything, for a machine."""
    return {
        "runs": [
            {"what": what, "who": who, "rounds": [msgspec.structs.asdict(figure) for figure in rounds]}
            for (what, who), rounds in figures.items()
        ],
        "ratios": ratios(figures),
    }
