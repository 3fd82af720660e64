"""What all simulated agents share, made once. In: how many agents and tables. Out: the ring, the schema, and what each
table counts, as types and as bytes of JSON."""

import uuid

import msgspec

from agent.wire.commands import Counts, Kind
from agent.wire.node import NODE_KNOWN, DataDirectory, KeyspaceView, NodeIdentity, NodeReport, RingMember

NAME = "Fleet"
KEYSPACES = 10
TOKENS = 16
VARIANTS = 8
"""Agents with equal remainders count the same in their tables."""
FILES_OF_AN_SSTABLE = 8
SHAPE = "all see the same"
_EMPTY = (b'"keyspaces":{}', b'"ring":[]')


def address_of(number: int, network: int) -> str:
    """The loopback address of an agent; 60,000 fit into a network."""
    return f"127.{network}.{number // 250}.{number % 250 + 1}"


class Frozen:
    """`tables` over ten keyspaces, of `agents` nodes of sixteen tokens each, with agents at `port`. `told`: the
    protocol's features that they tell of, beside every kind of command."""

    def __init__(self, agents: int, tables: int, network: int, port: int, told: tuple[str, ...] = ()) -> None:
        self.agents = agents
        self.features = [*Kind, *told]
        self.schema_version = str(uuid.UUID(int=1))
        count = min(KEYSPACES, tables)
        self.tables = [
            (f"keyspace_{number * count // tables:02}", f"table_number_{number:04}") for number in range(tables)
        ]
        self.by_keyspace: dict[str, list[str]] = {}
        for keyspace, table in self.tables:
            self.by_keyspace.setdefault(keyspace, []).append(table)
        self.members = [
            RingMember(
                host_id=str(uuid.UUID(int=(number + 1) << 64)),
                address=address_of(number, network),
                dc="datacenter1",
                rack=f"rack{number % 3}",
                state="NORMAL",
                up=True,
                tokens=[
                    str((number * TOKENS + token) * (2**63 // (agents * TOKENS)) * 2 - 2**63) for token in range(TOKENS)
                ],
                version="5.0.9",
                schema_version=self.schema_version,
            )
            for number in range(agents)
        ]
        self.urls = [f"http://{member.address}:{port}" for member in self.members]
        self._ring = b'"ring":' + msgspec.json.encode(self.members)
        views = {
            keyspace: KeyspaceView(
                {"class": "org.apache.cassandra.locator.NetworkTopologyStrategy", "datacenter1": "3"},
                True,
                {table: str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{keyspace}.{table}")) for table in tables_of},
                {},
            )
            for keyspace, tables_of in self.by_keyspace.items()
        }
        self._keyspaces = b'"keyspaces":' + msgspec.json.encode(views)
        self.counts = [[self._counted(variant, number) for number in range(tables)] for variant in range(VARIANTS)]
        self._done = [[self._entry(number, each) for number, each in enumerate(own)] for own in self.counts]
        self._none = [
            [
                self._entry(number, msgspec.structs.replace(each, done_files=0, done_bytes=0))
                for number, each in enumerate(own)
            ]
            for own in self.counts
        ]
        self.sizes = [
            {
                keyspace: sum(own[number].total_bytes for number, (of, _) in enumerate(self.tables) if of == keyspace)
                for keyspace in self.by_keyspace
            }
            for own in self.counts
        ]

    def report(self, number: int, instance: str, events: int, now: float, known: str | None = None) -> bytes:
        """What the agent of a node tells at GET /v1/node, asked with `known` or without."""
        own = self.members[number]
        identity = NodeIdentity(
            own.host_id,
            own.address,
            NAME,
            own.dc,
            own.rack,
            own.tokens,
            own.version,
            "org.apache.cassandra.dht.Murmur3Partitioner",
            self.schema_version,
        )
        told = NodeReport(
            agent_id=f"agent {number}",
            instance=instance,
            agent_version="0.1.0",
            protocol_min=1,
            protocol_max=1,
            features=self.features,
            now=now,
            node=identity,
            trouble=None,
            data_directories=[DataDirectory("/var/lib/cassandra/data", "8:1", 10**12, 5 * 10**11)],
            keyspaces={},
            ring=[],
            throttle_bytes_per_second=0,
            events=events,
            load_bytes=123_456_789,
            shape=SHAPE if NODE_KNOWN in self.features else "",
            as_known=known == SHAPE,
        )
        text = msgspec.json.encode(told)
        if known != SHAPE:
            for empty, shared in zip(_EMPTY, (self._keyspaces, self._ring), strict=True):
                text = text.replace(empty, shared, 1)
        return text

    def progress(self, destination: str, variant: int, first: int, position: int) -> bytes:
        """The counts, as JSON, of the tables from `first` on that are done (before `position`) or under way (at it); of
        all tables when `first` is negative."""
        count = len(self.tables)
        done, none = self._done[variant], self._none[variant]
        begin, end = (0, count) if first < 0 else (first, min(position + 1, count))
        shown: dict[str, list[bytes]] = {}
        for number in range(begin, end):
            if number == position:
                own = self.counts[variant][number]
                entry = self._entry(
                    number,
                    msgspec.structs.replace(own, done_files=own.total_files // 2, done_bytes=own.total_bytes // 2),
                )
            else:
                entry = done[number] if number < position else none[number]
            shown.setdefault(self.tables[number][0], []).append(entry)
        inner = b",".join(b'"%b":{%b}' % (keyspace.encode(), b",".join(each)) for keyspace, each in shown.items())
        return b'{"%b":{%b}}' % (destination.encode(), inner)

    def _counted(self, variant: int, number: int) -> Counts:
        files = FILES_OF_AN_SSTABLE * (1 + (number + variant) % 4)
        size = 1_000_000 + 7_919 * number + variant
        return Counts(files, files, size, size)

    def _entry(self, number: int, counts: Counts) -> bytes:
        return b'"%b":%b' % (self.tables[number][1].encode(), msgspec.json.encode(counts))
