"""Promise: a figure is that of what was measured, not of what measured it."""

import os
import sys
from pathlib import Path

import pytest

from bench.bars import bars
from bench.clock import Figure, timed_commands
from bench.throttle import judged

MIB = 2**20


def test_a_peers_peak_is_not_that_of_whoever_started_it(tmp_path: Path) -> None:
    """Promise: a peer's peak of memory is its own, not that of the process that measures it."""
    own = bytearray(b"x") * (200 * MIB)
    hold = "import time; x = bytearray(b'x') * (60 << 20); time.sleep(0.2)"
    figure = timed_commands([[sys.executable, "-S", "-c", hold], ["true"]], os.environ, tmp_path / "log")
    assert 60 <= figure.peak_mib <= 120
    assert figure.child_cpu == 0
    assert len(own) == 200 * MIB


def test_a_command_that_fails_is_told_and_ends_the_unit(tmp_path: Path) -> None:
    """Promise: no figure comes of a command that failed, and nothing is run after it."""
    with pytest.raises(RuntimeError, match="false ended with 1"):
        timed_commands([["false"], ["touch", str(tmp_path / "after")]], os.environ, tmp_path / "log")
    assert not (tmp_path / "after").exists()


def test_the_fullest_second_need_not_be_a_whole_one() -> None:
    """Promise: the fullest second is looked for at every beginning, not at whole seconds alone."""
    came = [(0.0, 1), (0.6, 10), (1.5, 10), (2.9, 1), (5.5, 100)]
    assert judged(came, 5) == (22 / 5, 20)


def test_the_cost_of_archiving_is_the_median_of_pairs() -> None:
    """Promise: each pair ran in one minute of the machine; the ratio is made within it, and the load must be one."""

    def loads(*walls: float) -> list[Figure]:
        return [Figure(wall, 0, 0, 0, files=60_000) for wall in walls]

    rate, ratio = bars(
        {
            ("writes", "without archiving"): loads(10, 20, 10, 30, 30),
            ("writes", "with archiving"): loads(11, 20, 20, 31, 34),
        }
    )
    assert (rate.measured, rate.ok) == (3_000, True)
    assert (ratio.measured, ratio.ok) == (10 / 11, False)
    assert bars({("writes", "without archiving"): loads(10)}) == []


def test_a_bar_compares_the_medians_of_one_run() -> None:
    """Promise: each bar sets medians of one run against each other and says whether it holds."""

    def rounds(*walls: float) -> list[Figure]:
        return [Figure(wall, 0, 0, 150, requests=700, files=2000) for wall in walls]

    judged_bars = bars(
        {
            ("mixed, S3, first", "helenus, jolokia"): rounds(3, 9, 3),
            ("mixed, S3, first", "medusa"): rounds(18, 19, 2),
            ("mixed, S3, first", "s5cmd"): rounds(4, 2, 2.5),
            ("mixed, S3, first", "rclone"): rounds(4, 4, 4),
        }
    )
    assert [(bar.measured, bar.ok) for bar in judged_bars] == [
        (6, True),
        (2.5 / 3, False),
        (0.35, True),
        (150, True),
    ]
