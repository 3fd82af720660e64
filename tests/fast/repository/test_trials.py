"""What a check made in a directory that turned out not to be shared goes with the settings, and nothing else does."""

from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from agent.repository.attach import attach
from agent.repository.check import NONCES
from agent.repository.destination_files import StoredDestination
from agent.repository.keys import REPOSITORY, cluster_key, named_key
from agent.repository.trials import TRIAL_SECONDS, Trials
from agent.storage.protocol import Storage, Transient
from agent.wire.destinations import CheckDestination, LocalSettings
from tests.fast.storage.memory import MemoryStorage

NONCE = f"{NONCES}n1"


class Directory(MemoryStorage):
    """Notes how it is cleared."""

    def __init__(self) -> None:
        super().__init__(hook=self._refuse)
        self.away = False
        self.closed = 0
        self.deleted: list[list[str]] = []

    async def _refuse(self, verb: str, key: str) -> None:
        if self.away:
            raise Transient("no answer", key=key)

    async def delete(self, keys: Sequence[str]) -> None:
        self.deleted.append(list(keys))
        await super().delete(keys)

    async def close(self) -> None:
        self.closed += 1


class Site:
    """Checks of one directory. `now`: the clock of trials; `discarded`: of each clearing, whether the directory itself
    was made."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.store = Directory()
        self.discarded: list[bool] = []
        self.opened_with: list[bool] = []
        self.trials = Trials(self, lambda: self.now)
        self.record = StoredDestination("d1", 1, LocalSettings("shared", shared=True), conditional_create=True)

    async def open(self, record: StoredDestination, conditional_create: bool) -> Storage:
        self.opened_with.append(conditional_create)
        return self.store

    async def discard(self, record: StoredDestination, *, made: bool) -> None:
        self.discarded.append(made)

    async def check(self, name: str | None = "test", *, made: bool = True) -> list[str]:
        """What a check that goes first does; the keys that it made."""
        request = CheckDestination(initialise=True, cluster_name=name, nonce_put="n1")
        before = set(self.store._objects)
        attached = await attach(
            self.store, keys=None, initialise=True, repository_id=None, cluster_id=None, cluster_name=name
        )
        keys = sorted(set(self.store._objects) - before)
        await self.store.put(NONCE, [b"nonce"])
        self.trials.note(self.record, request, NONCE, attached, made)
        return keys


@pytest.mark.parametrize("made", [True, False])
async def test_all_that_a_check_made_goes_the_repository_s_own_file_last(made: bool) -> None:
    """Promise: killed half-way, what is left is an empty repository and no cluster without one; what other checks left
    goes too, and the directory if the check made it."""
    site = Site()
    keys = await site.check(made=made)
    assert len(keys) == 3
    await site.store.put(f"{NONCES}older", [b"nonce"])
    await site.trials.take_back(site.record)
    assert site.store._objects == {}
    assert site.store.deleted == [[NONCE], sorted({*keys, f"{NONCES}older"} - {REPOSITORY}), [REPOSITORY]]
    assert (site.discarded, site.store.closed, site.opened_with) == ([made], 1, [True])
    await site.trials.take_back(site.record)
    assert len(site.opened_with) == 1


async def test_a_repository_without_a_cluster_goes_too() -> None:
    """Promise: a check that was told of no cluster made the repository's own file alone."""
    site = Site()
    assert await site.check(None) == [REPOSITORY]
    await site.trials.take_back(site.record)
    assert site.store._objects == {}


async def test_a_repository_that_was_there_stays() -> None:
    """Promise: a check that found the repository, or none and made none, takes only its nonce back; a directory that is
    empty then is left as well."""
    site = Site()
    first = await site.check()
    assert await site.check() == []
    await site.trials.take_back(site.record)
    assert sorted(site.store._objects) == first
    site.store._objects.clear()
    request = CheckDestination(nonce_put="n1")
    await site.store.put(NONCE, [b"nonce"])
    site.trials.note(site.record, request, NONCE, None, False)
    await site.trials.take_back(site.record)
    assert (site.store._objects, site.discarded) == ({}, [])


@pytest.mark.parametrize("later", [False, True])
async def test_what_a_check_made_may_be_taken_back_for_a_quarter_of_an_hour(later: bool) -> None:
    """Promise: after that others may have attached to it, and nothing is touched."""
    site = Site()
    await site.check()
    before = dict(site.store._objects)
    site.now += TRIAL_SECONDS + (0.5 if later else 0.0)
    await site.trials.take_back(site.record)
    assert site.store._objects == (before if later else {})


async def test_settings_of_another_place_take_nothing_back() -> None:
    """Promise: what was made in one directory isn't looked for in another."""
    site = Site()
    await site.check()
    before = dict(site.store._objects)
    await site.trials.take_back(StoredDestination("d1", 2, LocalSettings("other")))
    assert (site.store._objects, site.opened_with) == (before, [])


async def test_a_directory_that_can_t_be_cleared_is_told_in_the_log() -> None:
    """Promise: settings are taken back whether or not the store answers; it is closed all the same, and what is left
    has its destination and the reason in the log."""
    site = Site()
    await site.check()
    site.store.away = True
    with capture_logs() as logged:
        await site.trials.take_back(site.record)
    [line] = logged
    assert line == {
        "event": "a refused destination was not cleared",
        "log_level": "warning",
        "destination": "d1",
        "reason": "no answer",
    }
    assert (site.store.closed, site.discarded) == (1, [])


async def test_a_trial_is_made_of_what_the_check_made() -> None:
    """Promise: an object of the same cluster that the check didn't make keeps all of it."""
    site = Site()
    keys = await site.check()
    cluster = next(key for key in keys if key.endswith("cluster.json"))
    cluster_id = cluster.split("/")[-2]
    assert keys == sorted([REPOSITORY, cluster_key(cluster_id), named_key("test", cluster_id)])
    await site.store.put(named_key("other", cluster_id), [b"{}"])
    await site.trials.take_back(site.record)
    assert sorted(site.store._objects) == sorted([*keys, named_key("other", cluster_id)])
