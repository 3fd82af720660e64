"""What can keep a request from being done, beside the errors of `coordinator.model.errors` (docs/errors.md)."""

from collections.abc import Sequence
from typing import ClassVar

from coordinator.model.errors import Conflict, CoordinatorError, DestinationInUse, InvalidArguments, TagInUse
from kit.errors import HelenusError, Retry


class KeyspaceRefused(InvalidArguments):
    """A keyspace that can't be restored on a live cluster, or not by this way (design §3.11)."""

    code = "keyspace_refused"
    todo = "Leave the named keyspaces out; where the message names another way, take that one."


class StateOnThisCluster(Conflict):
    """The tables that are asked for hold the coordinator's own state: who leads, and which fences were given, would be
    what they were then, or gone."""

    code = "state_on_this_cluster"
    retry = "never"
    todo = "Name the `keyspaces` that are to be restored, without that of the coordinator's state."


class MissingNodes(CoordinatorError):
    """Ring members in state NORMAL without an agent that answers with their host id and sees its Cassandra."""

    code = "missing_nodes"
    type = "MissingNodes"
    status = 409
    retry = "later"
    todo = 'Start the agents (and Cassandra) of the named nodes; or send it with "force": true to go on without them.'


class NobodyAnswers(MissingNodes):
    """Missing nodes, and no other that could go on without them."""

    todo = "Start the agents (and Cassandra) of the named nodes, then send it again: force can't do without any."


class TruncateNeedsAll(MissingNodes):
    """Missing nodes whose Cassandra doesn't run, and tables that should be emptied: force would lead nowhere."""

    todo = (
        "Start Cassandra and the agents of the named nodes: TRUNCATE needs every node, and force doesn't lift that; "
        'without truncate, "force": true goes on without them.'
    )


class NoNodeLeft(Conflict):
    """Every node is excluded, missing, or has no part in the backup: none is left to be restored."""

    code = "no_node_left"
    todo = "Exclude fewer nodes, start the named nodes' agents, or choose a backup that holds their parts."


class RetentionWaits(Conflict):
    """Agents don't answer, and each node has its own part of the place: a delete would leave theirs behind."""

    code = "retention_waits"
    todo = (
        "Start the named agents, or take nodes that are gone for good out of the coordinator's configuration; "
        "retention tries again by itself."
    )


class DamageUncounted(Conflict):
    """More is damaged in the place than a scrub looks at (`nodes`): which backups are good there nobody can tell."""

    code = "retention_waits"
    todo = (
        "See what became of the destination, run backups into it (they put anew what they can), and delete those that "
        "are lost. Retention goes on there by itself after a scrub that told all that is damaged, or once the nodes "
        "have left the ring."
    )


class PlaceUnscrubbed(Conflict):
    """The place holds backups of before this coordinator's memory, and nodes (`nodes`) have scrubbed nothing there
    since: what is damaged of them nobody here knows."""

    code = "retention_waits"
    todo = (
        "Have the destination scrubbed (POST .../backups/scrub; it is done daily as well): retention goes on by itself "
        "once each node's scrub has ended, or the node is gone from the ring."
    )


class RetentionFailed(CoordinatorError):
    """Backups that a rule lets go and that could not be deleted; `backups` holds each one's own error."""

    code = "retention_failed"
    status = 502
    retry = "later"
    todo = "See each backup's error and remove its cause; retention tries again by itself."


class PartUnreadable(Conflict):
    """Nodes whose agent answers that it can't read its part of the backup; `refusals` holds each one's own error."""

    code = "part_unreadable"
    todo = (
        "Mount or repair the destination on the named nodes, then send it again (force doesn't lift this); or name "
        "them in excluded-nodes: they aren't restored then, and with truncate they are emptied all the same."
    )


class ScriptsNotSupported(Conflict):
    """A backup that names a script, and agents of a release that can't run any; `nodes`: address → its version."""

    code = "scripts_not_supported"
    todo = "Update the agents of the named nodes, or leave the scripts out."


class AgentsTooOld(Conflict):
    """An order that takes what agents of some nodes can't do: they are of an earlier release, or aren't set up for it.
    `nodes`: address → its version; `kinds`: what they lack. Nothing was begun."""

    code = "agents_too_old"
    todo = (
        "Update the agents of the named nodes, or set them up for it (for what stops a node, agent.toml names "
        "Cassandra's service and configuration); then send it again."
    )


class NodesFailed(CoordinatorError):
    """Some nodes couldn't do their part; `nodes` holds each one's own error."""

    code = "nodes_failed"
    type = "NodesFailed"
    status = 502
    retry = "later"
    todo = "See each node's error, remove its cause, and run the request again."


class SchemaChanged(Conflict):
    """The schema was changed while the snapshots were taken, three times in a row."""

    code = "schema_changed"
    todo = "Run the backup again when nobody is changing the schema."


class BackupDeleted(Conflict):
    """The backup carries its delete mark."""

    code = "backup_deleted"
    retry = "never"
    todo = "Choose another backup; the data of a deleted one goes with each node's next sweep."


class TopologyDiffers(Conflict):
    """The ring is not the backup's: `nodes` names each node and the reason."""

    code = "topology_differs"
    retry = "never"
    todo = "Restore onto nodes with the tokens, data centres and racks of the backup (same number of nodes)."


class ReplicationDiffers(Conflict):
    """An asked keyspace replicates differently than when the backup was taken; both are shown."""

    code = "replication_differs"
    retry = "never"
    todo = "Alter the keyspace's replication to the backup's, or drop the keyspace and let the restore make it again."


class RestoreRefused(Conflict):
    """The preflight found what would make the restore fail or lose data; `refusals` holds every reason."""

    code = "restore_refused"
    todo = "Remove the named reasons; `lifted_by` says which of them force or force_schema lift."


class RestoreRunning(Conflict):
    """Another restore is changing some of the same tables, or the same restore runs without `force` and was sent with
    it; `request` is its id, `tables` what both have."""

    code = "restore_running"


class RestoreUnfinished(TagInUse):
    """A restore that stopped half-way (`request` is its last one) needs the backup to bring back `tables`."""

    code = "restore_unfinished"
    todo = (
        "Send the restore of the named request again, just as it was, until it succeeds; then the backup can be "
        "deleted. Or give it up: restore its tables from another backup, or drop those that nobody needs; of one to a "
        "point in time cancel what you sent again, with force, which brings the old data back while no client was let "
        "in, or restore to another point with force; one whose nodes left the ring keeps nothing."
    )


class PastThePointOfReturn(Conflict):
    """Tables were truncated or changed already: cancelling can't give back what was there."""

    code = "past_the_point_of_return"
    todo = "Let the restore finish; or cancel with force, then post the same restore again to finish it."


class DeletedAlready(PastThePointOfReturn):
    """A delete mark is put, or a node's snapshot cleared: no cancel, forced or not, gives the backup back."""

    todo = "Let the delete finish; one that was cut short goes on when the same DELETE is sent again."


class NodeLeftOut(CoordinatorError):
    """A node that force left out of a restore: down, or without an agent that answers."""

    code = "node_left_out"
    type = "NodeLeftOut"
    status = 502
    retry: ClassVar[Retry] = "later"
    todo = "Once the node can take part, run the restore again; or repair the node from the others."


class NoPartInBackup(NodeLeftOut):
    """A node that force left out of a restore because the backup has no part of it."""

    code = "no_part_in_backup"
    retry = "never"
    todo = (
        "This backup can't restore the node, however often it is run: repair it from the others (nodetool repair), or "
        "restore a backup that holds its part."
    )


class OutcomeUnknown(CoordinatorError):
    """An agent was lost while it may have been changing the schema or truncating, and force went on without it."""

    code = "outcome_unknown"
    type = "OutcomeUnknown"
    status = 503
    retry = "later"
    todo = "Bring the named agent back and look at the tables on its node."


class TablesUnseen(CoordinatorError):
    """No node tells whether the tables are still those that a restore worked on; `hosts` are the nodes to ask."""

    code = "tables_unseen"
    type = "TablesUnseen"
    status = 503
    retry = "later"
    todo = "See that agents and Cassandra of the named nodes answer, then send the restore again."


class ViewsChanged(Conflict):
    """Tables that are about to be imported into have a materialized view, which an import wouldn't fill; `views` names
    each."""

    code = "views_changed"
    todo = (
        "Drop the named views and send the restore again: those that its result calls owed it makes itself, the others "
        "make anew after it."
    )


class DestinationRefused(InvalidArguments):
    """The agents' checks of a destination failed; `nodes` names what, per node."""

    code = "destination_refused"
    todo = "Remove the cause that the message names, in the settings or the store, then send the destination again."


class DestinationExists(Conflict):
    """Another destination of the cluster is at the same place, inside of it or around it; `destination` is its id."""

    code = "destination_exists"
    retry = "never"
    todo = "Use or update the named destination, or give this one a bucket, prefix or directory beside it."


class DestinationScheduled(DestinationInUse):
    """Job schedules copy to the destination (`schedules`: their ids): without it every run of theirs would fail."""

    code = "destination_scheduled"
    retry = "never"
    todo = (
        "Change the named schedules to other destinations (PUT /{cluster}/job-schedules/{id}) or delete them, then "
        "send this again."
    )

    def __init__(self, destination: str, schedules: Sequence[str]) -> None:
        named = ", ".join(schedules)
        super().__init__(f"job schedules copy to the destination {destination}: {named}", schedules=[*schedules])


class DestinationNotShared(DestinationRefused):
    """A directory that was said to be shared isn't the same on every node."""

    code = "destination_not_shared"
    todo = "Mount the same directory on every node, or send the destination without shared."


class ClusterAmbiguous(DestinationRefused):
    """The repository holds several clusters of this cluster's name; the agent's own error lists their ids."""

    code = "cluster_ambiguous"
    status = 409
    todo = "Remove or rename the clusters that are not this one, or use a repository of its own."


class RepositoryMismatch(DestinationRefused):
    """The nodes' directories hold repositories of different ids."""

    code = "repository_mismatch"
    todo = "Give every node the directory that belongs to this cluster's repository, or an empty one."


class RequestCancelled(CoordinatorError):
    """A person ended the request."""

    code = "request_cancelled"
    type = "RequestCancelled"
    status = 409
    todo = "Nothing: what the request had begun is undone, unless its warnings say otherwise."


def foreseen(error: Exception) -> HelenusError:
    """The error as people are shown it; one that nobody foresaw is named by its type."""
    if isinstance(error, HelenusError):
        return error
    return HelenusError(f"an error that nobody foresaw: {type(error).__name__}: {error}")
