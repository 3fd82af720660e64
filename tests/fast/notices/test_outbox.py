"""The outbox: what was put is handed out in order, once it is done never again, and all of it outlives a crash."""

from pathlib import Path

from coordinator.model.notices import Waiting
from coordinator.model.requests import RequestState
from coordinator.store.protocol import Outbox
from coordinator.store.sqlite import SqliteStore
from tests.fast.notices.given import NOW, ended, notice, request


def waiting(name: str, hook: str = "ops", put: float = NOW) -> Waiting:
    return Waiting(hook, notice(name), put)


async def handed_out(outbox: Outbox, hook: str = "ops") -> list[str]:
    """All that waits for the hook, each done at once."""
    found = []
    while (first := await outbox.first(hook)) is not None:
        found.append(first.notice.id)
        await outbox.done(hook, first.notice.id)
    return found


async def test_each_hook_is_handed_its_own_in_the_order_in_which_it_was_put(store: SqliteStore) -> None:
    """Promise: whatever the ids and times are; what is done for one hook isn't for another."""
    kept: Outbox = store.outbox
    assert await kept.first("ops") is None
    await kept.put([waiting("b"), waiting("a"), waiting("b", "other")])
    await kept.put([waiting("c", put=NOW - 500)])
    assert await kept.first("ops") == waiting("b")
    assert await handed_out(kept) == ["b", "a", "c"]
    assert await handed_out(kept, "other") == ["b"]


async def test_what_is_known_is_not_put_again(store: SqliteStore) -> None:
    """Promise: the same id changes nothing, waiting, postponed or done."""
    kept = store.outbox
    await kept.put([waiting("a"), waiting("b")])
    await kept.postpone("ops", "a", 3, NOW + 40)
    await kept.done("ops", "b")
    await kept.put([waiting("a"), waiting("b"), waiting("b", "other")])
    assert await kept.first("ops") == Waiting("ops", notice("a"), NOW, 3, NOW + 40)
    assert await kept.waiting() == {"ops": 1, "other": 1}


async def test_it_outlives_a_crash(store: SqliteStore, tmp_path: Path) -> None:
    """Promise: a process that is killed leaves all as it was, the next try too."""
    await store.outbox.put([waiting("a"), waiting("b"), waiting("c")])
    await store.outbox.done("ops", "a")
    await store.outbox.postpone("ops", "b", 2, NOW + 9)
    again = await SqliteStore.open(tmp_path / "state", now=NOW)
    try:
        assert await again.outbox.first("ops") == Waiting("ops", notice("b"), NOW, 2, NOW + 9)
        await again.outbox.put([waiting("a")])
        assert await handed_out(again.outbox) == ["b", "c"]
    finally:
        await again.close()


async def test_of_too_many_the_newest_stay(store: SqliteStore) -> None:
    """Promise: the oldest of the hook go, how many is told, and they don't come back."""
    kept = store.outbox
    await kept.put([waiting(name) for name in "abcde"] + [waiting("a", "other")])
    await kept.done("ops", "c")
    assert await kept.keep_newest("ops", 2) == 2
    assert await kept.keep_newest("ops", 2) == 0
    await kept.put([waiting(name) for name in "abcde"])
    assert await handed_out(kept) == ["d", "e"]
    assert await handed_out(kept, "other") == ["a"]


async def test_what_is_old_is_forgotten_but_not_what_a_hook_waits_for(store: SqliteStore) -> None:
    """Promise: done ones, and those of hooks that are configured no more; an age never takes a notice from a hook."""
    kept = store.outbox
    old, new = NOW - 100, NOW
    await kept.put([waiting("done", put=old), waiting("young", put=new), waiting("waits", put=old)])
    await kept.put([waiting("waits", "removed", old), waiting("young", "removed", new)])
    for name in ("done", "young"):
        await kept.done("ops", name)
    await kept.prune(NOW - 50, ["ops", "never-told"])
    await kept.put([waiting("done", put=new), waiting("young", put=new)])
    assert await handed_out(kept) == ["waits", "done"]
    assert await handed_out(kept, "removed") == ["young"]
    await kept.prune(NOW + 1, [])
    assert await kept.waiting() == {}


async def test_ends_are_found_by_their_time(store: SqliteStore) -> None:
    """Promise: what ended then or later, oldest first; nothing that runs."""
    requests = store.requests
    await requests.create(request("runs"))
    for name, at in (("late", NOW + 9), ("early", NOW + 1), ("before", NOW - 1)):
        await requests.create(request(name))
        await requests.finish(ended(name, at))
    assert [found.id for found in await requests.ended_since(NOW + 1)] == ["early", "late"]
    assert {found.state for found in await requests.ended_since(0)} == {RequestState.SUCCESS}
