"""What a tag has of its own in a catalogue, and what errors say of it."""

from collections.abc import Awaitable

import msgspec
import pytest

from agent.repository import checked_text, marks
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.errors import BackupDeleted, BackupExists, BackupNotFound, ManifestInvalid
from agent.repository.keys import deleted_key, manifest_key, plan_key, record_key
from agent.wire.backups import BackupView
from kit.errors import HelenusError
from tests.fast.repository.manifests import CLUSTER, HOST, head, manifest, opened
from tests.fast.repository.test_catalogue import plan, record
from tests.fast.storage.memory import MemoryStorage


@pytest.fixture
def store() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def catalogue(store: MemoryStorage) -> Catalogue:
    return Catalogue(opened(store), RecordCache())


async def _refused(what: Awaitable[object], error: type[HelenusError]) -> dict[str, object]:
    with pytest.raises(error) as told:
        await what
    return told.value.fields


async def test_the_record_of_the_highest_number_counts_not_the_last_in_the_listing(
    store: MemoryStorage, catalogue: Catalogue
) -> None:
    """Promise: the tenth stands before the second in every listing of keys, and is the newer one all the same."""
    for number in range(11):
        said = msgspec.structs.replace(record(), finished=float(number))
        assert await catalogue.put_record(said) == number
    assert [key for key in store._objects if key.endswith("/10.json")]
    assert [one.record for one in await catalogue.listing()] == [said]
    assert await catalogue.newest("t1") == (await catalogue.view("t1")).record == said


async def test_a_backup_of_which_one_thing_is_left_is_shown(store: MemoryStorage) -> None:
    """Promise: whatever a crash or a sweep that was cut short left of a tag, somebody who asks for it is told."""
    left = {
        plan_key(CLUSTER, "t1"): (checked_text.encode(plan()), BackupView("t1", False, None, plan(), [], False)),
        record_key(CLUSTER, "t1", 0): (checked_text.encode(record()), BackupView("t1", False, record(), stored=1.0)),
        deleted_key(CLUSTER, "t1"): (marks.encoded("t1"), BackupView("t1", True, None)),
        manifest_key(CLUSTER, "t1", HOST): (b"x", BackupView("t1", False, None, manifests=[HOST])),
    }
    for key, (content, shown) in left.items():
        alone = MemoryStorage(clock=lambda: 1.0)
        await alone.put(key, [content])
        catalogue = Catalogue(opened(alone), RecordCache())
        assert await catalogue.view("t1") == shown
        await catalogue.mark_deleted("t1")
        assert (await catalogue.view("t1")).deleted
    assert await _refused(Catalogue(opened(store), RecordCache()).view("t1"), BackupNotFound) == {"tag": "t1"}


async def test_nothing_of_one_tag_is_told_of_another(store: MemoryStorage, catalogue: Catalogue) -> None:
    """Promise: also where one tag begins with the other; deleting the one leaves the other as it was."""
    await catalogue.put_plan(plan("t1"))
    await store.put(manifest_key(CLUSTER, "t1", HOST), [b"x"])
    for number, state in enumerate(("running", "success")):
        assert await catalogue.put_record(record("t1", state)) == number
    assert await _refused(catalogue.view("t10"), BackupNotFound) == {"tag": "t10"}
    assert await _refused(catalogue.mark_deleted("t10"), BackupNotFound) == {"tag": "t10"}
    assert await catalogue.put_record(record("t10", "running")) == 0
    view = await catalogue.view("t10")
    assert (view.record, view.plan, view.manifests) == (record("t10", "running"), None, [])
    await catalogue.mark_deleted("t1")
    assert not (await catalogue.view("t10")).deleted
    (listed,) = await catalogue.listing()
    assert msgspec.structs.replace(listed, stored=None) == BackupView("t10", False, record("t10", "running"))
    assert await catalogue.put_record(record("t10")) == 1


async def test_a_deleted_backup_is_nowhere_taken_for_one(store: MemoryStorage, catalogue: Catalogue) -> None:
    """Promise: it has no newest record, no manifest of it is read, and what is refused names it."""
    await catalogue.put_plan(plan())
    await catalogue.put_record(record(state="running"))
    await store.put(manifest_key(CLUSTER, "t1", HOST), [manifest(b"", head())])
    assert await catalogue.newest("t1") == record(state="running")
    assert (await catalogue.judged("t1")).whole == [HOST]
    await catalogue.mark_deleted("t1")
    assert await catalogue.newest("t1") is None
    assert (await catalogue.judged("t1")).whole is None
    for refused in (catalogue.put_plan(plan()), catalogue.put_record(record())):
        assert await _refused(refused, BackupDeleted) == {"tag": "t1"}


async def test_another_plan_of_a_tag_is_refused_by_its_name(catalogue: Catalogue) -> None:
    """Promise: the error says which tag has one already."""
    await catalogue.put_plan(plan())
    assert await _refused(catalogue.put_plan(plan(time=2.0)), BackupExists) == {"tag": "t1"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{not json",
        checked_text.encode(plan("t2")),
        checked_text.encode(msgspec.structs.replace(plan(), cluster_id="c2")),
    ],
    ids=["empty", "not JSON", "of another tag", "of another cluster"],
)
async def test_a_plan_that_is_none_of_this_backup_is_named(
    store: MemoryStorage, catalogue: Catalogue, content: bytes
) -> None:
    """Promise: no backup is judged by a damaged plan, or by one that was carried here from elsewhere; nor is it taken
    for the same plan again."""
    key = plan_key(CLUSTER, "t1")
    await store.put(key, [content])
    for asked in (catalogue.view("t1"), catalogue.put_plan(plan())):
        assert await _refused(asked, ManifestInvalid) == {"tag": "t1", "key": key}


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "truncated"), (b"{not json", "malformed"), (checked_text.encode(record("t2")), "it is the backup t2's")],
    ids=["empty", "not JSON", "of another tag"],
)
async def test_a_record_that_is_none_of_this_backup_is_named(
    store: MemoryStorage, catalogue: Catalogue, content: bytes, says: str
) -> None:
    """Promise: it tells nothing of the backup, in a listing or a view, and whoever needs its words is told which it
    is and what is wrong with it; the next record comes after it."""
    key = record_key(CLUSTER, "t1", 0)
    await store.put(key, [content])
    assert [(one.tag, one.record) for one in await catalogue.listing()] == [("t1", None)]
    assert (await catalogue.view("t1")).record is None
    with pytest.raises(ManifestInvalid, match=says) as told:
        await catalogue.newest("t1")
    assert told.value.fields == {"tag": "t1", "key": key}
    assert await catalogue.put_record(record()) == 1


async def test_what_is_swept_while_it_is_looked_at_is_no_error() -> None:
    """Promise: a plan or a record that goes between the listing and the reading of it is told as not there."""
    store = MemoryStorage()
    catalogue = Catalogue(opened(store), RecordCache())
    for asked in ("listing", "newest", "view"):
        store._hook = _nothing
        for tag in ("t1", "t2"):
            await catalogue.put_plan(plan(tag))
            await catalogue.put_record(record(tag))
        store._hook = _Sweep(store, "t1")
        unread = Catalogue(opened(store), RecordCache())
        if asked == "listing":
            assert [one.tag for one in await unread.listing()] == ["t2"]
        elif asked == "newest":
            assert await unread.newest("t1") is None
        else:
            view = await unread.view("t1")
            assert (view.plan, view.record, view.complete) == (None, None, None)


async def test_two_that_put_a_record_at_a_time_both_have_theirs(store: MemoryStorage, catalogue: Catalogue) -> None:
    """Promise: the one that comes second to a number takes the next: no record is lost, and none replaced."""
    other = record_key(CLUSTER, "t1", 0)

    async def first(verb: str, key: str) -> None:
        if verb == "put" and other not in store._objects:
            store._objects[other] = checked_text.encode(record(state="failed")), 1.0

    store._hook = first
    assert await catalogue.put_record(record()) == 1
    assert store._objects[other][0] == checked_text.encode(record(state="failed"))
    assert await catalogue.newest("t1") == record()


async def test_a_manifest_under_a_tag_that_is_used_again_is_judged_anew(
    store: MemoryStorage, catalogue: Catalogue
) -> None:
    """Promise: what was read of a manifest that was swept is not told of the one that has its key since."""
    for left_out, whole in (({}, [HOST]), ({"ks.t": "sstable_corrupt"}, [])):
        store._objects.clear()
        about = head(left_out=left_out or msgspec.UNSET)
        await store.put(manifest_key(CLUSTER, "t1", HOST), [manifest(b"", about)])
        assert (await catalogue.judged("t1")).whole == whole


async def _nothing(verb: str, key: str) -> None:
    return None


class _Sweep:
    """Removes all of a tag before anything of it is read."""

    def __init__(self, store: MemoryStorage, tag: str) -> None:
        self._store = store
        self._tag = tag

    async def __call__(self, verb: str, key: str) -> None:
        if verb == "get" and f"/{self._tag}/" in key:
            for one in [one for one in self._store._objects if f"/{self._tag}/" in one]:
                del self._store._objects[one]
