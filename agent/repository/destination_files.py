"""Destination settings on disk. In: a record per destination. Out: the same records after any crash, in files of
mode 0600.

Secrets are at rest nowhere else: what leaves this agent goes through `masked`.
"""

from pathlib import Path

import msgspec

from agent.wire.destinations import MASK, SECRET_FIELDS, LocalSettings, Settings
from kit.atomic_files import make_directory, remove_durably, remove_unfinished, write_atomically
from kit.errors import HelenusError, InvalidInput


class DestinationFileDamaged(HelenusError):
    """A stored destination that can't be read."""

    code = "destination_file_damaged"
    todo = "Remove the named file and put the destination again."


class StoredDestination(msgspec.Struct, frozen=True):
    """A destination as this agent keeps it: what was put, and what checks found out about the place it means.
    `conditional_create`: the store was seen to keep «create only if absent» under concurrency."""

    id: str
    revision: int
    settings: Settings
    repository_id: str | None = None
    cluster_id: str | None = None
    conditional_create: bool = False


class DestinationFiles:
    """The directory of records, one file for each destination. Its methods block: call them in a thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read_all(self) -> dict[str, StoredDestination]:
        """Every record by destination id. Raises `DestinationFileDamaged`."""
        make_directory(self._directory)
        remove_unfinished(self._directory)
        found = {}
        for path in sorted(self._directory.glob("*.json")):
            try:
                record = msgspec.json.decode(path.read_bytes(), type=StoredDestination)
            except (OSError, msgspec.MsgspecError) as error:
                # msgspec's text names fields, never values.
                raise DestinationFileDamaged(f"{path} can't be read: {error}", file=str(path)) from None
            found[record.id] = record
        return found

    def write(self, record: StoredDestination) -> None:
        """Keep the record, replacing an earlier one."""
        make_directory(self._directory)
        write_atomically(self._path(record.id), msgspec.json.encode(record), mode=0o600)

    def remove(self, destination_id: str) -> None:
        """Forget the record."""
        remove_durably(self._path(destination_id))

    def _path(self, destination_id: str) -> Path:
        return self._directory / f"{destination_id}.json"


def masked(settings: Settings) -> Settings:
    """The settings with every secret replaced by the mask; empty ones stay empty."""
    return msgspec.structs.replace(settings, **{name: MASK for name, value in secrets_of(settings).items() if value})


def unmasked(settings: Settings, stored: Settings | None) -> Settings:
    """The settings with each mask replaced by the stored secret, which only goes to the store it was given for. Raises
    `InvalidInput` where there is none, or the provider, endpoint or bucket is another one."""
    known = secrets_of(stored) if stored is not None and _recipient(stored) == _recipient(settings) else {}
    kept = {}
    for name, value in secrets_of(settings).items():
        if value != MASK:
            continue
        if not known.get(name):
            raise InvalidInput(
                f"«{name}» is masked, and this agent holds no earlier value of it for this endpoint and bucket: "
                "send the secret itself",
                setting=name,
            )
        kept[name] = known[name]
    return msgspec.structs.replace(settings, **kept)


def _recipient(settings: Settings) -> tuple[str, ...]:
    """Who is shown the secrets."""
    if isinstance(settings, LocalSettings):
        return ("local",)
    return ("s3", settings.endpoint, settings.path.partition("/")[0])


def secrets_of(settings: Settings) -> dict[str, str]:
    """The secret fields of the settings."""
    names = {field.name for field in msgspec.structs.fields(settings)} & SECRET_FIELDS
    return {name: getattr(settings, name) for name in sorted(names)}


def place_of(settings: Settings) -> tuple[str, ...]:
    """What identifies the store itself: what was found out about it holds as long as this stays the same."""
    if isinstance(settings, LocalSettings):
        return ("local", settings.path)
    return ("s3", settings.endpoint, settings.path)
