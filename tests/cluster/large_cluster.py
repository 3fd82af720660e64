"""A cluster that is only described. In: how many nodes, tokens and keyspaces. Out: its plan, record and agents' reports
as the wire's types, equal for equal numbers."""

import random
import time
import uuid

from agent.wire.backups import NodeRecord, Plan, PlannedNode, Record
from agent.wire.commands import Kind
from agent.wire.node import KeyspaceView, NodeIdentity, NodeReport, RingMember

TAG = "opscenter_adhoc_2017-03-17-15-06-09-UTC"


class LargeCluster:
    """`nodes` nodes of `tokens` tokens, `keyspaces` keyspaces of ten tables."""

    def __init__(self, nodes: int, tokens: int, keyspaces: int = 100) -> None:
        dice = random.Random(nodes * tokens)
        self.keyspaces = {
            f"keyspace_number_{number:03}": [f"table_of_some_length_{table:03}" for table in range(10)]
            for number in range(keyspaces)
        }
        self.members = [
            RingMember(
                host_id=str(uuid.UUID(int=dice.getrandbits(128))),
                address=f"10.{number // 250}.{number % 250}.17",
                dc="datacenter1",
                rack=f"rack{number % 3}",
                state="NORMAL",
                up=True,
                tokens=sorted((str(dice.randrange(-(2**63), 2**63)) for _ in range(tokens)), key=int),
                version="5.0.9",
                schema_version=str(uuid.UUID(int=1)),
            )
            for number in range(nodes)
        ]

    def plan(self) -> Plan:
        """The plan of a backup of all of it."""
        replication = {"class": "org.apache.cassandra.locator.NetworkTopologyStrategy", "datacenter1": "3"}
        return Plan(
            tag=TAG,
            backup_id="adhoc",
            time=1.0,
            cluster_name="Large",
            cluster_id="c" * 32,
            nodes=[PlannedNode(each.host_id, each.address, each.dc, each.rack, each.tokens) for each in self.members],
            keyspaces=self.keyspaces,
            replication=dict.fromkeys(self.keyspaces, replication),
            schema_version=str(uuid.UUID(int=1)),
        )

    def record(self) -> Record:
        """Its record: every node holds a part of every keyspace."""
        sizes = dict.fromkeys(self.keyspaces, 123_456_789_012)
        nodes = [NodeRecord(each.host_id, each.address, "success", sizes) for each in self.members]
        return Record(TAG, "adhoc", 1.0, "success", self.keyspaces, nodes, 2.0)

    def report(self, number: int) -> NodeReport:
        """What the agent of a node tells: itself first in the ring, as agents do."""
        own = self.members[number]
        return NodeReport(
            agent_id=f"agent {number}",
            instance="instance",
            agent_version="0.1.0",
            protocol_min=1,
            protocol_max=1,
            features=[*Kind],
            now=time.time(),
            node=NodeIdentity(
                own.host_id,
                own.address,
                "Large",
                own.dc,
                own.rack,
                own.tokens,
                own.version,
                "org.apache.cassandra.dht.Murmur3Partitioner",
                own.schema_version or "",
            ),
            trouble=None,
            data_directories=[],
            keyspaces={
                name: KeyspaceView(
                    {"class": "SimpleStrategy"}, True, {table: f"{name}.{table}" for table in tables}, {}
                )
                for name, tables in self.keyspaces.items()
            },
            ring=[own, *(each for each in self.members if each is not own)],
            throttle_bytes_per_second=0,
            events=0,
        )
