"""What can keep a cluster from being brought to a point in time (docs/errors.md)."""

from datetime import UTC, datetime

from coordinator.model.errors import Conflict, CoordinatorError, InvalidArguments
from coordinator.orchestrate.errors import MissingNodes, PastThePointOfReturn
from coordinator.orchestrate.point_in_time.times import told_time


class NoSnapshot(InvalidArguments):
    """No backup there was whole before the point; `passed_over` says of each that came near why it isn't used.
    `first_backup`: the first one after the point that holds what is asked, `first_backup_time` unix seconds.
    `elsewhere`: other places that have one from before it; `nodes_without`: nodes that don't archive, and why."""

    code = "no_snapshot"
    todo = (
        "Choose a later point, not before `first_backup`, or name the `destination` that has an older backup "
        "(`elsewhere` tells which; without one only backups that stayed on the nodes are looked at). Where there is "
        "none, take one now: it leads to points after it, on nodes that archive their commit log (`nodes_without` "
        "don't)."
    )

    def __init__(
        self,
        pit_micros: int,
        passed_over: dict[str, str],
        first: tuple[str, float] | None = None,
        also: str = "",
        **more: object,
    ) -> None:
        """`also`: what else its message says; `more`: its further fields."""
        moment = datetime.fromtimestamp(pit_micros // 1_000_000, UTC)
        told = "".join(f"; {tag}: {why}" for tag, why in passed_over.items())
        fields: dict[str, object] = {"passed_over": passed_over, **more}
        if first is not None:
            tag, time = first
            told += f"; the first one after it is {tag}, begun at {told_time(time)}"
            fields |= {"first_backup": tag, "first_backup_time": time}
        super().__init__(
            f"No snapshots found before date and time: {moment:%m-%d-%Y %H:%M:%S} UTC{told}{also}",
            field="pit",
            **fields,
        )


class StateAway(CoordinatorError):
    """The Cassandra that holds the state doesn't answer: only a restore to a point that stopped half-way, and with it
    perhaps that Cassandra, can be gone on with."""

    code = "state_away"
    type = "StateAway"
    status = 503
    retry = "later"
    todo = (
        "Start the Cassandra that holds the coordinator's state, unless a restore to a point has stopped it: wait for "
        "that one (GET /request/{id}/status), and where it stopped half-way send it again, just as it was."
    )


class StoppedHalfWay(Conflict):
    """The restore stopped half-way while the state was away: `request` names the one to look at."""

    code = "stopped_half_way"
    todo = "Look at that request; where it has ended, send the same restore again: it goes on where it stopped."


class PointRefused(Conflict):
    """What the nodes know would make the restore fail or come out wrong; `refusals` holds every reason."""

    code = "point_refused"
    todo = (
        "Remove the named reasons (`lifted_by` says which of them force lifts); where the point lies outside of "
        "`windows`, choose one that is inside, or in `other_windows`."
    )


class LogIncomplete(Conflict):
    """With the nodes stopped and their own commit logs added, some node's log doesn't reach the point; `nodes`: each
    one's reason."""

    code = "log_incomplete"
    todo = 'Choose an earlier point; or send it with "force": true to lose what the named nodes lack.'


class ReplayFailed(Conflict):
    """Cassandra could not replay all of its commit log; `nodes`: each one's log lines. Clients are not let in yet."""

    code = "replay_failed"
    todo = (
        'Look at the named lines, then send the restore again with "force": true to go on without what they name; or '
        "send it again and cancel it with force, which brings the old data back."
    )


class ClientsLetIn(PastThePointOfReturn):
    """A restore to a point lets clients in: no cancel, forced or not, goes back over what they write."""

    todo = "Wait: it ends by itself. Where it ended in error, POST the very same again: it goes on letting clients in."


class JobTakenOver(Conflict):
    """Another coordinator carries the job on: this one leaves it alone."""

    code = "job_taken_over"
    retry = "never"
    todo = "Ask the coordinator that took it over how it stands; the same POST here takes it back."


class JobNotKept(CoordinatorError):
    """Fewer than half of the agents could be given the job's document, without which no node is stopped."""

    code = "job_not_kept"
    type = "JobNotKept"
    status = 503
    retry = "later"
    todo = "Start the agents that don't answer, then send the restore again."


class JobUnreadable(CoordinatorError):
    """A document among the jobs that stop nodes can't be read: it is passed over."""

    code = "job_unreadable"
    type = "JobUnreadable"
    status = 502
    retry = "never"
    todo = (
        "Ask the coordinator that wrote it, of another release perhaps, to go on with the job; if nobody did, remove "
        "the document from the agents' <state>/job-documents/ while no node is stopped."
    )


class JobLeft(Conflict):
    """Most nodes of a job that stops nodes are the cluster's no more, so that nobody can tell how it stands."""

    code = "job_left"
    retry = "never"
    todo = (
        "Look whether the named nodes run. Configure their agents for this cluster again, and the job is gone on with; "
        "else it stays as it is, and others can be ordered."
    )


class JobUnknown(Conflict):
    """A person cancelled a restore to a point of which too few agents told for long: it may be stopped half-way, have
    ended, or go on under another coordinator."""

    code = "job_unknown"
    todo = (
        "Look whether the cluster's nodes run and let clients in. Start the agents that don't answer, then send the "
        'same restore again: it goes on, and can be cancelled. Where they are gone, another point with "force": true '
        "goes past it."
    )


class JobUnfinished(Conflict):
    """A restore to another point stopped half-way: nodes may be stopped, or run with some of what it placed. `request`:
    the last one of it, `job`; `order`: the body that it is sent again by."""

    code = "job_unfinished"
    todo = (
        "Send the restore of the named request again, just as it was (`order` is its body): it goes on, and this one "
        "can be ordered after it. Or cancel that with force, which brings the old data back while no client was let "
        "in. Where nobody can end it, ask pit_check of the new point without force first, for force lifts all else "
        'that it can too; then send this one with "force": true.'
    )


class PointNeedsAll(MissingNodes):
    """Nodes that take no part: a point in time needs every one's part of the log."""

    todo = (
        "Start the agents of the named nodes, and their Cassandra for a check: a restore starts by itself a Cassandra "
        "whose agent answers. Force doesn't lift this."
    )


class StoppedByRestore(MissingNodes):
    """Missing nodes that a restore to a point has stopped: their files are being exchanged. `request`: its last one."""

    code = "stopped_by_restore"
    todo = (
        "Start no Cassandra by hand: its agent does that once its files are whole. While the named request runs wait "
        "for its end (GET /request/{id}/status), or cancel it (POST /request/{id}/cancel); where it stopped half-way "
        "send the same restore again, to finish it or to cancel that with force. Start agents that don't answer. Then "
        "send this again."
    )
