"""`make bench`: measures, prints the table, writes build/bench.json. Some parts: `python -m bench --rounds 1 mixed`."""

import argparse
import asyncio
import json

from bench import backups, report, restores
from bench.backups import Figures
from bench.stage import Stage
from tests.cluster.places import BUILD

PARTS = {"mixed": backups.mixed, "restore": restores.shop, "large": backups.large}


async def measure(parts: list[str], rounds: int) -> Figures:
    """Run the parts one after the other on one stage."""
    stage = Stage()
    figures: Figures = {}
    try:
        await stage.start()
        for part in parts:
            figures |= await PARTS[part](stage, rounds)
    finally:
        await stage.stop()
    return figures


def main() -> None:
    """Parse the arguments, measure, tell."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    figures = asyncio.run(measure(options.parts, options.rounds))
    print(report.table(figures))
    print("\nA peer's median wall time over ours (more is better):")
    for name, ratio in report.ratios(figures).items():
        print(f"  {ratio:6.2f}  {name}")
    (BUILD / "bench.json").write_text(json.dumps(report.as_data(figures), indent=1))
    print(f"\nwritten: {BUILD / 'bench.json'}")


if __name__ == "__main__":
    main()
