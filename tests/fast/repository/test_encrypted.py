"""Encrypted repositories are made, opened and refused."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from msgspec import UNSET

from agent.crypto.errors import EncryptionKeyWrong, EncryptionNotPossible
from agent.crypto.keyring import Keyring
from agent.crypto.slots import Cost, Unlocking
from agent.repository import checked_text
from agent.repository.attach import Attached, RepositoryFile, attach
from agent.repository.destination_files import DestinationFiles, StoredDestination
from agent.repository.destinations import Destinations
from agent.repository.errors import (
    EncryptionKeyMissing,
    KeySlotsGone,
    KeysRolledBack,
    RepositoryFormatNewer,
    RepositoryNotEncrypted,
    RepositoryUnfinished,
)
from agent.repository.hold_notes import HoldNotes
from agent.repository.key_slots import make_first, rotate
from agent.repository.keyrings import Keyrings
from agent.repository.keys import KEY_SLOTS, REPOSITORY, cluster_key, slot_key
from agent.repository.limits import Limits
from agent.repository.live_storage import Patience
from agent.repository.opening import OpenDestinations
from agent.storage.protocol import BadSettings, Storage
from agent.wire.commands import Target
from agent.wire.destinations import Encryption, LocalSettings, PutDestination, encryption_of
from tests.fast.storage.memory import MemoryStorage

CHEAP = Cost(8, 1, 1)


def secret(name: str) -> Unlocking:
    """What a destination whose passphrase has this name is opened with."""
    return Unlocking("passphrase", f"the secret of {name}".encode())


class Agent:
    """One agent's registry with a destination «store», and how often it derived keys."""

    def __init__(self, state: Path, store: MemoryStorage) -> None:
        self.store = store
        self.read = 0

        async def opener(record: StoredDestination) -> Storage:
            return store

        self.destinations = Destinations(DestinationFiles(state), opener, Limits())
        self.keyrings = Keyrings(self.destinations, self._read, CHEAP)

    async def _read(self, record: StoredDestination) -> Unlocking:
        self.read += 1
        encryption = encryption_of(record.settings)
        assert encryption is not None
        return secret(encryption.passphrase)

    async def put(self, passphrase: str | None, revision: int = 1) -> None:
        encryption = UNSET if passphrase is None else Encryption(passphrase)
        await self.destinations.put("store", PutDestination(revision, LocalSettings("here", encryption=encryption)))

    async def attach(self, *, initialise: bool = True) -> Attached:
        return await attach(
            self.store,
            keys=self.keyrings.of(self.destinations.record("store")),
            initialise=initialise,
            repository_id=None,
            cluster_id=None,
            cluster_name="test" if initialise else None,
        )


@pytest.fixture
def store() -> MemoryStorage:
    return MemoryStorage()


async def _agent(path: Path, store: MemoryStorage, passphrase: str | None) -> Agent:
    agent = Agent(path, store)
    await agent.put(passphrase)
    return agent


async def test_an_encrypted_repository_says_so_and_a_plain_one_is_as_ever(tmp_path: Path, store: MemoryStorage) -> None:
    """Promise: versions that know nothing of encryption refuse an encrypted repository by its format, and go on with
    plain ones; whoever comes second with the passphrase gets the first one's keys."""
    first = await (await _agent(tmp_path / "1", store, "one")).attach()
    second = await (await _agent(tmp_path / "2", store, "one")).attach()
    assert (first.made, second.made) == (True, False)
    assert first.keyring is not None
    assert second.keyring is not None
    assert first.keyring.name_key == second.keyring.name_key
    said = msgspec.json.decode(store._objects[REPOSITORY][0])
    del said["blake3"]
    assert said == {"repository_id": first.repository_id, "format": 2, "encrypted": True}
    plain = MemoryStorage()
    made = await (await _agent(tmp_path / "3", plain, None)).attach()
    assert made.keyring is None
    said = msgspec.json.decode(plain._objects[REPOSITORY][0])
    del said["blake3"]
    assert said == {"repository_id": made.repository_id, "format": 1}
    assert not any("/keys/" in key for key in plain._objects)


async def test_a_secret_that_can_t_be_read_leaves_nothing_behind(tmp_path: Path, store: MemoryStorage) -> None:
    """Promise: a repository isn't begun before its key was read, so that a first attempt with a wrong file is no
    obstacle to the second."""
    agent = await _agent(tmp_path / "1", store, "one")
    read = agent.keyrings.read

    async def unreadable(record: StoredDestination) -> Unlocking:
        raise BadSettings("no such file", setting="passphrase_file")

    agent.keyrings.read = unreadable
    with pytest.raises(BadSettings):
        await agent.attach()
    assert store._objects == {}
    agent.keyrings.read = read
    assert (await agent.attach()).made


async def test_a_weak_passphrase_makes_no_repository_and_opens_an_old_one(tmp_path: Path, store: MemoryStorage) -> None:
    """Promise: what is soon guessed is refused for a new repository, before anything is put, and for one that whoever
    began it left without its first slot."""
    agent = await _agent(tmp_path / "1", store, "one")

    async def weak(record: StoredDestination) -> Unlocking:
        return Unlocking("passphrase", b"elf Zeichen")

    agent.keyrings.read = weak
    with pytest.raises(EncryptionNotPossible, match="12 characters"):
        await agent.attach()
    assert store._objects == {}
    await store.put(REPOSITORY, [checked_text.encode(RepositoryFile("r1", 2, True))])
    with pytest.raises(EncryptionNotPossible, match="12 characters"):
        await agent.attach()
    assert list(store._objects) == [REPOSITORY]
    await make_first(store, "r1", await weak(agent.destinations.record("store")), CHEAP)
    assert (await agent.attach()).repository_id == "r1"


async def test_a_repository_that_was_only_begun_is_made(tmp_path: Path, store: MemoryStorage) -> None:
    """Promise: whoever dies between `repository.json` and the first key slot leaves what a look calls by its name, and
    what the next one who adds the destination goes on with, under the same id; where data is, no slot is made."""
    agent = await _agent(tmp_path / "1", store, "one")
    made = await agent.attach()
    cluster = {key: content for key, content in store._objects.items() if key != REPOSITORY}
    for key in cluster:
        del store._objects[key]
    begun = await _agent(tmp_path / "2", store, "another")
    with pytest.raises(RepositoryUnfinished) as error:
        await begun.attach(initialise=False)
    assert error.value.fields["repository_id"] == made.repository_id
    finished = await begun.attach()
    assert (finished.repository_id, finished.made) == (made.repository_id, False)
    for key in [key for key in store._objects if key.startswith(KEY_SLOTS)]:
        del store._objects[key]
    for initialise in (False, True):
        with pytest.raises(KeySlotsGone):
            await (await _agent(tmp_path / f"3 {initialise}", store, "another")).attach(initialise=initialise)


async def test_what_is_not_as_it_was_asked_for_is_refused(tmp_path: Path, store: MemoryStorage) -> None:
    """Promise: encrypted and no key, encryption and a plain repository, a wrong passphrase, a later format: refused by
    name, whether a command opens it or it is to be initialised, and nothing is written."""
    await (await _agent(tmp_path / "1", store, "one")).attach()
    plain = MemoryStorage()
    await (await _agent(tmp_path / "2", plain, None)).attach()
    newer = MemoryStorage()
    await newer.put(REPOSITORY, [b'{"repository_id": "r", "format": 3, "encrypted": true}'])
    setting = {"setting": "encryption"}
    for number, (place, passphrase, error, fields) in enumerate(
        [
            (store, None, EncryptionKeyMissing, setting),
            (store, "two", EncryptionKeyWrong, setting),
            (plain, "one", RepositoryNotEncrypted, setting),
            (newer, "one", RepositoryFormatNewer, {"format": 3}),
        ]
    ):
        agent = await _agent(tmp_path / f"refused{number}", place, passphrase)
        before = dict(place._objects)
        for initialise in (False, True):
            with pytest.raises(error) as refused:
                await agent.attach(initialise=initialise)
            assert refused.value.fields == fields
        assert place._objects == before


async def test_a_plain_repository_json_that_was_put_back_is_refused(tmp_path: Path, store: MemoryStorage) -> None:
    """Promise: whoever replaces repository.json by an old or foreign plain one gets no plain data from an agent that
    was told to encrypt, nor from one that adds the destination anew without a key."""
    agent = await _agent(tmp_path / "1", store, "one")
    made = await agent.attach()
    stale = msgspec.json.encode({"repository_id": made.repository_id, "format": 1})
    await store.put(REPOSITORY, [stale], replace=True)
    with pytest.raises(RepositoryNotEncrypted):
        await agent.attach(initialise=False)
    with pytest.raises(RepositoryNotEncrypted) as plain:
        await (await _agent(tmp_path / "2", store, None)).attach()
    assert plain.value.fields == {"key": KEY_SLOTS}


@pytest.mark.parametrize("others", ["one", "two", None])
async def test_two_initialisers_make_one_repository(tmp_path: Path, others: str | None) -> None:
    """Promise: of two agents that initialise a store at a time both have the same keys, or the one that was told
    another passphrase, or none, is refused; never do two write with two sorts of keys."""
    for pause in range(1, 14):
        store = MemoryStorage(hook=_Pause(pause))
        first = await _agent(tmp_path / f"{pause}a", store, "one")
        second = await _agent(tmp_path / f"{pause}b", store, others)
        outcomes = await asyncio.gather(first.attach(), second.attach(), return_exceptions=True)
        done = [one for one in outcomes if isinstance(one, Attached)]
        assert len({(one.repository_id, one.keyring and one.keyring.name_key) for one in done}) == 1
        if others == "one":
            assert len(done) == 2
        else:
            [refused] = [one for one in outcomes if not isinstance(one, Attached)]
            assert isinstance(refused, EncryptionKeyWrong | EncryptionKeyMissing | RepositoryNotEncrypted)


async def test_an_initialisation_that_is_cut_short_is_finished_by_the_next(tmp_path: Path) -> None:
    """Promise: killed before any operation, the repository is made when it is tried again, with one key set."""
    for at in range(1, 40):
        kill = _Kill(at)
        store = MemoryStorage(hook=kill)
        agent = await _agent(tmp_path / str(at), store, "one")
        try:
            await agent.attach()
        except _Killed:
            kill.at = None
        else:
            break
        made = await agent.attach()
        again = await (await _agent(tmp_path / f"{at}b", store, "one")).attach(initialise=False)
        assert made.keyring is not None
        assert again.keyring is not None
        assert again.keyring.name_key == made.keyring.name_key
        assert slot_key(1) not in store._objects
    else:
        pytest.fail("the initialisation never ended")


async def test_lost_slots_are_not_made_anew_where_data_is(tmp_path: Path, store: MemoryStorage) -> None:
    """Promise: when somebody removed the slots the operator is told; no agent goes on with other keys."""
    agent = await _agent(tmp_path, store, "one")
    made = await agent.attach()
    assert made.cluster_id is not None
    assert cluster_key(made.cluster_id) in store._objects
    await store.delete([slot_key(0)])
    for initialise in (True, False):
        with pytest.raises(KeySlotsGone):
            await agent.attach(initialise=initialise)


async def test_keys_are_derived_once_for_each_revision_and_set_of_slots(tmp_path: Path, store: MemoryStorage) -> None:
    """Promise: an opening costs no Argon2id while settings and slots are the same; ten at a time derive once; a
    rotation and new settings are noticed at the next opening."""
    agent = await _agent(tmp_path, store, "one")
    made = await agent.attach()
    other = Agent(tmp_path, store)
    await other.destinations.load()
    await asyncio.gather(*(other.attach(initialise=False) for _ in range(10)))
    assert (agent.read, other.read) == (2, 1)  # once before anything was made
    await rotate(store, made.repository_id, secret("one"), (), CHEAP)
    found = [await other.attach(initialise=False) for _ in range(3)]
    assert [one.keyring and one.keyring.epoch for one in found] == [2, 2, 2]
    assert other.read == 2
    await other.put("two", revision=2)
    with pytest.raises(EncryptionKeyWrong):
        await other.attach(initialise=False)
    await other.put("one", revision=3)
    await other.attach(initialise=False)
    assert other.read == 4


async def test_keys_that_were_rolled_back_are_refused(tmp_path: Path, store: MemoryStorage) -> None:
    """Promise: whoever removes the newest slots doesn't make an agent seal with a retired key again, which others may
    know; not after a restart either."""
    agent = await _agent(tmp_path, store, "one")
    made = await agent.attach()
    await rotate(store, made.repository_id, secret("one"), (), CHEAP)
    await agent.attach(initialise=False)
    await store.delete([slot_key(1)])
    with pytest.raises(KeysRolledBack) as caught:
        await agent.attach(initialise=False)
    assert (caught.value.fields["epoch"], caught.value.fields["seen"]) == (1, 2)
    restarted = Agent(tmp_path, store)
    await restarted.destinations.load()
    with pytest.raises(KeysRolledBack):
        await restarted.attach(initialise=False)


async def test_a_command_gets_the_keys_of_its_repository(tmp_path: Path, store: MemoryStorage) -> None:
    """Promise: what a command opens carries the keyring, and a listing, which verifies an opening once, those of
    after a rotation all the same."""
    agent = await _agent(tmp_path, store, "one")
    made = await agent.attach()
    assert made.cluster_id is not None

    async def verify(storage: Storage, target: Target, record: StoredDestination) -> Keyring | None:
        return (await agent.attach(initialise=False)).keyring

    target = Target("store", made.repository_id, made.cluster_id)
    repositories = OpenDestinations(agent.destinations, verify, Patience(0.0), HoldNotes(tmp_path / "holds"), once=True)
    epochs = []
    for _ in range(2):
        async with repositories.opened(target) as opened:
            assert opened.keyring is not None
            epochs.append(opened.keyring.epoch)
        await rotate(store, made.repository_id, secret("one"), (), CHEAP)
    assert epochs == [1, 2]


class _Killed(BaseException):
    pass


class _Kill:
    """Kills before the operation number `at`, and whatever follows; None: nothing."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self._count = 0

    async def __call__(self, verb: str, key: str) -> None:
        self._count += 1
        if self.at is not None and self._count >= self.at:
            raise _Killed


class _Pause:
    """Holds the operation of that number back while everything else goes on."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._count = 0

    async def __call__(self, verb: str, key: str) -> None:
        self._count += 1
        await asyncio.sleep(0.02 if self._count == self._at else 0)
