"""The arguments of every phase of a restore to a point in time, checked. Pure."""

import math

from agent.cassandra.errors import KeyspaceRefused
from agent.wire.commands import RestoreArguments
from agent.wire.destinations import ON_SERVER
from agent.wire.names import CLUSTER_KEYSPACES, NODE_KEYSPACES, check_name, check_tables
from agent.wire.point_in_time import PitArguments
from kit.errors import InvalidInput

_LATEST = 253_402_300_799_999_999
"""Microseconds at the end of the year 9999: Cassandra's format of the point has four digits for a year."""


def checked_point(arguments: PitArguments, *, named: bool = True) -> PitArguments:
    """The arguments, after every name and number in them was checked. `named`: tables must be named one by one. Raises
    `InvalidName`, `InvalidInput`, `KeyspaceRefused`."""
    check_name("tag", arguments.tag)
    for tag in arguments.others:
        check_name("tag", tag)
    check_tables(arguments.tables, "tables")
    check_tables(arguments.views, "views")
    if not 0 < arguments.pit_micros <= _LATEST:
        raise InvalidInput("pit_micros must be microseconds since 1970, up to the year 9999", field="pit_micros")
    if not math.isfinite(arguments.late_seconds) or arguments.late_seconds < 0:
        raise InvalidInput("late_seconds must not be negative", field="late_seconds")
    if arguments.throttle_bytes_per_second < 0:
        raise InvalidInput("throttle_bytes_per_second must not be negative", field="throttle_bytes_per_second")
    if named and not (arguments.tables and all(arguments.tables.values())):
        raise InvalidInput("every table must be named: a check of the point names them", field="tables")
    for keyspace in sorted(arguments.tables):
        if is_refused(keyspace):
            raise KeyspaceRefused(f"{keyspace} is not brought back to a point in time", keyspace=keyspace)
    return arguments


def is_refused(keyspace: str) -> bool:
    """Whether the cluster lives by the keyspace, so that it can't go back in time alone."""
    return keyspace in NODE_KEYSPACES | CLUSTER_KEYSPACES


def pit_seconds(arguments: PitArguments) -> float:
    """The point as unix seconds: for comparing with the times of segments, not for Cassandra."""
    return arguments.pit_micros / 1e6


def snapshot_of(arguments: PitArguments, host_id: str) -> RestoreArguments:
    """The same node's part of the snapshot, as the source of a backup is asked for it."""
    return RestoreArguments(
        tag=arguments.tag,
        source_host_id=host_id,
        tables=arguments.tables,
        source=arguments.source,
        throttle_bytes_per_second=arguments.throttle_bytes_per_second,
    )


def counted_under(arguments: PitArguments) -> str:
    """The name under which the snapshot's progress is counted: the destination's id, or on-server's."""
    return ON_SERVER if arguments.source is None else arguments.source.destination


def logs_counted_under(arguments: PitArguments) -> str:
    """As `counted_under`, of the segments."""
    return ON_SERVER if arguments.logs is None else arguments.logs.destination
