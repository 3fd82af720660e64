"""The main job, told once: rows, backup, disaster, restore, comparison. In: a running topology. Out: rows restored."""

import time

from tests.cluster.comparison import Comparison, compare_every_column
from tests.cluster.opscenter import OpsCenter
from tests.cluster.rows import DataSet
from tests.demo.screen import Screen, mib
from tests.demo.topology import Topology

SEED = 20_240_501


async def tell(topology: Topology, screen: Screen, rows: int) -> tuple[Comparison, Comparison]:
    """Run the story; raises RowsDiffer or RequestFailed. Returns what was compared before and after."""
    cluster = topology.cassandra
    session = await cluster.session()
    data = DataSet(seed=SEED, rows=rows, version=cluster.version, replication=len(cluster.nodes))
    screen.step(f"writing {rows} rows and the special tables: {', '.join(data.keyspaces)}")
    await data.create(session)
    await data.write(session)
    written = await compare_every_column(data, cluster.nodes)
    screen.line(f"{written.rows} rows answered at ONE on each node and at QUORUM, all as written")

    api = OpsCenter(topology.coordinator)
    made = await api.post("/backups/destinations", topology.destination())
    destination = made["destination_id"]["id"]
    screen.step(f"POST /{topology.coordinator.cluster}/backups/destinations: {destination}")

    screen.step(f"POST /{topology.coordinator.cluster}/backups/run")
    began = time.monotonic()
    request = await api.post("/backups/run", {"keyspaces": data.keyspaces, "destinations": {destination: {}}})
    await api.follow(request, screen.progress)
    seconds = time.monotonic() - began
    tag, backup = next(iter((await api.get(f"/backups?destination={destination}")).items()))
    size = sum(keyspace["size"] for keyspace in backup["keyspaces"].values())
    screen.line(f"{tag}: {mib(size)} in {seconds:.1f} s")

    dropped, truncated = data.table("people"), data.tables[0]
    screen.step(f"the disaster: DROP TABLE {dropped.full_name}; TRUNCATE {truncated.full_name}")
    session.execute(f"DROP TABLE {dropped.full_name}", timeout=60)
    session.execute(f"TRUNCATE {truncated.full_name}", timeout=60)

    screen.step(f"POST /{topology.coordinator.cluster}/backups/restore/{tag}")
    began = time.monotonic()
    body = {"destination": destination, "keyspaces": {name: {"truncate": True} for name in data.keyspaces}}
    status = await api.follow(await api.post(f"/backups/restore/{tag}", body), screen.progress)
    screen.line(f"restored in {time.monotonic() - began:.1f} s: {status['details'].get('message', '')}")

    screen.step("comparing every column of every row: at ONE on each node directly, then at QUORUM")
    restored = await compare_every_column(data, cluster.nodes)
    for address, count in restored.at_one.items():
        screen.line(f"{address} at ONE: {count} rows equal")
    screen.line(f"at QUORUM: {restored.at_quorum} rows equal")
    return written, restored
