"""A backup in another destination as a supply. In: its open repository and manifest. Out: passes over its objects."""

from collections.abc import Mapping, Sequence

import msgspec

from agent.jobs.copying.errors import CopyLacksTables, SourceDamaged, SourcePartial
from agent.jobs.copying.supply import Parted
from agent.model.job import Tally
from agent.model.manifest import Head
from agent.model.snapshot import SnapshotInfo
from agent.pipeline.targets import StoreTarget
from agent.pipeline.transfer import MOST_BYTES, Transfer
from agent.repository.manifest import Manifest
from agent.repository.opened import OpenedRepository
from agent.storage.threads import MakeWorkers
from kit.errors import HelenusError


class DestinationSupply:
    """One node's part of a backup in `source`. `adopting`: the node left the ring."""

    most_bytes = MOST_BYTES
    from_snapshot = False

    def __init__(self, source: OpenedRepository, manifest: Manifest, workers: MakeWorkers, *, adopting: bool) -> None:
        self._source = source
        self._manifest = manifest
        self._workers = workers
        self.adopting = adopting
        self.left_out = manifest.head.lacking

    async def listed(
        self, targets: Sequence[StoreTarget], tally: Tally, most_bytes: int, parted: Parted | None
    ) -> Transfer:
        """See `Supply.listed`."""
        return Transfer(
            self._source,
            self._manifest,
            targets,
            tally,
            most_bytes=most_bytes,
            parted=parted,
            workers=self._workers,
        )

    def damage(self, errors: Mapping[str, HelenusError]) -> SourceDamaged | SourcePartial | None:
        """See `Supply.damage`."""
        if not errors:
            return self._partial(self.left_out)
        first = next(iter(errors.values()))
        return SourceDamaged(
            f"{len(errors)} tables can't be copied whole from {self._source.destination_id} "
            f"({', '.join(sorted(errors))}): {first.message}",
            destination=self._source.destination_id,
            tables={
                name: {"code": error.code, "message": error.message, "files": error.fields.get("files", [])}
                for name, error in errors.items()
            },
        )

    def lacking(self, there: Manifest, info: SnapshotInfo) -> CopyLacksTables | SourcePartial | None:
        """See `Supply.lacking`."""
        copied = {(table.keyspace, table.table): table.files for table in there.head.tables}
        lacking = {
            f"{table.keyspace}.{table.table}": {"files_missing": table.files - found}
            for table in self._manifest.head.tables
            if (found := copied.get((table.keyspace, table.table), 0)) < table.files
        }
        if not lacking:
            return self._partial(there.head.lacking)
        return CopyLacksTables(
            f"the copy of {info.tag} that is there already lacks what {self._source.destination_id} has: "
            f"{', '.join(sorted(lacking))}",
            source=self._source.destination_id,
            tables=lacking,
        )

    def _partial(self, lacking: Mapping[str, str]) -> SourcePartial | None:
        """`lacking`: the tables that the copy has not: one that lacks nothing is whole, wherever it has them from."""
        left_out = {name: code for name, code in self.left_out.items() if name in lacking}
        if not left_out:
            return None
        return SourcePartial(
            f"{len(left_out)} tables are not in the backup in {self._source.destination_id}, or not whole "
            f"({', '.join(sorted(left_out))})",
            destination=self._source.destination_id,
            tables=left_out,
        )


def info_of(head: Head) -> SnapshotInfo:
    """What a manifest tells of the snapshot that it was made of."""
    tables: dict[str, list[str]] = {}
    for table in head.tables:
        tables.setdefault(table.keyspace, []).append(table.table)
    return SnapshotInfo(
        tag=head.tag,
        backup_id=head.backup_id,
        kept=False,
        taken_at=head.taken_at,
        node=head.node,
        schema=head.schema,
        tables=tables,
        data_directories=head.data_directories,
        commitlog_floor=head.commitlog_floor,
        commitlog_flushed=head.flushed,
        taken_until=None if isinstance(head.taken_until, msgspec.UnsetType) else head.taken_until,
    )
