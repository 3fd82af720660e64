"""Two agents at one node's prefix, hundreds of times, each as its seed has it. HELENUS_INTERLEAVINGS: how many (500);
HELENUS_SEED: the first seed (0). `python -m tests.simulation <seed>` plays one and prints what happened."""

import os
from pathlib import Path

import pytest

from tests.simulation.interleavings import Interleavings

COUNT = int(os.environ.get("HELENUS_INTERLEAVINGS", "500"))
FIRST = int(os.environ.get("HELENUS_SEED", "0"))
TOGETHER = 50


@pytest.mark.parametrize("first", range(FIRST, FIRST + COUNT, TOGETHER))
def test_two_agents_at_one_prefix_lose_nothing(first: int, tmp_path: Path) -> None:
    """Promise (I1 to I5, I7 to I9): whatever two agents with one host id do, in whatever order, however slow, and
    whoever dies of them: what was reported a success is whole, what nobody needs goes with the next sweep, and each
    command comes to one end."""
    runs = Interleavings(tmp_path)
    ends = [line for seed in range(first, first + TOGETHER) for line in runs.run(seed) if " ended " in line]
    assert len([line for line in ends if "success" in line]) > TOGETHER


def test_a_seed_gives_the_same_run_again(tmp_path: Path) -> None:
    """Promise: what a seed has shown once, it shows again: the same moments, in the same order, at the same times."""
    runs = Interleavings(tmp_path / "one")
    others = Interleavings(tmp_path / "two")
    for seed in range(8):
        trace = runs.run(seed)
        assert len(trace) > 100
        assert others.run(seed) == trace
        assert runs.run(seed) == trace
    assert runs.run(0) != runs.run(1)
