"""What can keep archiving from being switched on or off, beside the errors of `coordinator.orchestrate.errors`."""

from coordinator.model.errors import Conflict, CoordinatorError, DestinationInUse


class ArchivingChanging(Conflict):
    """Archiving is being switched on or off, in another way, or by restarts that what was sent can't go beside."""

    code = "archiving_changing"


class DestinationArchives(DestinationInUse):
    """The commit log is archived to the destination."""

    code = "destination_archives"
    retry = "never"
    todo = "POST /{cluster}/backups/pit with other destinations, or DELETE it, then send this again."


class ClusterNotWhole(Conflict):
    """A node is down or not NORMAL: to restart another one beside it could take data away from clients."""

    code = "cluster_not_whole"
    todo = "Bring the named nodes back, then POST or DELETE /{cluster}/backups/pit again: it goes on where it stopped."


class RollingRestartStopped(CoordinatorError):
    """The restart of a node failed, and no other one was restarted after it. `nodes` holds its error, `done` the nodes
    that run with the new setting, `left` those that don't yet."""

    code = "rolling_restart_stopped"
    type = "NodesFailed"
    status = 502
    retry = "later"
    todo = (
        "See that Cassandra runs on the named node, remove what kept it from starting, then POST or DELETE "
        "/{cluster}/backups/pit again: only the nodes that are left are restarted."
    )


class ArchivingLost(CoordinatorError):
    """Nodes (`nodes`: address → why) do not archive as was ordered: they joined later, or lost the setting."""

    code = "archiving_lost"
    type = "NodesFailed"
    status = 502
    retry = "later"
    todo = "POST /{cluster}/backups/pit again: only nodes that need it are told and restarted."


class ArchivingNotTaken(CoordinatorError):
    """Every node was restarted, and Cassandra on some (`nodes`: address → why) doesn't archive all the same."""

    code = "archiving_not_taken"
    type = "NodesFailed"
    status = 502
    retry = "later"
    todo = (
        "Look whether the agents' [cassandra.archiving] properties_file is the one that Cassandra reads (in its conf "
        "directory), and into its log; then POST /{cluster}/backups/pit again."
    )


class LogsStay(Conflict):
    """Which backups are kept can't be told, so no segment of the commit log may go."""

    code = "logs_stay"
    todo = "Start the named agents, or bring the destination back; it is tried again by itself after the next delete."
