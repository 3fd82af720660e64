"""Destination settings on disk. In: a record per destination. Out: the same records after any crash, in files of
mode 0600.

Secrets are at rest nowhere else: what leaves this agent goes through `masked`.
"""

from pathlib import Path

import msgspec

from agent.wire.destinations import MASK, Settings, recipient_of, secrets_of, with_secrets
from kit.atomic_files import make_directory, remove_durably, remove_unfinished, write_atomically
from kit.errors import HelenusError, InvalidInput


class DestinationFileDamaged(HelenusError):
    """A stored destination that can't be read."""

    code = "destination_file_damaged"
    todo = "Remove the named file and put the destination again."


class StoredDestination(msgspec.Struct, frozen=True):
    """A destination as this agent keeps it: what was put, and what checks found out about the place it means.
    `conditional_create`: the store was seen to keep «create only if absent» under concurrency. `probed`: that was
    tried. `key_epoch`: the newest epoch of the repository's keys that was seen there; 0 of a plain one."""

    id: str
    revision: int
    settings: Settings
    repository_id: str | None = None
    cluster_id: str | None = None
    conditional_create: bool = False
    probed: bool = False
    key_epoch: int = 0


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


def unmasked(settings: Settings, stored: Settings | None) -> Settings:
    """The settings with each mask replaced by the stored secret, which only goes to the store it was given for. Raises
    `InvalidInput` where there is none, or the provider, endpoint or bucket is another one."""
    known = secrets_of(stored) if stored is not None and recipient_of(stored) == recipient_of(settings) else {}
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
    return with_secrets(settings, kept)
