"""Whether plans and listing records can be read. In: an open repository, tags, and which slices are due. Out: those
that can't. Whether all nodes' parts are there is for who made the backup to judge."""

from collections.abc import Sequence, Set

from agent.crypto.digest import digest
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.errors import BackupNotFound, ManifestInvalid, RepositoryFormatNewer
from agent.repository.keys import catalogue_prefix, parse_catalogue, plan_key
from agent.repository.opened import OpenedRepository
from agent.wire.results import DamagedPlace


async def broken_records(opened: OpenedRepository, tags: Sequence[str], slices: Set[int]) -> list[DamagedPlace]:
    """The plans and newest records of those tags whose slice (the first byte of the tag's digest) is due. Raises a
    StorageError."""
    catalogue = Catalogue(opened, RecordCache())
    broken = []
    for tag in tags:
        if digest(tag.encode())[0] not in slices:
            continue
        try:
            view = await catalogue.view(tag)
        except BackupNotFound:
            continue  # swept since it was listed
        except (ManifestInvalid, RepositoryFormatNewer) as error:
            broken.append(_place(tag, plan_key(opened.cluster_id, tag), error.code))
            continue
        if view.record is None:
            prefix = catalogue_prefix(opened.cluster_id, tag)
            broken += [
                _place(tag, entry.key, "manifest_invalid")
                async for entry in opened.storage.list(prefix)
                if (name := parse_catalogue(opened.cluster_id, entry.key)) is not None and name.number is not None
            ][-1:]
    return broken


def _place(tag: str, key: str, reason: str) -> DamagedPlace:
    return DamagedPlace(tag, "", "", "", key, reason)
