"""Which arguments each kind of command takes."""

import msgspec

from agent.wire.archiving import ArchiveArguments, RestartArguments, TrimLogsArguments
from agent.wire.commands import (
    BackupArguments,
    DeleteArguments,
    Kind,
    RestoreArguments,
    ScriptArguments,
    ScrubArguments,
    SnapshotArguments,
    SweepArguments,
    SyncArguments,
    UploadArguments,
)
from agent.wire.point_in_time import PitArguments

ARGUMENTS: dict[Kind, type[msgspec.Struct]] = {
    Kind.SNAPSHOT: SnapshotArguments,
    Kind.SCRIPT: ScriptArguments,
    Kind.UPLOAD: UploadArguments,
    Kind.BACKUP: BackupArguments,
    Kind.SYNC: SyncArguments,
    Kind.DELETE: DeleteArguments,
    Kind.SWEEP: SweepArguments,
    Kind.SCRUB: ScrubArguments,
    Kind.PREFLIGHT: RestoreArguments,
    Kind.FETCH: RestoreArguments,
    Kind.DROP_VIEWS: RestoreArguments,
    Kind.TRUNCATE: RestoreArguments,
    Kind.SCHEMA: RestoreArguments,
    Kind.IMPORT: RestoreArguments,
    Kind.CREATE_VIEWS: RestoreArguments,
    Kind.CHECK: RestoreArguments,
    Kind.CLEAN: RestoreArguments,
    Kind.ARCHIVE: ArchiveArguments,
    Kind.TRIM_LOGS: TrimLogsArguments,
    Kind.RESTART: RestartArguments,
    **{kind: PitArguments for kind in Kind if kind.value.startswith("pit_")},
}
