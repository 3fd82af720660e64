"""A destination that has the backup already. In: its manifest, and what is noted there as damaged. Out: the result of
the copy to it."""

from collections.abc import AsyncIterator

from agent.repository.damage_notes import DamageNotes
from agent.repository.errors import ObjectDamaged
from agent.repository.frame import Codec
from agent.repository.manifest import Manifest, Named
from agent.wire.results import TargetResult
from kit.errors import HelenusError

_SHOWN = 10


def there_already(manifest: Manifest, lacking: HelenusError | None) -> TargetResult:
    """The result of an earlier run that did not come to note it. `lacking`: what it has less than there was."""
    sizes: dict[str, int] = {}
    for table in manifest.head.tables:
        sizes[table.keyspace] = sizes.get(table.keyspace, 0) + table.bytes
    return TargetResult(
        "success" if lacking is None else "partial",
        files=sum(table.files for table in manifest.head.tables),
        bytes=sum(sizes.values()),
        sizes=sizes,
        error=None if lacking is None else lacking.as_dict(),
    )


async def still_damaged(manifest: Manifest, notes: DamageNotes, destination: str) -> ObjectDamaged | None:
    """What of the manifest's objects is noted as damaged after all that could be put anew was; None: nothing. Raises
    what reading the manifest does, a StorageError."""
    # A coded object of another size is another object, under a key of its own.
    noted = {(one.name, one.codec, one.promised): one.key for one in await notes.standing()}
    left = sorted({noted[object_] async for object_ in _objects_of(manifest) if object_ in noted})
    if not left:
        return None
    return ObjectDamaged(
        f"{len(left)} objects of the backup are damaged in {destination}, and what is copied has none to put in their "
        f"place: {left[0]}",
        keys=left[:_SHOWN],
        count=len(left),
    )


async def _objects_of(manifest: Manifest) -> AsyncIterator[tuple[bytes, Codec, int | None]]:
    """Names and codecs of all that it names, and of coded ones the stored bytes."""
    for one in manifest.head_objects():
        yield _noted_as(one)
    seen: set[bytes] = set()
    for reference in manifest.head.tables:
        async for one in manifest.objects(reference, seen):
            yield _noted_as(one)


def _noted_as(one: Named) -> tuple[bytes, Codec, int | None]:
    return one.name, one.codec, None if one.codec is Codec.RAW else one.size
