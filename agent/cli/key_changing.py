"""`keys`: in, a destination and what is asked of its key slots; out, the slots, and what that protects, on the screen.

What opens the slots is the secret that the destination's settings hold. New secrets come from files or are asked for,
never from arguments, which every process of the machine can read.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from agent.cli.place import attached_in, opened_store, probed, unlocking_in
from agent.cli.screen import Screen
from agent.crypto.slots import DEFAULT, Cost
from agent.repository.attach import repository_in
from agent.repository.destination_files import StoredDestination
from agent.repository.errors import EncryptionKeyMissing, RepositoryNotEncrypted
from agent.repository.key_changes import change_slots, check_change, slots_in
from agent.repository.keyrings import creates_if_absent
from agent.repository.sole_creation import Claiming, at_once
from agent.wire.destinations import ChangeKeys, Encryption, KeySlots, LocalSettings, encryption_of
from kit.errors import InvalidInput

Ask = Callable[[str], str]
"""Shows a question to a person; the answer, which isn't shown."""

_ADDED = (
    "The new secret opens all that is stored, and what will be. Keep a copy of it outside of the cluster.",
    "Agents go on with the secret that their settings hold.",
)
_ROTATED = (
    "What is backed up from now on can be read only with the settings' own secret and those that were given here; "
    "agents whose settings hold another one are refused until they get one of these.",
    "What was stored before isn't sealed anew: whoever has opened the repository, or keeps a copy of an old key slot "
    "and learns its secret, can read it. Superseded slots still stand: remove-superseded removes them.",
)
_REMOVED = (
    "Whoever learns a retired secret from now on finds nothing here that it opens.",
    "Whoever kept a copy of a removed slot, or of the keys, can still read what was stored before the rotation: if "
    "that matters, make a new repository and let the old one's backups be deleted.",
)
_TOLD = {"add": _ADDED, "rotate": _ROTATED, "remove_superseded": _REMOVED}


class NewSecrets(msgspec.Struct, frozen=True):
    """Where secrets come from: files, and with `ask` a person. Paths are taken from the working directory."""

    key_files: Sequence[Path] = ()
    passphrase_files: Sequence[Path] = ()
    ask: bool = False

    def given(self, ask: Ask) -> list[Encryption]:
        """All of them. Raises InvalidInput: an empty passphrase, or two that differ."""
        found = [Encryption(key_file=str(path.absolute())) for path in self.key_files]
        found += [Encryption(passphrase_file=str(path.absolute())) for path in self.passphrase_files]
        if self.ask:
            passphrase = ask("New passphrase: ")
            if not passphrase or ask("Once more: ") != passphrase:
                raise InvalidInput("the passphrase is empty, or the two differ", field="passphrase")
            found.append(Encryption(passphrase=passphrase))
        return found


async def show_keys(record: StoredDestination, screen: Screen) -> None:
    """The key slots; no key is needed. Raises RepositoryNotEncrypted, KeySlotsGone, NotARepository, a StorageError."""
    async with opened_store(record) as storage:
        if (await repository_in(storage)).encrypted is not True:
            raise RepositoryNotEncrypted("the repository isn't encrypted: it has no keys", setting="encryption")
        _show(await slots_in(storage), screen)


async def change_keys(record: StoredDestination, request: ChangeKeys, screen: Screen, cost: Cost = DEFAULT) -> None:
    """Change the slots, and say what that protects. `cost`: of new slots. Raises InvalidInput, EncryptionKeyMissing
    (the settings hold none), EncryptionNotPossible, BadSettings, what opening and agent.repository.key_slots do."""
    check_change(request)
    encryption = encryption_of(record.settings)
    if encryption is None:
        raise EncryptionKeyMissing("the settings hold no key, and who can't open keys can't change them")
    known = await unlocking_in(encryption)
    secrets = [await unlocking_in(one) for one in request.secrets]
    async with opened_store(record) as storage:  # before anything is put where it doesn't belong
        repository_id = (await attached_in(storage, record, to_change=True)).repository_id
    record = await probed(record)
    create = at_once if creates_if_absent(record) else Claiming()
    async with opened_store(record) as storage:
        _show(await change_slots(storage, repository_id, request, known, secrets, cost, create), screen)
    for line in _TOLD[request.change]:
        screen.line(line)
    if isinstance(record.settings, LocalSettings) and not record.settings.shared:
        screen.line("If each node has a directory of its own here, each has keys of its own: do this in each.")


def _show(slots: KeySlots, screen: Screen) -> None:
    rows = [(str(one.number), str(one.epoch), one.kind, "yes" if one.counts else "superseded") for one in slots.slots]
    screen.table(("SLOT", "EPOCH", "OPENED BY", "COUNTS"), rows)
