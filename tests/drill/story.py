"""The drill, told once. In: destinations of a backup, or what a backup is to be made of. Out: the verdict, or
DrillFailed, or DrillImpossible."""

import asyncio
import io
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agent.cli import main as repository
from agent.cli.drilling import drill
from agent.cli.scratch_tables import CASSANDRAS_OWN
from agent.cli.screen import Screen as RepositoryScreen
from agent.cli.verifying import verify
from tests.cluster.comparison import Comparison, compare_every_column
from tests.cluster.rows import DataSet
from tests.cluster.services import write_secret
from tests.demo.screen import Screen
from tests.demo.story import back_up, data_for, explained, reporter, write
from tests.demo.topology import BUCKET, Topology
from tests.drill.found import DrillFailed, DrillImpossible, Found, find
from tests.drill.machines import Machines
from tests.drill.scratch import Scratch

GRACE_SECONDS = 10.0


class Made(msgspec.Struct, frozen=True):
    """A backup that was made for the drill: where it is, and the rows that it must hold."""

    destinations: list[Path]
    tag: str
    data: DataSet
    written: Comparison


async def make(machines: Machines, directory: Path, kind: str, rows: int, screen: Screen) -> Made:
    """Three nodes with rows, backed up; all of it is ended again but for the store that has the backup."""
    topology = Topology(directory, destination=kind)
    if taken := topology.taken():
        raise DrillImpossible(f"something else listens on {', '.join(taken)} (make cluster-down ends the playground)")
    machines.topology = topology
    screen.step("starting three Cassandra nodes, an agent beside each, and a coordinator")
    await topology.start(screen.line)
    data = data_for(topology, rows)
    written = await write(topology, screen, data)
    _, tag = await back_up(topology, screen, data)
    screen.step("ending the cluster, its agents and its coordinator: from here on the destination is all there is")
    topology.end_cluster(GRACE_SECONDS)
    if topology.store is not None:
        files = [write_secret(directory / "destination.json", _text(topology.store.settings(BUCKET)))]
    else:
        roots = [agent.local_root / str(topology.destination()["path"]) for agent in topology.agents]
        files = [settings_of(root, directory) for root in roots]
    return Made(files, tag, data, written)


def settings_of(place: Path, directory: Path) -> Path:
    """The settings file of a destination: the file itself, or one that is made for a directory."""
    if not place.is_dir():
        return place
    path = place.resolve()
    name = "-".join(part for part in path.parts[-3:] if part != "/")
    return write_secret(directory / f"{name}.json", _text({"provider": "local", "path": str(path)}))


def _text(settings: dict[str, object]) -> str:
    return msgspec.json.encode(settings).decode()


async def tell(
    machines: Machines,
    directory: Path,
    destinations: Sequence[Path],
    tag: str | None,
    made: Made | None,
    screen: Screen,
) -> str:
    """Restore and compare; the verdict in a line. Raises DrillFailed, DrillImpossible, RowsDiffer, HelenusError,
    ProcessError."""
    found = await find(destinations, tag)
    nodes = sum(len(hosts) for hosts in found.hosts.values())
    screen.step(f"{found.tag}: {nodes} nodes of Cassandra {found.version}, {len(found.schema)} keyspaces")
    if own := sorted(name for name in found.schema if name in CASSANDRAS_OWN):
        screen.line(f"of Cassandra's own, {', '.join(own)}, only the files are verified")
    extracted = directory / "extracted"
    machines.scratch = scratch = Scratch(directory / "scratch", found)
    screen.step(f"starting a scratch node of Cassandra {scratch.version}, and making the backup's tables there")
    await scratch.learn_schema()
    await _extract(found, extracted, scratch, screen)
    screen.step("starting the scratch node with all these SSTables")
    sstables = await scratch.take_rows(table_directories(extracted))
    screen.line(f"{sstables} SSTables of {nodes} nodes")
    indexes, views = await scratch.build()
    screen.line(f"{indexes} indexes and {views} views built from them")
    if made is None:
        screen.step("reading every column of every row")
        rows = await scratch.count(lambda table, count: screen.line(f"{table}: {count} rows"))
        return f"{found.tag}: {sstables} SSTables whole, {rows} rows read"
    screen.step("comparing every column of every row with what was written and the cluster answered")
    compared = await compare_every_column(made.data, [scratch.node], report=reporter(screen))
    screen.line(explained(made.data, compared))
    if compared.at_quorum != made.written.at_quorum:
        raise DrillFailed(f"{compared.at_quorum} rows were compared, the cluster had {made.written.at_quorum}")
    return f"{found.tag}: {sstables} SSTables whole, {compared.at_quorum} of {made.written.at_quorum} rows restored"


async def _extract(found: Found, extracted: Path, scratch: Scratch, screen: Screen) -> None:
    """`helenus-repository extract` of each node from where its part is, then what `drill` does, over the files of all:
    Cassandra's tool takes seconds to start, and goes through a table of all nodes at once."""
    for path, host in ((path, host) for path, hosts in found.hosts.items() for host in hosts):
        screen.step(f"helenus-repository --destination {path.name} extract {found.tag} --node {host}")
        arguments = ["--destination", str(path), "extract", found.tag, "--into", str(extracted), "--node", host]
        code = await asyncio.to_thread(repository.run, arguments, RepositoryScreen(_Lines(screen)))
        if code:
            failure = DrillFailed if code == repository.DAMAGED else DrillImpossible
            raise failure(f"helenus-repository extract ended with {code}")
    screen.step("verifying every SSTable, by its own checksum and with sstableverify")
    told, directories = RepositoryScreen(_Lines(screen)), table_directories(extracted)
    tool, data = scratch.node.launchers / "sstableverify", scratch.node.data_directories[0]
    wrong = await asyncio.to_thread(drill, extracted, directories, told)
    wrong += await asyncio.to_thread(verify, extracted, directories, tool, data, told)
    if wrong:
        raise DrillFailed(f"{wrong} SSTables are wrong")


def table_directories(extracted: Path) -> list[Path]:
    """Those that a backup's tables were extracted to."""
    return [path for path in extracted.glob("*/data*/*/*-*") if path.is_dir()]


class _Lines(io.StringIO):
    """What is written to it, line by line on the screen."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._screen.line(line)
        return len(text)
