"""What can go wrong with a copy as a whole, each error with a stable code."""

from kit.errors import HelenusError


class CopyFailed(HelenusError):
    """No destination got the backup; `fields`: targets (destination → error), given_up (tags of snapshots that
    were cleared meanwhile for want of free space)."""

    code = "copy_failed"
    status = 502
    retry = "later"
    todo = "Look at each destination's own error in the fields."


class CopyPartial(HelenusError):
    """Some destinations, or some tables, are missing; `fields`: targets (destination → error)."""

    code = "copy_partial"
    status = 502
    retry = "later"
    todo = "Look at each destination's own error in the fields, mend it and run a new backup."


class SourceDamaged(HelenusError):
    """Objects that a sync was to copy from another destination are missing or damaged there; `fields`: tables (name →
    code and message, with its files)."""

    code = "source_damaged"
    status = 502
    todo = (
        "Scrub the destination that was copied from: the next backup to it heals what it still can. Then delete the "
        "backup where it was copied to, let it be swept, and sync again."
    )


class CopyLacksTables(HelenusError):
    """The destination has a copy of the backup from before, which lacks what the source has; `fields`: source, tables
    (name → files that are missing)."""

    code = "copy_lacks_tables"
    status = 409
    todo = (
        "A copy is never changed. Delete the backup in the destination that it was copied to, let it be swept, and "
        "sync again."
    )


class SourcePartial(HelenusError):
    """All of a backup was copied that is in the destination it came from, where it lacks tables already; `fields`:
    destination, tables (name → code that they were left out with)."""

    code = "source_partial"
    status = 502
    todo = (
        "Nothing is left to be copied: the tables were damaged when the backup, or this copy of it, was made. Copy it "
        "from a destination where it is whole to one that has nothing of it, or take a new backup."
    )


class SnapshotGivenUp(HelenusError):
    """The snapshot that was being copied was cleared, because a data volume was nearly full."""

    code = "snapshot_given_up"
    status = 507
    retry = "later"
    todo = "Free space on the named volumes, then take a new backup."


class SnapshotNotKept(HelenusError):
    """A sync was asked of a snapshot that is no on-server backup."""

    code = "snapshot_not_kept"
    status = 409
    todo = "Sync an on-server backup: GET /v1/backups without a destination lists them."
