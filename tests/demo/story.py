"""The main job, told once: rows, backup, disaster, restore, comparison. In: a running topology. Out: rows restored."""

import time
from collections.abc import Callable

from tests.cluster.comparison import Comparison, compare_every_column
from tests.cluster.opscenter import OpsCenter
from tests.cluster.rows import DataSet
from tests.demo.screen import Screen, size
from tests.demo.topology import Topology

SEED = 20_240_501


async def tell(topology: Topology, screen: Screen, rows: int) -> tuple[Comparison, Comparison]:
    """Run the story; raises RowsDiffer or RequestFailed. Returns what was compared before and after."""
    cluster = topology.cassandra
    api = OpsCenter(topology.coordinator)
    data = data_for(topology, rows)
    written = await write(topology, screen, data)
    destination, tag = await back_up(topology, screen, data)
    empty = data.keyspaces[-1]

    session = await cluster.session()
    disaster = [
        f"DROP TABLE {data.table('people').full_name}",
        f"TRUNCATE {data.tables[0].full_name}",
        f"DROP KEYSPACE {empty}",
    ]
    screen.step(f"the disaster: {'; '.join(disaster)}")
    for statement in disaster:
        session.execute(statement, timeout=60)

    screen.step(f"POST /{topology.coordinator.cluster}/backups/restore/{tag}, with truncate")
    began = time.monotonic()
    body = {"destination": destination, "keyspaces": {name: {"truncate": True} for name in data.keyspaces}}
    await api.follow(await api.post(f"/backups/restore/{tag}", body), screen.progress)
    screen.line(f"restored in {time.monotonic() - began:.1f} s")

    screen.step(
        "comparing every column of every row with what was written: at ONE on each node directly, then at QUORUM"
    )
    if not session.execute(f"SELECT * FROM system_schema.keyspaces WHERE keyspace_name = '{empty}'").one():
        raise AssertionError(f"the keyspace {empty} did not come back")
    restored = await compare_every_column(data, cluster.nodes, report=reporter(screen))
    screen.line(explained(data, restored))
    return written, restored


def data_for(topology: Topology, rows: int) -> DataSet:
    """The rows of the story: the same in each run."""
    cluster = topology.cassandra
    return DataSet(seed=SEED, rows=rows, version=cluster.version, replication=len(cluster.nodes))


async def back_up(topology: Topology, screen: Screen, data: DataSet) -> tuple[str, str]:
    """Make the destination and back up all keyspaces; ids of the destination and the backup."""
    api = OpsCenter(topology.coordinator)
    made = await api.post("/backups/destinations", topology.destination())
    destination = made["destination_id"]["id"]
    screen.step(f"POST /{topology.coordinator.cluster}/backups/destinations: {topology.destination_text()}")
    screen.line(f"destination {destination}")

    screen.step(f"POST /{topology.coordinator.cluster}/backups/run: {', '.join(data.keyspaces)}")
    began = time.monotonic()
    request = await api.post("/backups/run", {"keyspaces": data.keyspaces, "destinations": {destination: {}}})
    await api.follow(request, screen.progress)
    seconds = time.monotonic() - began
    tag, backup = next(iter((await api.get(f"/backups?destination={destination}")).items()))
    stored = sum(keyspace["size"] for keyspace in backup["keyspaces"].values())
    empty = data.keyspaces[-1]
    if empty not in backup["keyspaces"]:
        raise AssertionError(f"the backup does not name the keyspace {empty}")
    screen.line(f"{empty} has no tables: its definition alone is kept")
    screen.line(f"{tag}: {size(stored)} of {len(topology.cassandra.nodes)} nodes in {seconds:.1f} s")
    return destination, str(tag)


async def write(topology: Topology, screen: Screen, data: DataSet) -> Comparison:
    """Make the keyspaces, write the rows, and see that they are there."""
    session = await topology.cassandra.session()
    screen.step(f"creating the keyspaces {', '.join(data.keyspaces)}, {len(data.tables)} tables and views in them")
    await data.create(session)
    screen.step(f"writing {data.rows} rows into {data.tables[0].full_name} and a few into each other table")
    await data.write(session)
    screen.step("reading them all back, as will be done after the restore")
    written = await compare_every_column(data, topology.cassandra.nodes, report=reporter(screen))
    screen.line(explained(data, written))
    return written


def reporter(screen: Screen) -> Callable[[str | None, int], None]:
    """What tells the screen how far a comparison is."""

    def report(node: str | None, rows: int) -> None:
        screen.line(f"{f'{node} at ONE' if node else 'at QUORUM'}: {rows} rows equal")

    return report


def explained(data: DataSet, compared: Comparison) -> str:
    """What was compared, in words."""
    views = sum(data.count(spec) for spec in data.tables if spec.view_of)
    parts = " + ".join(str(count) for count in (*compared.at_one.values(), compared.at_quorum))
    return (
        f"{compared.at_quorum} rows ({views} of them a view's) on every node that keeps a copy and once at QUORUM: "
        f"{parts} = {compared.rows} comparisons"
    )
