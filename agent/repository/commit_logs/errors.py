"""What can be wrong with the segments of a destination."""

from agent.repository.errors import RepositoryError


class LogSegmentDiffers(RepositoryError):
    """The destination holds a segment of that name with other content; `fields`: segment, key."""

    code = "log_segment_differs"
    status = 409
    todo = (
        "Two logs were written under one host id (a node that was wiped, a copy of a machine): look which one is the "
        "node's, and archive to a new destination. Neither copy is touched, and the one on the node stays there."
    )


class LogRecordInvalid(RepositoryError):
    """A record of the archived commit log can't be read, or is another's; `fields`: key."""

    code = "log_record_invalid"
    todo = (
        "The named file of the destination was damaged or put by somebody else. Bring it back from a copy; without it "
        "the archive has a gap there."
    )
