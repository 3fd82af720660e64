"""`make bench`: measures, prints the table, writes build/bench.json. Some parts: `python -m bench --rounds 1 mixed`."""

import argparse
import asyncio
import json

from bench import archiving, backups, memory, report, restores, several
from bench.backups import Figures
from bench.bars import bars, verdicts
from bench.stage import Stage
from tests.cluster.places import BUILD

PARTS = {
    "mixed": backups.mixed,
    "several": several.several,
    "archiving": archiving.archiving,
    "restore": restores.shop,
    "large": backups.large,
    "memory": memory.memory,
}


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
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    figures = asyncio.run(measure(options.parts or list(PARTS), options.rounds))
    print(report.table(figures))
    judged = bars(figures)
    print(f"\nThe bars, medians of {options.rounds} rounds:\n{verdicts(judged)}")
    (BUILD / "bench.json").write_text(json.dumps(report.as_data(figures, [bar.as_data() for bar in judged]), indent=1))
    print(f"\nwritten: {BUILD / 'bench.json'}")


if __name__ == "__main__":
    main()
