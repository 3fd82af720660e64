"""What can be wrong with a command, as errors with stable codes."""

from kit.errors import HelenusError, InvalidInput


class UnknownCommand(HelenusError):
    """No command of that id: never accepted here, or ended more than 30 days ago."""

    code = "unknown_command"
    status = 404
    todo = "Check the id; a command that was never accepted may be posted."


class CommandDiffers(HelenusError):
    """An id that is taken by a command of another kind or with other arguments."""

    code = "command_differs"
    status = 409
    todo = "Post the new command under an id of its own."


class UnsupportedKind(HelenusError):
    """A kind of command that this agent has no job for."""

    code = "unsupported_kind"
    status = 501
    todo = "Ask the agent for its features (GET /v1/node) and post only what it can do."


class FenceTooLow(HelenusError):
    """A command of a coordinator that another one has replaced in this job."""

    code = "fence_too_low"
    status = 409
    todo = "Leave the job to the coordinator that holds the higher fence."


class TagInUse(HelenusError):
    """Another command works on the same tag."""

    code = "tag_in_use"
    status = 409
    retry = "later"
    todo = "Wait for the named command's end, or cancel it."


class PastThePointOfReturn(HelenusError):
    """A running command that can't be undone any more."""

    code = "past_the_point_of_return"
    status = 409
    todo = "Let it end; force stops it after the running batch and says how to finish."


class TooManyCommands(HelenusError):
    """The agent holds as many unfinished commands as it takes."""

    code = "too_many_commands"
    status = 503
    retry = "later"
    todo = "Wait until some have ended, or cancel those that nobody needs."


class AgentStopping(HelenusError):
    """The agent is being stopped."""

    code = "agent_stopping"
    status = 503
    retry = "now"
    todo = "Post the same command again when the agent is up."


class Interrupted(HelenusError):
    """A fenced command found unfinished when the agent started: whether its work was done is not known to it."""

    code = "interrupted"
    todo = "Look at the node's state and decide; the coordinator posts the phase again with a higher fence."


class ScriptInterrupted(Interrupted):
    """A script that had begun when the agent ended: whether it did its work is not known, and it is not run again."""

    todo = "See on the node what the script has done, and whether it still runs; then take the backup again."


class UnknownCoordinator(InvalidInput):
    """A `report_to` that the agent's configuration doesn't name."""

    code = "unknown_coordinator"
    todo = "Name a coordinator of the agent's configuration, or add it there."


class SequenceAhead(HelenusError):
    """A reader asks for events after one that this log never gave: the agent's state is new."""

    code = "sequence_ahead"
    status = 409
    todo = "The agent began a new event log (its agent_id tells): read from 0 and ask for the commands' states."


class JournalUnreadable(HelenusError):
    """The journal is not a SQLite database, is damaged, or can't be opened."""

    code = "journal_unreadable"
    todo = (
        "Repair what the message names. If the file is damaged: stop the agent, move it (with -wal and -shm) aside and "
        "start; backups are listed from the destinations, unfinished commands must be posted again."
    )


class JournalTooNew(HelenusError):
    """The journal was written by a later release."""

    code = "journal_too_new"
    todo = "Start the release that wrote it, or a later one."


class JournalFailed(HelenusError):
    """A write to the journal failed: disk full, disk gone."""

    code = "journal_failed"
    status = 503
    retry = "later"
    todo = "Make room on the volume of the agent's state directory, or repair it."
