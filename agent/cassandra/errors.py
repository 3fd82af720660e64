"""What can go wrong between the agent and its Cassandra node: an error per fact, each with a stable code."""

from collections.abc import Sequence

from kit.errors import HelenusError


class CassandraError(HelenusError):
    """The root of this package's errors."""

    code = "cassandra_failed"
    status = 502
    todo = "Look at Cassandra's own log on the node at the time of the error."


class CassandraUnavailable(CassandraError):
    """Cassandra does not answer: it is down, starting, stopped by a signal, or too slow for the deadline."""

    code = "cassandra_unavailable"
    status = 503
    retry = "later"
    todo = (
        "Start Cassandra on the node, unless a restore to a point in time has stopped it, or wait until it answers, "
        "then send the command again."
    )


class CassandraDenied(CassandraError):
    """Cassandra refused the agent's user, or the user lacks a right."""

    code = "cassandra_denied"
    status = 403
    retry = "later"
    todo = "Correct the agent's user and password file, or grant the role what the README names."


class CassandraUntrusted(CassandraError):
    """No TLS came about with Cassandra's CQL port: its certificate is of another CA or for another name, or it refused
    the agent's."""

    code = "cassandra_untrusted"
    retry = "later"
    todo = "Correct `cassandra.cql.tls` in agent.toml (its CA file must be that of the node's certificate)."


class QueryFailed(CassandraError):
    """A CQL statement was refused; `fields`: statement (cut short), reason."""

    code = "cql_failed"
    todo = "Read the reason that Cassandra gave; correct what it names and send the command again."


class NodetoolFailed(CassandraError):
    """nodetool ended with an error, or said it was fine when the result was not; `fields`: command, exit, output."""

    code = "nodetool_failed"
    retry = "later"
    todo = "Read nodetool's output in the fields, then run the same nodetool command by hand as the agent's user."


class NodetoolTimeout(CassandraError):
    """nodetool did not end within its deadline and was killed with its whole process group."""

    code = "nodetool_timeout"
    status = 504
    retry = "later"
    todo = "See whether Cassandra hangs (its log, `nodetool info` by hand); raise the deadline if it is only slow."


class NodetoolKilled(NodetoolTimeout):
    """nodetool was ended by a signal: whether Cassandra carries the order out is not known; `fields`: command, exit."""

    code = "nodetool_killed"
    todo = "See in the node's journal who ended it (the kernel when memory was short); then send the command again."


class NodetoolMissing(CassandraError):
    """The configured nodetool can't be started."""

    code = "nodetool_missing"
    todo = "Correct `cassandra.nodetool.command` in the agent's configuration."


class JolokiaFailed(CassandraError):
    """The Jolokia agent in Cassandra's JVM refused or failed a request; `fields`: operation, reason."""

    code = "jolokia_failed"
    retry = "later"
    todo = "Check Jolokia's address, user and policy; without `cassandra.jolokia` the agent uses nodetool instead."


class ControlOfAnotherNode(CassandraError):
    """nodetool or Jolokia leads to another node than CQL; `fields`: setting, where, host_id (CQL's), other_host_id."""

    code = "control_of_another_node"
    status = 409
    retry = "later"
    todo = (
        "Correct the named setting (host and port, or the URL), or `cassandra.cql`, in agent.toml: both must lead to "
        "the agent's own node. Restart the agent and send the command again; a snapshot that the agent made on the "
        "other node is cleared there, with `nodetool clearsnapshot -t <tag>`."
    )


class KeyspaceNotFound(CassandraError):
    """A keyspace that was asked for does not exist on the node."""

    code = "keyspace_not_found"
    status = 404
    todo = "Correct the keyspace's name: names are case-sensitive and written without quotes."


class TableNotFound(CassandraError):
    """A table that was asked for does not exist on the node."""

    code = "table_not_found"
    status = 404
    todo = "Correct the table's name: names are case-sensitive and written without quotes."


class KeyspaceRefused(CassandraError):
    """A keyspace that can't be backed up or restored (virtual, or one that only this cluster may write)."""

    code = "keyspace_refused"
    status = 400
    todo = "Leave the keyspace out: it belongs to the node or the cluster itself."


class KeyspaceNotEmptied(KeyspaceRefused):
    """A keyspace that can be restored, but not emptied: the cluster lives by it."""

    todo = "Restore the named keyspace without truncate, beside the others or alone."


class SchemaChanged(CassandraError):
    """The schema kept changing around the snapshot, or the nodes disagree about it."""

    code = "schema_changed"
    status = 409
    retry = "later"
    todo = "Run the command again when no schema changes are under way (`nodetool describecluster` shows one version)."


class SchemaDisagreement(CassandraError):
    """The nodes did not agree on one schema version within the deadline after a change."""

    code = "schema_disagreement"
    status = 504
    retry = "later"
    todo = "Look at `nodetool describecluster`; bring the named nodes back, then send the command again."


class SnapshotExists(CassandraError):
    """A snapshot of that tag is on the node and belongs to another command, or to somebody else."""

    code = "snapshot_exists"
    status = 409
    todo = "Use another tag; or, if nobody needs it, clear it with `nodetool clearsnapshot -t <tag>`."


class SnapshotMissing(CassandraError):
    """The snapshot, or the part of a table in it, is not on the node's disks."""

    code = "snapshot_missing"
    status = 404
    todo = "Somebody cleared the snapshot, or its TTL passed: take a new backup."


class SnapshotNotMade(SnapshotMissing):
    """The order for a snapshot was reported as carried out, and nothing of it is on the node's disks; `fields`: tag,
    directories."""

    todo = (
        "See that `cassandra.nodetool.command` (or `cassandra.jolokia.url`) and `cassandra.data_directories` in "
        "agent.toml are of this node; if they are, somebody cleared the snapshot at once: take a new backup."
    )

    def __init__(self, tag: str, directories: Sequence[str]) -> None:
        super().__init__(
            f"the snapshot {tag} was reported as made, but no directory of it is in {', '.join(directories)}",
            tag=tag,
            directories=list(directories),
        )


class SnapshotUnreadable(CassandraError):
    """A file or directory of a snapshot, or of the tables, can't be listed, read or linked; `fields`: path, reason (and
    keyspace, table)."""

    code = "snapshot_unreadable"
    retry = "later"
    todo = "Let the agent's user read the data directories, or look at the disk, then send the command again."


class SnapshotNoteDamaged(CassandraError):
    """What the agent noted of its snapshot can't be read; `fields`: tag, path."""

    code = "snapshot_note_damaged"
    status = 500
    todo = (
        "Clear the snapshot if nobody needs it (`nodetool clearsnapshot -t <tag>`), then remove the named file's "
        "directory."
    )


class NotEnoughSpace(CassandraError):
    """A data volume has less room than the operation needs or the watermark allows; `fields`: volumes."""

    code = "not_enough_space"
    status = 507
    retry = "later"
    todo = "Free space on the named volumes (clear old snapshots first), then send the command again."


class NoDataDirectories(CassandraError):
    """The node's data directories can't be found or read."""

    code = "no_data_directories"
    todo = "Set `cassandra.data_directories` in agent.toml, and let the agent's user read them."


class DataDirectoriesDiffer(CassandraError):
    """The node has data directories that the agent's settings leave out; `fields`: directories, configured."""

    code = "data_directories_differ"
    status = 409
    todo = "Add the named ones to `cassandra.data_directories` in agent.toml, or leave it empty: the node is asked."


class StagingRefused(CassandraError):
    """Files for a restore can't be put where Cassandra could import them; `fields`: path, reason."""

    code = "staging_refused"
    todo = "Run the agent as Cassandra's own user, or in one group with it and the data volumes writable for the group."


class UnsafeName(CassandraError):
    """A manifest names a file that is no SSTable component; nothing was written."""

    code = "unsafe_name"
    todo = "Don't trust this backup: restore from another one and look into who or what changed the destination."


class SstableDamaged(CassandraError):
    """A staged SSTable's bytes are not what its Digest.crc32 or the manifest say."""

    code = "sstable_damaged"
    todo = "Restore from another backup or destination; compare the table with `nodetool verify` on the node."


class ImportFailed(CassandraError):
    """`nodetool import` left SSTables behind; `fields`: keyspace, table, left (Data files), output."""

    code = "import_failed"
    retry = "later"
    todo = "Read Cassandra's log for the reason it refused the SSTables; then send the import again: it goes on there."


class FilesAppeared(CassandraError):
    """Files are where a restore to a point in time had set others aside, or would put its own: Cassandra was started
    half-way, or somebody copied them; nothing was overwritten. `fields`: files."""

    code = "files_appeared"
    status = 409
    todo = (
        "Stop Cassandra on the node and cancel the restore with force, which moves these files aside; then run it anew."
    )


class FilesVanished(CassandraError):
    """A file that a restore to a point in time set aside, or was to set aside or to place, is not there any more;
    `fields`: files."""

    code = "files_vanished"
    status = 409
    todo = "Find out who moved or removed the named files and put them back; then send the same command again."
