"""Plays one seed of two agents at one prefix. In: the seed. Out: what happened, moment by moment; what went wrong."""

import sys
import tempfile
from pathlib import Path

import structlog

from tests.simulation.interleavings import Interleavings


def main() -> None:
    """`python -m tests.simulation <seed>`."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    with tempfile.TemporaryDirectory() as place:
        print(*Interleavings(Path(place)).run(int(sys.argv[1])), sep="\n")


if __name__ == "__main__":
    main()
