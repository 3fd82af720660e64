"""What can go wrong with the bytes on their way: errors of single tables and files, each with a stable code."""

from kit.errors import HelenusError


class PipelineError(HelenusError):
    """The root of this package's errors."""

    code = "pipeline_failed"


class SstableCorrupt(PipelineError):
    """A Data.db does not have the CRC-32 that Cassandra wrote beside it. The table is left out of the backup."""

    code = "sstable_corrupt"
    todo = "Run `nodetool verify` and `nodetool scrub` (or a repair) on the named table, then back up again."


class FileUnreadable(PipelineError):
    """The disk or file system refused to give a file's bytes."""

    code = "file_unreadable"
    todo = "Look at the kernel's log for disk errors and at the file's rights, then back up again."


class SnapshotVanished(PipelineError):
    """A file of the snapshot is no longer there, or is not the file that the inventory saw."""

    code = "snapshot_vanished"
    status = 409
    todo = "Somebody cleared or changed the snapshot while it was copied: take a new backup."


class FileDiffers(PipelineError):
    """Fetched bytes are not those that the manifest names; nothing of the file is visible."""

    code = "file_differs"
    todo = "Restore from another backup or destination; this one's object is damaged or was changed."


class TargetFull(PipelineError):
    """No room for fetched files, or for a restore's notes in the agent's state."""

    code = "disk_full"
    status = 507
    retry = "later"
    todo = "Free space on the named volume, then send the command again: it goes on where it stopped."


class TargetUnwritable(PipelineError):
    """A fetched file can't be written where it is to go (rights, a link in its place, a disk error)."""

    code = "target_unwritable"
    todo = "Look at the named path: it must be a directory that the agent may write to, with nothing foreign in it."
