"""What can be wrong with a phase of a restore: errors with stable codes, raised or listed as refusals."""

from kit.errors import HelenusError


class RestoreError(HelenusError):
    """The root of the restore phases' errors."""

    code = "restore_failed"
    status = 409


class JobMissing(RestoreError):
    """A restore's phase without a `job`."""

    code = "job_missing"
    status = 400
    todo = "Send every phase of one restore with the same `job`."


class JobFinished(RestoreError):
    """FETCH of a job that was imported and cleaned on this node already."""

    code = "job_finished"
    todo = "Begin a new restore, with a new `job`."


class JobDiffers(RestoreError):
    """FETCH of a job that has begun to import another backup, node's part or set of tables; `fields` name both."""

    code = "job_differs"
    todo = "Begin a new restore, with a new `job`."


class NotFetched(RestoreError):
    """A phase that needs verified files, before FETCH of the same job succeeded on this node."""

    code = "not_fetched"
    todo = "Send FETCH with the same `job` and wait for its success, then send the phase again."


class TableNotInBackup(RestoreError):
    """A table or keyspace that was asked for and is not in the backup."""

    code = "not_in_backup"
    status = 404
    todo = (
        "Ask for keyspaces and tables that the backup has: its listing names them (case-sensitive, without quotes)."
        " Where only one node's part lacks it, exclude that node and repair it afterwards."
    )


class NodesDown(RestoreError):
    """A ring member is down, and TRUNCATE needs every node."""

    code = "nodes_down"
    retry = "later"
    todo = "Bring the named nodes back, then send the restore again."


class NodesMoving(RestoreError):
    """A ring member is joining, leaving or moving: whose ranges are whose changes while the restore goes on."""

    code = "nodes_moving"
    retry = "later"
    todo = "Wait until `nodetool status` shows every node as normal (N), then send the restore again."


class ViewsChanged(RestoreError):
    """An asked table has a materialized view that the preflight did not see: it would be emptied and not filled."""

    code = "views_changed"
    todo = "Send the restore again; if it is refused again, drop the named views and make them anew after the restore."


class TypeInUse(RestoreError):
    """A user type differs from the backup, and something that isn't replaced uses it, so it can't be dropped."""

    code = "type_in_use"
    todo = "Restore the named tables as well, or change the type (or what uses it) by hand to what the backup has."


class TypeDiffers(RestoreError):
    """A user type that a table to be made needs is there with other fields; both are shown."""

    code = "type_differs"
    todo = "Restore with force_schema, which makes the type as in the backup, or change the type by hand."


class VersionOlder(RestoreError):
    """The live Cassandra is older than the one that wrote the SSTables."""

    code = "version_older"
    todo = "Restore to a cluster of the backup's version or a later one."


class PartitionerDiffers(RestoreError):
    """The backup's SSTables are of another partitioner."""

    code = "partitioner_differs"
    todo = "Restore to a cluster with the backup's partitioner."


class ImportRunning(RestoreError):
    """A restore that empties tables, while commands of another one are unfinished on the node that has begun to import
    these tables, or holds all that it would import; `fields`: job, tables."""

    code = "import_running"
    retry = "later"
    todo = "Wait until the named restore has ended on this node, or cancel it with force; then send this one again."


class ImportStopped(RestoreError):
    """The import was stopped by force after its running batch; `fields` say what is in."""

    code = "import_stopped"
    todo = "Send the same restore again: it goes on where it stopped. Until then the tables lack data."


class CountsDiffer(RestoreError):
    """What was imported, or what was fetched to be imported, is not what the backup has."""

    code = "counts_differ"
    todo = "Send the same restore again: held files are verified, and what is missing is fetched and imported."


class StatementRefused(RestoreError):
    """A statement that is not of the one kind that the phase executes."""

    code = "statement_refused"
    status = 400
    todo = "Send only single CREATE MATERIALIZED VIEW statements."


class StagingLeft(RestoreError):
    """Files that a restore staged could not be removed, or not yet: Cassandra may still be importing them."""

    code = "staging_left"
    retry = "later"
    todo = (
        "Bring what the message names (a volume, the node's Cassandra) back and send CLEAN with the job again. Remove"
        " the named directories by hand only when Cassandra isn't importing from them."
    )


class DamagedOnServer(RestoreError):
    """A file of a snapshot is missing, came to it, or isn't what it was when that was taken; `fields`: keyspace, table,
    file."""

    code = "snapshot_damaged"
    todo = "Take a new backup, or restore from another one; look at the disk and into who changed the snapshot's files."
