"""What can keep a node's commit log from being archived as asked."""

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
