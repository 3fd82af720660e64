"""What can go wrong with segments and with the archiving of them."""

from agent.cassandra.errors import CassandraError


class SegmentUnreadable(CassandraError):
    """A file that should be a segment of a commit log is none that Cassandra could replay; `fields`: path, reason."""

    code = "segment_unreadable"
    status = 409
    todo = "Look at the named file: cut, overwritten or no commit-log segment at all; take it from another copy."


class SegmentGone(SegmentUnreadable):
    """A segment that was listed a moment ago is not on the node any more; `fields`: path, reason."""

    retry = "now"
    todo = "Send the command again: the segment was shipped and removed meanwhile, and comes from its destination then."


class ArchivingRefused(CassandraError):
    """Cassandra can't be told to archive its commit log, or no longer to; `fields`: path, reason."""

    code = "archiving_refused"
    status = 409
    retry = "later"
    todo = (
        "Correct what the message names: `[cassandra.archiving]` in agent.toml, the rights of the named path for the "
        "agent's user and for Cassandra's, or the directory: POST pit with another backup_directory."
    )


class NotTaken(ArchivingRefused):
    """The archive directory takes no segment: it is full, or the archive command fails; `fields`: path, reason."""

    todo = (
        "Make room in the named directory, or put right what else the message says of it: the agent then archives what "
        "waits within seconds. For good, give it a larger volume, or POST pit with another backup_directory."
    )
