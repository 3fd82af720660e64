"""What speaks against a restore to a point in time before anything of the node is touched: errors with stable codes."""

from agent.jobs.restore.errors import RestoreError


class PointInFuture(RestoreError):
    """The point is later than now by the node's clock: nothing of then can be in its commit log; `fields`: pit, now."""

    code = "point_in_future"
    retry = "later"
    todo = "Choose a point in the past, or wait until it has passed; if it has, set the named node's clock right."


class PointBeforeSnapshot(RestoreError):
    """The snapshot was not whole before the point, or holds a write that is later than the point; `fields`: pit,
    taken_until."""

    code = "point_before_snapshot"
    todo = "Choose a snapshot that was taken before the point, or a point after the snapshot was taken."


class LogIncomplete(RestoreError):
    """The node's commit log, in the destination and on the node, does not reach from the snapshot to the point without
    a gap; `fields`: covered_until, gaps."""

    code = "log_incomplete"
    todo = (
        "Choose a point within the windows that a check names, or a snapshot taken after the named gap; with `force` "
        "what was written in the gap is left out."
    )


class SegmentDamaged(RestoreError):
    """Cassandra would stop at a segment: it is cut, its bytes are not what was written, or objects of it are gone;
    `fields`: segment, since, until, reason."""

    code = "segment_damaged"
    todo = (
        "Choose a point before the named segment's time, or a snapshot taken after it, or bring its objects back from "
        "a copy of the destination; with `force` Cassandra goes on behind the damage, and what was written there is "
        "left out."
    )


class NotCovered(RestoreError):
    """Files are to be set aside before PIT_COVER found the log complete up to the point; `fields`: job,
    covered_until."""

    code = "not_covered"
    todo = "Send PIT_COVER with the same `job` while Cassandra is down; set aside nothing until it covers the point."


class RestoredSince(RestoreError):
    """An asked table was restored after the snapshot and before the point: the commit log has what that restore undid,
    and lacks what it brought; `fields`: jobs, tables."""

    code = "restored_since_snapshot"
    todo = "Choose a snapshot that was taken after the named restore, or a point before it."


class TruncatedSince(RestoreError):
    """An asked table was truncated after the snapshot and before the point, and again later: Cassandra keeps only the
    last position, so that rows from before the first would come back; `fields`: tables."""

    code = "truncated_since_snapshot"
    todo = (
        "Choose a snapshot that was taken after the named TRUNCATE, or a point before it; with `force` rows that it "
        "had removed come back."
    )


class DroppedSince(RestoreError):
    """An asked table was dropped after the snapshot and before the point, and made again under the same id: the log
    does not tell the two apart; `fields`: tables."""

    code = "dropped_since_snapshot"
    todo = (
        "Choose a snapshot that was taken after the named tables were made again, or a point before they were dropped; "
        "with `force` rows that went with the drop come back."
    )


class DropKeepsNothing(RestoreError):
    """An asked table has to be dropped and made anew, and this node's Cassandra keeps no snapshot of what is dropped;
    `fields`: tables."""

    code = "drop_keeps_nothing"
    todo = (
        "Set auto_snapshot to true in cassandra.yaml of this node and restart it; with `force` a snapshot "
        "helenus-dropped-<job> is taken of the named tables some time before they are dropped: keep clients from them, "
        "for what is written in between is in no snapshot, also when the restore is undone."
    )


class ViewsDisabled(RestoreError):
    """The asked tables have materialized views, or had them at the point, and this node makes none; `fields`: views."""

    code = "views_disabled"
    todo = "Set materialized_views_enabled to true in cassandra.yaml of this node, or drop the views."


class SettingsNotWritable(RestoreError):
    """A file by which Cassandra is told what its one start is to replay can't be read or replaced; `fields`: path,
    reason."""

    code = "settings_not_writable"
    todo = (
        "Give the agent's user the right to read the named file and to make files in its directory, and the agent's "
        "unit `ReadWritePaths` for it; then start the restore again."
    )


class TooManyTables(RestoreError):
    """The names of the asked tables don't fit into one option of Cassandra's start; `fields`: tables, bytes, limit."""

    code = "too_many_tables"
    todo = "Restore some of the tables at a time, to the same point."


class NameTaken(RestoreError):
    """Something else has the name of a table, view or index that is to be made as at the point by now; `fields`:
    names."""

    code = "name_taken"
    todo = "Drop what has the name by now, or ask for its table as well; then start the restore again."


class TableNotThen(RestoreError):
    """An asked table or keyspace did not exist at the point; `fields`: tables."""

    code = "table_not_then"
    status = 404
    todo = "Ask only for tables that existed at the point (case-sensitive, without quotes); a check names a keyspace's."
