"""What destinations hold of one backup. In: settings files and, when it is told, a tag. Out: its nodes and schema."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agent.cli.listing import undeleted
from agent.cli.place import opened_store, record_in, repository_of
from agent.model.snapshot import KeyspaceSchema, SchemaObject
from agent.repository.catalogue import UNREADABLE, Catalogue, RecordCache
from agent.repository.manifest import read_manifest
from agent.repository.opened import OpenedRepository
from agent.wire.backups import SUCCESS


class DrillFailed(Exception):
    """The backup isn't what a backup should be; the message says what."""


class DrillImpossible(Exception):
    """There is nothing to drill, or not here; the message says what is in the way."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A backup of which every part is there. `hosts`: settings file → host ids whose part it holds; `schema`: by
    keyspace, of all the nodes together."""

    tag: str
    version: str
    hosts: dict[Path, list[str]]
    schema: dict[str, KeyspaceSchema]


async def find(destinations: Sequence[Path], tag: str | None) -> Found:
    """Look into each destination. Without `tag` it is the newest successful backup. Raises DrillImpossible, DrillFailed
    (no plan, or parts that it names are nowhere), and what opening a destination and reading a plan or manifest of that
    backup raise."""
    chosen = tag or await _newest(destinations)
    hosts: dict[Path, list[str]] = {}
    planned: set[str] = set()
    versions: set[str] = set()
    schema: dict[str, KeyspaceSchema] = {}
    for path in destinations:
        record = record_in(path)
        async with opened_store(record) as storage:
            opened = await repository_of(storage, record, None)
            present = await undeleted(opened)
            if chosen not in present:
                continue  # of several directories one may have no part in it
            hosts[path] = sorted(present[chosen])
            view = await Catalogue(opened, RecordCache()).view(chosen)
            planned |= {node.host_id for node in view.plan.nodes} | set(view.plan.missing_nodes) if view.plan else set()
            for host in hosts[path]:
                head = (await read_manifest(opened, chosen, host)).head
                versions.add(head.node.version)
                for one in head.schema:
                    schema[one.name] = _together(schema[one.name], one) if one.name in schema else one
    there = {host for each in hosts.values() for host in each}
    if not there and not planned:
        raise DrillImpossible(f"there is no backup {chosen} in what was named")
    if not planned:
        raise DrillFailed(f"no plan tells which nodes {chosen} should have, so nobody knows whether it is complete")
    if missing := sorted(planned - there):
        raise DrillFailed(
            f"{chosen}: the parts of {len(missing)} nodes are in none of the destinations: {', '.join(missing)}"
            " (directories of the nodes must all be named; it may have been taken without some)"
        )
    return Found(
        tag=chosen,
        version=max(versions, key=lambda version: [int(part) for part in version.split(".") if part.isdigit()]),
        hosts={path: found for path, found in hosts.items() if found},
        schema=schema,
    )


async def _newest(destinations: Sequence[Path]) -> str:
    times: dict[str, float] = {}
    for path in destinations:
        record = record_in(path)
        async with opened_store(record) as storage:
            times |= await _successes(await repository_of(storage, record, None))
    if not times:
        raise DrillImpossible("no successful backup is in what was named; another one must be named by its tag")
    return max(times, key=lambda tag: times[tag])


async def _successes(opened: OpenedRepository) -> dict[str, float]:
    """Tag → time. A backup whose plan or record can't be read is none that a drill chooses by itself."""
    catalogue = Catalogue(opened, RecordCache())
    found = {}
    for tag in await undeleted(opened):
        with contextlib.suppress(*UNREADABLE):
            view = await catalogue.view(tag)
            if view.record is not None and view.record.state == SUCCESS:
                found[tag] = view.record.time
    return found


def _together(one: KeyspaceSchema, other: KeyspaceSchema) -> KeyspaceSchema:
    """What either has: nodes see a new table at different moments."""
    known = {(each.kind, each.name) for each in one.objects}
    more = tuple(each for each in other.objects if (each.kind, each.name) not in known)
    return msgspec.structs.replace(one, objects=(*one.objects, *more))


def objects_of(schema: dict[str, KeyspaceSchema], *kinds: str) -> list[SchemaObject]:
    """The objects of these kinds, kind by kind and in the order in which they can be made."""
    return [one for kind in kinds for name in sorted(schema) for one in schema[name].objects if one.kind == kind]
