"""A loop of deaths of two coordinators whose state is on the three real nodes that they look after.

Each round is a backup, a restore or a rolling restart, with one to three deaths that its seed draws: the leader is
killed with -9, or frozen and woken when the other one leads, or a node, a replica of the state, is killed. Then every
promise is looked at. HELENUS_SEED repeats a run as far as time repeats itself; HELENUS_ROUNDS: how many (12, at most
500).
"""

import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.cluster.scratch import ScratchCluster
from tests.long.seed import SEED
from tests.real.state.pair import Moment, paired
from tests.real.state.rounds import Death, Story, told

ROUNDS = min(500, int(os.environ.get("HELENUS_ROUNDS", "12")))
TURNS = ("backup", "restore", "on", "backup", "restore", "off")
MOMENTS = {
    "backup": ("snapshot", "upload"),
    "restore": ("preflight", "fetch", "truncate", "schema", "import", "check", "clean"),
    "on": ("archive", "restart"),
    "off": ("archive", "restart"),
}
"""Kinds of commands at which somebody dies, in the order in which they come."""
ALONE = ("truncate", "schema")
"""What one node does for all."""
NODE_DIES = {"backup": "upload", "restore": "clean", "on": "restart", "off": "restart"}
"""While its agent needs no Cassandra (a TRUNCATE refuses when a node is down, by name and with nothing changed); or
while another node is restarted: then the state is away."""

pytestmark = [pytest.mark.long, pytest.mark.timeout(300 + 420 * ROUNDS)]


def drawn(kind: str, rng: random.Random) -> Sequence[Death]:
    """Deaths of one round, in the order of their moments."""
    order = MOMENTS[kind]
    found = [_death(kind, rng) for _ in range(rng.choice((1, 1, 2, 3)))]
    return sorted(found, key=lambda one: (order.index(one.moment.kind), one.moment.agents, one.moment.ended))


def _death(kind: str, rng: random.Random) -> Death:
    pause = rng.choice((0.0, rng.uniform(0, 1.5)))
    who = rng.choice(("kill", "kill", "freeze", "freeze", "node"))
    if who == "node":
        return Death(who, Moment(NODE_DIES[kind], rng.randint(2, 3), pause=pause))
    at = rng.choice(MOMENTS[kind])
    moment = Moment(at, 1 if at in ALONE else rng.randint(1, 3), ended=rng.random() < 0.4, pause=pause)
    return Death(who, moment, rng.uniform(0, 20) if who == "freeze" else 0.0)


async def test_whoever_dies_at_any_moment_every_request_ends_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: every request ends in success, nothing was done twice, a coordinator that slept through its lead changes
    nothing when it wakes, and every row is back on each node."""
    async with (
        ScratchCluster(tmp_path / "cluster", nodes=3, name="two") as cluster,
        paired(cluster, tmp_path) as pair,
        told(pair) as story,
    ):
        for number in range(ROUNDS):
            await one_round(story, number, lambda text: _say(capsys, text))


def _say(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        print(text, flush=True)


async def one_round(story: Story, number: int, say: Callable[[str], None]) -> None:
    """The deaths of a round hang on the seed and its number alone."""
    rng = random.Random(f"{SEED}/{number}")
    kind = TURNS[number % len(TURNS)]
    deaths = drawn(kind, rng)
    say(f"{number + 1}/{ROUNDS} {kind}, HELENUS_SEED={SEED}: {'; '.join(map(str, deaths))}")
    began = time.monotonic()
    came = await story.carry_out(kind, deaths, by_standby=rng.random() < 0.5)
    say(f"  {came} of {len(deaths)} before its end; all is well after {time.monotonic() - began:.0f} s")
