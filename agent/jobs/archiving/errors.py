"""What can keep a node's commit log from being archived as asked."""

from collections.abc import Sequence
from pathlib import Path

from kit.errors import HelenusError


class ArchivingNotConfigured(HelenusError):
    """The agent's settings don't say where Cassandra reads what it is to archive; `fields`: setting."""

    code = "archiving_not_configured"
    status = 409
    retry = "later"
    todo = (
        "Set `[cassandra.archiving] properties_file` (and `directory`, unless the request names a backup_directory) in "
        "that node's agent.toml, restart the agent, and ask again."
    )


class ArchiveCopyDiffers(HelenusError):
    """An archive directory has other bytes under a segment's name; `fields`: segments."""

    code = "archive_copy_differs"
    status = 409
    retry = "later"
    todo = (
        "Look where the named files come from, and move them away: the agent then archives Cassandra's own. Nothing "
        "ships, replaces or deletes either of them until then."
    )

    def __init__(self, copies: Sequence[Path]) -> None:
        told = ", ".join(map(str, copies[:3]))
        super().__init__(
            f"other bytes than those of Cassandra's own segment are in {told}", segments=[path.name for path in copies]
        )


class ArchiveUnread(HelenusError):
    """The directory of archived segments is not there or can't be read."""

    code = "archive_unread"
    status = 503
    retry = "later"
    todo = (
        "Bring the named directory back, readable for the agent's user and writable for Cassandra's. Until then closed "
        "segments stay in Cassandra's own directory, and are archived by the agent afterwards. If it was emptied on "
        "purpose, switch archiving off and then on, or name another directory. A former one that is gone for good "
        "refuses every restore to a point until it is unmounted or removed: then it counts as empty."
    )

    def __init__(self, reason: str) -> None:
        super().__init__(f"the archive directory can't be read: {reason}", reason=reason)
