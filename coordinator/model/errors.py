"""The coordinator's errors that more than one layer raises. `type` is OpsCenter's name of the error."""

from typing import ClassVar

from kit.errors import HelenusError, Retry


class CoordinatorError(HelenusError):
    """Root of the coordinator's errors; `type` goes into the answer."""

    type: ClassVar[str] = "InternalError"


class InvalidArguments(CoordinatorError):
    """A request that can't be taken as it is; the field `field` names the culprit."""

    code = "invalid_arguments"
    type = "InvalidArguments"
    status = 400
    todo = "Correct the named field and send the request again."


class NoSuchCluster(CoordinatorError):
    """No cluster of that name or id in the configuration."""

    code = "unknown_cluster"
    type = "NoSuchCluster"
    status = 404
    todo = "Use an id that GET /cluster-configs lists, or add the cluster to the coordinator's configuration."

    def __init__(self, cluster: str) -> None:
        super().__init__(f"There are no clusters with name or ID '{cluster}'", cluster=cluster)


class NoSuchDestination(CoordinatorError):
    """A destination id that this cluster doesn't have."""

    code = "unknown_destination"
    type = "NoSuchDestination"
    status = 404
    todo = (
        "Use an id that GET /{cluster}/backups/destinations lists. If the coordinator's state was lost: add the same "
        "place again (POST there), and all its backups are found, under the new id."
    )

    def __init__(self, destination: str) -> None:
        super().__init__(f"there is no destination with the ID '{destination}'", destination=destination)


class NoSuchBackup(CoordinatorError):
    """A tag that isn't there (any more) at the place asked."""

    code = "unknown_backup"
    type = "NoSuchBackup"
    status = 404
    todo = "Use a tag that GET /{cluster}/backups lists for the same destination (none = on the nodes)."


class NoSuchNode(CoordinatorError):
    """An address that no node of the cluster has."""

    code = "unknown_node"
    type = "NoSuchNode"
    status = 404
    todo = "Use an address that GET /{cluster}/nodes lists as `node_ip`."

    def __init__(self, node: str) -> None:
        super().__init__(f"there is no node with the address '{node}'", node=node)


class NoSuchRequest(CoordinatorError):
    """A request id that isn't known."""

    code = "unknown_request"
    type = "NoSuchRequest"
    status = 404
    todo = "Use the id that the POST or DELETE answered."

    def __init__(self, request: str) -> None:
        super().__init__(f"there is no request with the ID '{request}'", request=request)


class NoSuchSchedule(CoordinatorError):
    """A schedule's id that this cluster doesn't have."""

    code = "unknown_schedule"
    type = "NoSuchSchedule"
    status = 404
    todo = "Use an id that GET /{cluster}/job-schedules lists."

    def __init__(self, schedule: str) -> None:
        super().__init__(f"there is no job schedule with the ID '{schedule}'", schedule=schedule)


class UnknownKeyspace(InvalidArguments):
    """A keyspace that isn't in the cluster or in the backup."""

    code = "unknown_keyspace"
    todo = "Name keyspaces as Cassandra spells them, without quotes and in the right case."


class UnknownTable(InvalidArguments):
    """A table that isn't in the keyspace or in the backup."""

    code = "unknown_table"
    todo = "Name tables as Cassandra spells them, without quotes and in the right case."


class Conflict(CoordinatorError):
    """Something under way forbids it; `request` names it."""

    code = "conflict"
    type = "Conflict"
    status = 409
    retry: ClassVar[Retry] = "later"
    todo = "Wait until the named request has ended, or cancel it."


class TagInUse(Conflict):
    """A running request works on the backup that should be deleted, restored or copied."""

    code = "backup_in_use"


class DestinationInUse(Conflict):
    """A running request needs the destination."""

    code = "destination_in_use"


class RequestFinished(Conflict):
    """A cancel came too late: the request has ended."""

    code = "request_finished"
    retry = "never"
    todo = "Nothing can be cancelled any more; GET /request/{id}/status tells how it ended."
