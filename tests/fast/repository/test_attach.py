"""Which repository a store holds."""

import pytest

from agent.repository import checked_text
from agent.repository.attach import Attached, ClusterFile, RepositoryFile, attach, read_cluster, repository_in
from agent.repository.errors import (
    ClusterAmbiguous,
    ClusterFileDamaged,
    NotARepository,
    RepositoryFileLost,
    RepositoryFormatNewer,
    RepositoryLockDiffers,
    RepositoryMismatch,
)
from agent.repository.keys import CHECKS, NAMES, REPOSITORY, cluster_key, named_key, named_prefix
from agent.storage.protocol import OPEN, Gate, Storage
from tests.fast.storage.memory import MemoryStorage


async def _attach(
    store: Storage,
    *,
    initialise: bool = True,
    repository_id: str | None = None,
    cluster_id: str | None = None,
    cluster_name: str | None = None,
    locked: bool | None = None,
) -> Attached:
    return await attach(
        store,
        keys=None,
        initialise=initialise,
        repository_id=repository_id,
        cluster_id=cluster_id,
        cluster_name=cluster_name,
        locked=locked,
    )


async def _attached(store: Storage) -> tuple[str, str | None]:
    found = await _attach(store, cluster_name="test")
    return found.repository_id, found.cluster_id


class Reads(MemoryStorage):
    """Notes what is read, and how much of it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[tuple[str, int, int | None]] = []

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        self.read.append((key, start, length))
        return await super().get(key, start, length, gate=gate)


async def test_whoever_comes_second_attaches_to_what_the_first_one_made() -> None:
    """Promise: one store, one repository, one cluster of a name; without a cluster it is the repository alone."""
    store = MemoryStorage()
    first = await _attached(store)
    assert await _attached(store) == first
    assert await _attach(store, initialise=False) == Attached(first[0], None, False, None)
    assert await _attach(store, initialise=False, cluster_id=first[1]) == Attached(first[0], first[1], False, None)


async def test_a_repository_that_another_agent_makes_meanwhile_is_attached_to() -> None:
    """Promise: what comes to stand between the look for a repository and the look for what else is there is no foreign
    content; and where one stands already, nobody looks for anything else."""
    other, listed = MemoryStorage(), list[str]()
    made = await _attached(other)

    async def ask(verb: str, key: str) -> None:
        if verb == "list":
            listed.append(key)
            store._objects.update(other._objects)

    store = MemoryStorage(hook=ask)
    assert await _attached(store) == made
    assert listed[0] == ""
    listed.clear()
    assert await _attached(store) == made
    assert "" not in listed


async def test_a_huge_file_in_the_place_of_a_small_one_is_never_read() -> None:
    """Promise: who may write to a destination can't fill an agent's memory by its first files: a larger one than any
    of ours is refused by its size, and of the others no more is asked for than they were seen to have."""
    store = Reads()
    repository, cluster = await _attached(store)
    assert cluster is not None
    store.read.clear()
    await _attached(store)
    assert [(key, start) for key, start, _ in store.read] == [(REPOSITORY, 0), (cluster_key(cluster), 0)]
    assert [length for _, _, length in store.read] == [len(store._objects[key][0]) for key, _, _ in store.read]
    for key, content in (
        (cluster_key(cluster), b'{"cluster_id":"%b","name":"test"}' % cluster.encode()),
        (REPOSITORY, b'{"repository_id":"%b"}' % repository.encode()),
    ):
        await store.put(key, [content.ljust(64 * 1024)], replace=True)
        assert await _attached(store) == (repository, cluster)
        await store.put(key, [content.ljust(64 * 1024 + 1)], replace=True)
        store.read.clear()
        with pytest.raises(NotARepository, match="not one of ours") as refused:
            await _attached(store)
        assert refused.value.fields == {"key": key, "size": 64 * 1024 + 1}
        assert key not in [read for read, _, _ in store.read]
        await store.put(key, [content], replace=True)


async def test_an_empty_file_is_none_and_costs_no_read() -> None:
    """Promise: a range of no bytes, which some stores refuse, is never asked for; the file is told to be unreadable."""
    store = Reads()
    await store.put(REPOSITORY, [b""])
    with pytest.raises(RepositoryFileLost) as lost:
        await _attached(store)
    assert lost.value.fields == {"key": REPOSITORY}
    assert store.read == []


async def test_another_repository_than_was_asked_for_is_refused() -> None:
    """Promise: by both ids, and so is a later format, by its number."""
    store = MemoryStorage()
    repository, _ = await _attached(store)
    for initialise in (False, True):
        with pytest.raises(RepositoryMismatch) as other:
            await _attach(store, initialise=initialise, repository_id="r2")
        assert other.value.fields == {"found": repository, "wanted": "r2"}
    newer = MemoryStorage()
    await newer.put(REPOSITORY, [checked_text.encode(RepositoryFile("r1", 3))])
    with pytest.raises(RepositoryFormatNewer) as later:
        await _attached(newer)
    assert later.value.fields == {"format": 3}


@pytest.mark.parametrize(
    ("made", "asked", "says"),
    [
        (True, False, "has not object lock in its settings, and the repository there was made with it"),
        (False, True, "has object lock in its settings, and the repository there was made without it"),
        (None, True, "has object lock in its settings, and the repository there was made without it"),
    ],
)
async def test_a_repository_keeps_the_lock_it_was_made_with(made: bool | None, asked: bool, says: str) -> None:
    """Promise: settings that ask for a lock where it was made without one, or for none where it has one, are refused
    by the name of the setting; who only looks needn't know."""
    store = MemoryStorage()
    repository = (await _attach(store, locked=made)).repository_id
    for locked in (made, None):
        assert (await _attach(store, initialise=False, locked=locked)).repository_id == repository
    with pytest.raises(RepositoryLockDiffers, match=says) as differs:
        await _attach(store, initialise=False, locked=asked)
    assert differs.value.fields == {"setting": "object_lock"}


async def test_of_two_clusters_of_one_name_none_is_taken() -> None:
    """Promise: whose backups are meant is for a person to say, who is told the ids; an id serves, and a name that isn't
    there, or an id that isn't, is refused by those who may make nothing."""
    store = MemoryStorage()
    for cluster_id in ("c1", "c2"):
        assert (await _attach(store, cluster_id=cluster_id, cluster_name="a b")).cluster_id == cluster_id
    for initialise in (False, True):
        with pytest.raises(ClusterAmbiguous) as ambiguous:
            await _attach(store, initialise=initialise, cluster_name="a b")
        assert ambiguous.value.fields == {"clusters": ["c1", "c2"], "name": "a b"}
    assert (await _attach(store, initialise=False, cluster_id="c2", cluster_name="a b")).cluster_id == "c2"
    before = dict(store._objects)
    with pytest.raises(RepositoryMismatch) as unnamed:
        await _attach(store, initialise=False, cluster_name="other")
    assert unnamed.value.fields == {"name": "other"}
    for initialise, name in ((False, None), (False, "other"), (True, None)):
        with pytest.raises(RepositoryMismatch) as unknown:
            await _attach(store, initialise=initialise, cluster_id="c3", cluster_name=name)
        assert unknown.value.fields == {"cluster_id": "c3"}
    assert store._objects == before


async def test_a_cluster_that_was_only_begun_is_made_under_its_id() -> None:
    """Promise: whoever dies between the index by name and cluster.json leaves an id that the next one uses; what isn't
    ours below the name is passed over."""
    store = MemoryStorage()
    _, cluster = await _attached(store)
    assert cluster is not None
    for key in (cluster_key(cluster), named_key("test", cluster)):
        assert (await read_cluster(store, key, len(store._objects[key][0]), cluster)) == ClusterFile(cluster, "test")
    await store.delete([cluster_key(cluster)])
    await store.put(f"{named_prefix('test')}%7e", [b""])
    assert (await _attached(store))[1] == cluster
    assert cluster_key(cluster) in store._objects


async def test_a_cluster_file_of_another_cluster_is_refused() -> None:
    """Promise: a file that was copied to another cluster's place is no proof that this is the cluster,
    nor is one that was cut short."""
    store = MemoryStorage()
    _, cluster = await _attached(store)
    assert cluster is not None
    content = checked_text.encode(ClusterFile("c9", "test"))
    await store.put(cluster_key(cluster), [content], replace=True)
    with pytest.raises(ClusterFileDamaged, match="names another cluster") as other:
        await _attached(store)
    assert other.value.fields == {"key": cluster_key(cluster), "cluster_id": "c9"}
    await store.put(cluster_key(cluster), [content[:-1]], replace=True)
    with pytest.raises(ClusterFileDamaged, match="can't be read") as cut:
        await _attached(store)
    assert cut.value.fields == {"key": cluster_key(cluster)}


async def test_a_look_tells_what_a_store_holds() -> None:
    """Promise: a repository is told without its keys; what lost its repository.json, what is somebody else's and what
    is empty, but for what a check left, are told apart."""
    store = MemoryStorage()
    with pytest.raises(NotARepository, match="holds no repository"):
        await repository_in(store)
    await store.put(f"{CHECKS}nonces/n", [b"nonce"])
    with pytest.raises(NotARepository, match="holds no repository"):
        await repository_in(store)
    await store.put("photo.jpg", [b""])
    for look in (repository_in(store), _attached(store)):
        with pytest.raises(NotARepository, match="something else") as foreign:
            await look
        assert (foreign.type, foreign.value.fields) == (NotARepository, {"key": "photo.jpg"})
    await store.put(f"{NAMES}x", [b""])
    for look in (repository_in(store), _attached(store)):
        with pytest.raises(RepositoryFileLost, match=f"{NAMES}x is there") as lost:
            await look
        assert lost.value.fields == {"key": REPOSITORY}
    await store.put(REPOSITORY, [checked_text.encode(RepositoryFile("r1", 2, True))])
    assert await repository_in(store) == RepositoryFile("r1", 2, True)


async def test_a_cluster_file_that_is_gone_is_told_from_another_repository() -> None:
    """Promise: where the cluster's other files are, nobody is sent to look for another place; its settings, put again,
    make the file anew."""
    store = MemoryStorage()
    repository, cluster = await _attached(store)
    assert cluster is not None
    del store._objects[cluster_key(cluster)]

    async def attached(*, initialise: bool = False, name: str | None = None) -> str | None:
        found = await attach(
            store,
            keys=None,
            initialise=initialise,
            repository_id=repository,
            cluster_id=cluster,
            cluster_name=name,
        )
        return found.cluster_id

    with pytest.raises(RepositoryMismatch):
        await attached()
    await store.put(f"helenus/v1/clusters/{cluster}/backups/t1/plan.json", [b"{}"])
    with pytest.raises(ClusterFileDamaged, match="is gone") as gone:
        await attached()
    assert gone.value.fields == {"key": cluster_key(cluster), "cluster_id": cluster}
    assert await attached(initialise=True, name="test") == await attached() == cluster
