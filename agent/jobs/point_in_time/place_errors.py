"""What keeps a node from being restored to a point in time, or from being put back: errors with stable codes."""

from agent.jobs.restore.errors import RestoreError


class NotQuiesced(RestoreError):
    """PIT_PLACE before PIT_QUIESCE noted the node's directories and tables; `fields`: job."""

    code = "not_quiesced"
    todo = "Send PIT_QUIESCE and PIT_STOP of the same `job`, then send the phase again."


class NotDrained(RestoreError):
    """Cassandra is down without having been drained: its commit log may hold the only copy of writes to other tables;
    `fields`: job."""

    code = "not_drained"
    todo = "Start Cassandra, so that it replays its log; then send PIT_QUIESCE and PIT_STOP of the same `job` again."


class CassandraRuns(RestoreError):
    """Files are to be set aside or put back, and Cassandra runs."""

    code = "cassandra_runs"
    retry = "later"
    todo = "Send PIT_STOP of the same `job`, and keep the service manager from starting Cassandra meanwhile."


class NotPlaced(RestoreError):
    """PIT_START, PIT_VERIFY or PIT_OPEN before the phases ahead of it succeeded, PIT_PLACE or PIT_START; `fields`:
    job."""

    code = "not_placed"
    todo = "Send PIT_PLACE, then PIT_START, with the same `job`, each to its success; then send the phase again."


class NotVerified(RestoreError):
    """PIT_OPEN before PIT_VERIFY saw that the replay was whole; `fields`: job."""

    code = "not_verified"
    todo = "Send PIT_VERIFY with the same `job` and wait for its success, then send PIT_OPEN again."


class BeingUndone(RestoreError):
    """PIT_PLACE while PIT_UNDO of the job has begun and not ended; `fields`: job."""

    code = "being_undone"
    todo = "Send PIT_UNDO of the same `job` and wait for its success; then the restore can be sent again."


class RestoreOpened(RestoreError):
    """The restored tables were opened to clients: what they wrote since would be lost; `fields`: job."""

    code = "restore_opened"
    todo = "Restore again, to another point in time or from another backup; what was set aside stays until PIT_CLEAN."


class RestoreUnfinished(RestoreError):
    """PIT_CLEAN while the node's own files are set aside, and neither put back nor the restore finished; `fields`:
    job."""

    code = "restore_unfinished"
    todo = "Send the restore again, which finishes it, or PIT_UNDO; then send PIT_CLEAN."


class ReplayFailed(RestoreError):
    """Cassandra did not replay all segments (some were not given back to it, or it passed them over), or told errors on
    the way; `fields`: missing, errors."""

    code = "replay_failed"
    todo = (
        "Read the named lines of Cassandra's log. Undo the restore and choose a point before the damage, or send it"
        " with `force` to go on with what could be replayed. The segments stay below `segments` until PIT_CLEAN."
    )
