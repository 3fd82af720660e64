"""Backups, ours and the peers', in turn within each round. In: a stage and rounds. Out: rows of figures.

From command accepted to terminal for the daemon; from process start to exit for the tools.
"""

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from bench.clock import Figure, timed_commands
from bench.contenders import Contender, CopyAndSync, Medusa, Rclone, S5cmd
from bench.ours import MeasuredAgent
from bench.stage import Stage, drop_page_cache, write_out

Figures = dict[tuple[str, str], list[Figure]]
"""(what was done, by whom) → one figure a round"""


def order_of(turn: int) -> tuple[bool, bool]:
    """Whether ours is measured, first and second in this round: whoever comes first finds Cassandra less warm."""
    return (True, False) if turn % 2 == 0 else (False, True)


async def ours(
    stage: Stage,
    agent: MeasuredAgent,
    settings: Mapping[str, Any],
    add: Callable[[str, Figure], None],
    keyspaces: Sequence[str] | None = None,
    again: bool = True,
) -> None:
    """A first backup into a fresh destination, then one of the unchanged node."""
    await agent.start()
    try:
        target = await agent.destination(settings)
        for what in ("first", "unchanged") if again else ("first",):
            write_out()
            if not again:
                drop_page_cache()
            requests = len(stage.store.requests())
            figure, _ = await agent.backup(target, keyspaces)
            add(what, msgspec.structs.replace(figure, requests=len(stage.store.requests()) - requests))
    finally:
        await agent.stop()


def peers(
    stage: Stage,
    contender: Contender,
    add: Callable[[str, Figure], None],
    keyspaces: Sequence[str] = (),
    cold: bool = False,
) -> None:
    """A peer's first backup and, where it has one, that of the unchanged node."""
    scene = msgspec.structs.replace(stage.scene(), keyspaces=tuple(keyspaces))
    place = secrets.token_hex(4)
    env = {**os.environ, **contender.env(scene), "PATH": f"{stage.node.launchers}:{os.environ['PATH']}"}
    log = scene.work / f"{contender.name.split(',')[0]}.log"
    for what, commands in (("first", contender.first(scene, place)), ("unchanged", contender.again(scene, place))):
        if commands is not None:
            write_out()
            if cold:
                drop_page_cache()
            requests = len(stage.store.requests())
            figure = timed_commands(commands, env, log)
            add(what, msgspec.structs.replace(figure, requests=len(stage.store.requests()) - requests))


async def mixed(stage: Stage, rounds: int) -> Figures:
    """The mixed data set: S3 and local, through Jolokia and nodetool, against Medusa, s5cmd, rclone and cp."""
    figures: Figures = {}

    def adder(place: str, name: str) -> Callable[[str, Figure], None]:
        def add(what: str, figure: Figure) -> None:
            figure = msgspec.structs.replace(figure, megabytes=0.0)  # of mostly small files a rate says little
            figures.setdefault((f"mixed, {place}, {what}", name), []).append(figure)

        return add

    agents = [MeasuredAgent(stage.node, stage.work / f"agent-{way}", jolokia=way == "jolokia") for way in WAYS]
    contenders: list[tuple[str, Contender]] = [
        *(("S3", contender) for contender in (Medusa("s3_compatible"), S5cmd(), Rclone())),
        *(("local", contender) for contender in (Medusa("local"), CopyAndSync())),
    ]
    for turn in range(rounds):
        print(f"bench: mixed data set, round {turn + 1} of {rounds}", flush=True)
        for ours_now in order_of(turn):
            if ours_now:
                for agent in agents:
                    await ours(stage, agent, await stage.fresh_s3(), adder("S3", agent.name))
                    local = {"provider": "local", "path": secrets.token_hex(4)}
                    await ours(stage, agent, local, adder("local", agent.name))
            else:
                for place, contender in contenders:
                    peers(stage, contender, adder(place, contender.name))
    return figures


async def large(stage: Stage, rounds: int) -> Figures:
    """4 GiB in four SSTables with a cold page cache, to S3. Each contender's copy goes before the next one begins."""
    figures: Figures = {}
    await stage.write_large()
    megabytes = 0.0

    def adder(name: str) -> Callable[[str, Figure], None]:
        def add(what: str, figure: Figure) -> None:
            nonlocal megabytes
            megabytes = figure.megabytes or megabytes
            figure = msgspec.structs.replace(figure, megabytes=megabytes)
            figures.setdefault((f"{LARGE}, {what}", name), []).append(figure)
            stage.forget_backups()

        return add

    agent = MeasuredAgent(stage.node, stage.work / "agent-large", jolokia=True)
    for turn in range(rounds):
        print(f"bench: 4 GiB, round {turn + 1} of {rounds}", flush=True)
        await ours(stage, agent, await stage.fresh_s3(), adder(agent.name), ["large"], again=False)
        for contender in (S5cmd(), Rclone()):
            peers(stage, contender, adder(contender.name), ["large"], cold=True)
    await stage.drop_large()
    return figures


LARGE = "4 GiB, cold, S3"
WAYS = ("jolokia", "nodetool")
