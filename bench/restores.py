"""Restores, ours and the floor. In: a stage with a backup of `shop`. Out: figures from POST to success.

The floor is what nobody can do without: s5cmd's download, the same TRUNCATEs, one `nodetool import` a table.
"""

import asyncio
import os
import secrets
import shutil
import time

import msgspec

from bench.backups import Figures, order_of
from bench.clock import Figure, daemon_use, forget_peak, timed_commands
from bench.contenders import S5cmd, s5cmd_program
from bench.dataset import SHOP_TABLES
from bench.orders import OrderClock
from bench.ours import daemon_figure
from bench.stage import Stage, write_out
from tests.cluster.opscenter import OpsCenter
from tests.cluster.services import AgentProcess, CoordinatorProcess

WHAT = "restore of shop, S3"


async def shop(stage: Stage, rounds: int) -> Figures:
    """Both in each round, after one that isn't measured."""
    figures: Figures = {}
    orders = OrderClock(stage.node, stage.work / "orders-restore")
    changes = {"cassandra": await orders.start()}
    agent = AgentProcess(stage.node, stage.work / "agent-restore", jolokia=True, recorded=False, changes=changes)
    coordinator = CoordinatorProcess([agent], stage.work / "coordinator", cluster=stage.cluster.name, recorded=False)
    await agent.start()
    await coordinator.start()
    try:
        api = OpsCenter(coordinator)
        made = await api.post("/backups/destinations", await stage.fresh_s3())
        destination = made["destination_id"]["id"]
        await api.follow(await api.post("/backups/run", {"keyspaces": ["shop"], "destinations": {destination: {}}}))
        tag = next(iter(await api.get(f"/backups?destination={destination}")))
        place = _upload(stage)
        print("bench: restore, a round that isn't measured", flush=True)
        await _ours(agent, api, orders, destination, tag)
        await _floor(stage, place)
        for turn in range(rounds):
            print(f"bench: restore, round {turn + 1} of {rounds}", flush=True)
            for ours_now in order_of(turn):
                if ours_now:
                    figure = await _ours(agent, api, orders, destination, tag)
                    figures.setdefault((WHAT, "helenus, jolokia"), []).append(figure)
                else:
                    figures.setdefault((WHAT, "s5cmd, TRUNCATE, import"), []).append(await _floor(stage, place))
    finally:
        await coordinator.stop()
        await agent.stop()
        await orders.stop()
    return figures


async def _ours(agent: AgentProcess, api: OpsCenter, orders: OrderClock, destination: str, tag: str) -> Figure:
    """One restore, from POST to success."""
    body = {"destination": destination, "truncate": True}
    pid = agent.child.pid
    forget_peak(pid)
    write_out()
    before, clock, began = daemon_use(pid), time.time(), time.perf_counter()
    await api.follow(await api.post(f"/backups/restore/{tag}/shop", body), poll=0.02)
    wall = time.perf_counter() - began
    figure = daemon_figure(pid, before, wall, orders.between(clock, time.time()))
    print(f"bench: {await _phases(agent, clock)}; {wall:.2f} s in all", flush=True)
    return figure


async def _phases(agent: AgentProcess, began: float) -> str:
    """What the agent's phases took since then, in order."""
    commands = [one for one in await agent.ask("GET", "/v1/commands") if one["accepted"] >= began]
    commands.sort(key=lambda one: float(one["accepted"]))
    return ", ".join(f"{one['phase'] or one['kind']} {one['finished'] - one['accepted']:.2f}" for one in commands)


def _upload(stage: Stage) -> str:
    """The snapshot of `shop` in the bucket as plain files; its prefix."""
    scene = msgspec.structs.replace(stage.scene(), keyspaces=("shop",))
    place = secrets.token_hex(4)
    contender = S5cmd()
    timed_commands(contender.first(scene, place), {**os.environ, **contender.env(scene)}, scene.work / "upload.log")
    return f"s5cmd-{place}"


async def _floor(stage: Stage, place: str) -> Figure:
    scene = stage.scene()
    into = scene.work / "download"
    shutil.rmtree(into, ignore_errors=True)
    env = {**os.environ, **S5cmd().env(scene)}
    download = [
        *(s5cmd_program(scene), "--log", "error", "--endpoint-url", scene.endpoint),
        *("cp", f"s3://{scene.bucket}/{place}/*", f"{into}/"),
    ]
    log = scene.work / "floor.log"
    write_out()
    figure = timed_commands([download], env, log)
    session = await stage.cluster.session()
    began = time.perf_counter()
    for table in SHOP_TABLES:
        await asyncio.to_thread(session.execute, f"TRUNCATE shop.{table}", timeout=60)
    truncated = time.perf_counter() - began
    imports = []
    for table in SHOP_TABLES:
        (directory,) = (path for path in into.glob(f"shop/{table}-*/snapshots/*") if path.is_dir())
        nodetool = [scene.nodetool, "-h", "127.0.0.1", "-p", str(scene.jmx_port)]
        imports.append([*nodetool, "import", "shop", table, str(directory)])
    imported = timed_commands(imports, env, log)
    return Figure(
        figure.wall + truncated + imported.wall, figure.cpu, imported.child_cpu, max(figure.peak_mib, imported.peak_mib)
    )
