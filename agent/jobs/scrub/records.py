"""Whether plans and listing records can be read, and whether this node's manifests are there. In: an open repository,
tags, and which slices are due. Out: what can't be read, and what is missing."""

from collections.abc import Sequence, Set

from agent.crypto.digest import digest
from agent.crypto.errors import SealingKeyUnknown
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.epochs import Epochs
from agent.repository.errors import BackupNotFound, ManifestInvalid, RepositoryFormatNewer
from agent.repository.keys import catalogue_prefix, manifest_key, parse_catalogue, plan_key
from agent.repository.opened import OpenedRepository
from agent.wire.backups import SUCCESS, Record
from agent.wire.results import DamagedPlace

MISSING = "missing"


async def broken_records(
    opened: OpenedRepository, tags: Sequence[str], slices: Set[int], known: Set[str]
) -> list[DamagedPlace]:
    """Of those tags whose slice (the first byte of the tag's digest) is due, or that are `known` to be broken, the
    plans and newest records that can't be read; those whose keys came since are the next scrub's. Raises a
    StorageError."""
    catalogue, epochs = Catalogue(opened, RecordCache()), Epochs(opened)
    broken = []
    for tag in tags:
        if tag not in known and digest(tag.encode())[0] not in slices:
            continue
        try:
            view = await catalogue.view(tag)
        except BackupNotFound:
            continue  # swept since it was listed
        except SealingKeyUnknown as error:
            if not await epochs.came_since(error):
                broken.append(_place(tag, str(error.fields["key"]), error.code))
            continue
        except (ManifestInvalid, RepositoryFormatNewer) as error:
            broken.append(_place(tag, plan_key(opened.cluster_id, tag), error.code))
            continue
        if view.record is None:
            broken += await _newest_record(opened, tag, ManifestInvalid.code)
    return broken


async def absent_manifests(opened: OpenedRepository, host_id: str, present: Set[str]) -> list[DamagedPlace]:
    """The manifests that the node put, by the newest records of undeleted backups, and that are not there; without a
    manifest of the node, also a record that can't be read, for nobody knows then what it had. `present`: tags that have
    one. Raises a StorageError.

    A record says `success` of a node only after the node's manifest was put. A backup that runs, or that the node
    failed or had no part in, has no such line.
    """
    catalogue, epochs = Catalogue(opened, RecordCache()), Epochs(opened)
    found = []
    for tag in await _recorded(opened) - present:
        key = manifest_key(opened.cluster_id, tag, host_id)
        try:
            # Twice: a deletion puts its mark before it takes the manifest, and takes the records before the mark, so
            # that of a backup that went since the first look the second one finds no record, or the mark.
            for _ in range(2):
                if not _has_part(await catalogue.newest(tag), host_id) or await opened.storage.head(key) is not None:
                    break
            else:
                found.append(_place(tag, key, MISSING))
        except SealingKeyUnknown as error:
            if not await epochs.came_since(error):
                found += await _newest_record(opened, tag, error.code)
        except (ManifestInvalid, RepositoryFormatNewer) as error:
            found += await _newest_record(opened, tag, error.code)
    return sorted(found, key=lambda place: place.tag)


def _has_part(record: Record | None, host_id: str) -> bool:
    return record is not None and any(node.host_id == host_id and node.state == SUCCESS for node in record.nodes)


async def _recorded(opened: OpenedRepository) -> set[str]:
    """The undeleted backups that have a record."""
    recorded: set[str] = set()
    deleted: set[str] = set()
    async for entry in opened.storage.list(catalogue_prefix(opened.cluster_id)):
        name = parse_catalogue(opened.cluster_id, entry.key)
        if name is not None:
            (deleted if name.number is None else recorded).add(name.tag)
    return recorded - deleted


async def _newest_record(opened: OpenedRepository, tag: str, reason: str) -> list[DamagedPlace]:
    """The place of a backup's newest record, if it has any."""
    keys = {
        name.number: entry.key
        async for entry in opened.storage.list(catalogue_prefix(opened.cluster_id, tag))
        if (name := parse_catalogue(opened.cluster_id, entry.key)) is not None and name.number is not None
    }
    return [_place(tag, keys[max(keys)], reason)] if keys else []


def _place(tag: str, key: str, reason: str) -> DamagedPlace:
    return DamagedPlace(tag, "", "", "", key, reason)
