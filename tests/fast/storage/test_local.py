"""Promise: a local object is whole or not there, durable, inside its root; a full or missing disk is named."""

import asyncio
import errno
import os
import pwd
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.storage.local import storage as local
from agent.storage.local.files import DirectorySyncs
from agent.storage.local.storage import LocalStorage
from agent.storage.local.temporary import own_place, started
from agent.storage.protocol import (
    BucketMissing,
    DestinationFull,
    DirectoryDenied,
    DirectoryReadOnly,
    Put,
    StorageError,
)


def unfinished(root: Path) -> list[str]:
    return [path.name for path in (root / ".helenus-tmp").iterdir()]


class Tripwire:
    """A gate that does something after so many bytes."""

    def __init__(self, after: int, act: BaseException | threading.Event, go: threading.Event | None = None) -> None:
        self.left = after
        self.act = act
        self.go = go

    def pass_bytes(self, count: int) -> None:
        self.left -= count
        if self.left <= 0:
            if isinstance(self.act, BaseException):
                raise self.act
            self.act.set()
            assert self.go is not None
            assert self.go.wait(60)


async def test_a_put_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    """Promise: a full disk leaves no half object and is named."""
    store = LocalStorage(tmp_path)
    with pytest.raises(DestinationFull):
        await store.put("a/b", [bytes(1_000_000)], gate=Tripwire(300_000, OSError(28, "No space left on device")))
    assert await store.head("a/b") is None
    assert unfinished(tmp_path) == []
    await store.close()


async def test_an_unfinished_put_is_not_visible(tmp_path: Path) -> None:
    """Neither get, head nor list know of a key before its last byte is durable."""
    store = LocalStorage(tmp_path)
    reached, go = threading.Event(), threading.Event()
    task = asyncio.ensure_future(store.put("a/b", [bytes(1_000_000)], gate=Tripwire(300_000, reached, go)))
    await asyncio.to_thread(reached.wait, 60)
    assert await store.head("a/b") is None
    assert [entry async for entry in store.list("")] == []
    assert len(unfinished(tmp_path)) == 1
    go.set()
    assert await task == Put(created=True, size=1_000_000)
    assert unfinished(tmp_path) == []
    await store.close()


async def test_a_cancelled_put_has_stopped_when_the_caller_hears_of_it(tmp_path: Path) -> None:
    """The buffers are free again then, and the key does not appear later."""
    store = LocalStorage(tmp_path)
    reached, go = threading.Event(), threading.Event()
    task = asyncio.ensure_future(store.put("a/b", [bytes(1_000_000)], gate=Tripwire(300_000, reached, go)))
    await asyncio.to_thread(reached.wait, 60)
    task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert unfinished(tmp_path) == []
    assert await store.head("a/b") is None
    await store.close()


async def test_everything_is_synced_before_a_put_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes before the name appears, then the name; new directories in their parents."""
    store = LocalStorage(tmp_path)
    synced: list[str] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        present = (tmp_path / "a" / "b" / "c").exists()
        synced.append(f"{os.path.relpath(path, tmp_path).split('/')[0]}:{present}" if ".helenus" in path else path)
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    store._syncs._fsync = fsync
    await store.put("a/b/c", [b"x"])
    assert synced == [".helenus-tmp:False", str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")]
    synced.clear()
    await store.put("a/b/c", [b"x"])
    assert synced == [str(tmp_path / "a" / "b")]  # «it was there» is as durable as «I made it»
    synced.clear()
    await store.put("a/b/d", [b"x"])
    assert synced == [".helenus-tmp:True", str(tmp_path / "a" / "b")]
    await store.close()


def test_waiting_callers_share_one_directory_sync() -> None:
    """While one fsync runs, all who come wait for one more: it began after their names were made."""
    running, go = threading.Event(), threading.Event()
    calls: list[int] = []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        running.set()
        assert go.wait(60)

    syncs = DirectorySyncs(fsync)
    threads = [threading.Thread(target=syncs.sync, args=("d", number), daemon=True) for number in range(10)]
    threads[0].start()
    assert running.wait(60)
    for thread in threads[1:]:
        thread.start()
    deadline = time.monotonic() + 60
    while syncs._turns["d"].wanted < 10 and time.monotonic() < deadline:
        time.sleep(0.001)
    go.set()
    for thread in threads:
        thread.join(60)
    assert len(calls) == 2
    assert syncs._turns == {}


async def test_a_failed_directory_sync_is_no_success(tmp_path: Path) -> None:
    """Promise: what isn't durable isn't stored."""
    store = LocalStorage(tmp_path)

    def fsync(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    store._syncs._fsync = fsync
    with pytest.raises(DestinationFull):
        await store.put("a", [b"x"])
    await store.close()


async def test_links_inside_the_root_lead_nowhere(tmp_path: Path) -> None:
    """A planted symbolic link is neither followed for reading nor for writing nor listed."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (outside / "below").mkdir()
    (root / "dir").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    store = LocalStorage(root)
    with pytest.raises(StorageError):
        await store.put("dir/below/new", [b"x"])
    assert [path.name for path in (outside / "below").iterdir()] == []
    (outside / "below").rmdir()
    for key in ("dir/secret", "file"):
        with pytest.raises(StorageError):
            await store.get(key)
        assert await store.head(key) is None
    with pytest.raises(StorageError):
        await store.put("dir/new", [b"x"])
    with pytest.raises(StorageError):
        await store.put("file", [b"x"])
    await store.put("file", [b"x"], replace=True)
    assert (outside / "secret").read_text() == "secret"
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert [entry.key async for entry in store.list("")] == ["file"]
    await store.close()


async def test_a_missing_root_is_named(tmp_path: Path) -> None:
    """Promise: each verb tells a disk that isn't mounted from a missing object."""
    store = LocalStorage(tmp_path / "gone")
    for call in (store.put("a", [b"x"]), store.get("a"), store.head("a"), store.delete(["a"]), _listed(store)):
        with pytest.raises(BucketMissing):
            await call
    await store.close()


async def _listed(store: LocalStorage) -> Sequence[str]:
    return [entry.key async for entry in store.list("a/b")]


async def test_what_the_kernel_refuses_has_the_protocols_names(tmp_path: Path) -> None:
    """Promise: full, over quota, read-only and forbidden are told as every provider tells them."""
    kinds = {
        errno.ENOSPC: DestinationFull,
        errno.EDQUOT: DestinationFull,
        errno.EACCES: DirectoryDenied,
        errno.EPERM: DirectoryDenied,
        errno.EROFS: DirectoryReadOnly,
    }
    for number, kind in kinds.items():
        store = LocalStorage(tmp_path)
        with pytest.raises(kind):
            await store.put("x", [b"x"], gate=Tripwire(0, OSError(number, os.strerror(number))))
        await store.close()


async def test_a_directory_that_lets_nobody_in_is_named_with_the_reason(tmp_path: Path) -> None:
    """Promise: errors of a directory are no matter of keys: which directory, what is wrong with it, and for which user,
    stand before the long key; what to do is about the mount, or the rights."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    store = LocalStorage(tmp_path)
    key = "/".join(["long"] * 40)

    async def refused(number: int) -> StorageError:
        with pytest.raises(StorageError) as caught:
            await store.put(key, [b"x"], gate=Tripwire(0, OSError(number, os.strerror(number))))
        return caught.value

    read_only, denied = await refused(errno.EROFS), await refused(errno.EACCES)
    assert (read_only.code, denied.code) == ("destination_read_only", "directory_denied")
    assert read_only.message.startswith(f"{tmp_path} is mounted read-only")
    assert denied.message.startswith(f"the agent's user {user} may not write in {tmp_path} (Permission denied)")
    assert read_only.fields["directory"] == denied.fields["directory"] == str(tmp_path)
    assert denied.fields["user"] == user
    for error in (read_only, denied):
        assert error.message.endswith(repr(key))
        assert "directory" in error.todo
        assert "credentials" not in error.todo
    await store.close()


async def test_a_full_destination_is_named_before_the_key(tmp_path: Path) -> None:
    """A person reads the first words: which directory, that it is full, how much is free and how much was needed;
    keys are long."""
    store = LocalStorage(tmp_path)
    key = "/".join(["long"] * 40)
    for number, word in ((28, "is full"), (122, "has no quota left")):
        with pytest.raises(DestinationFull) as full:
            await store.put(key, [b"x"], gate=Tripwire(0, OSError(number, os.strerror(number))))
        free = full.value.fields["free_bytes"]
        assert isinstance(free, int)
        assert full.value.message.startswith(f"{tmp_path} {word} ({free} bytes free, 1 needed)")
        assert full.value.fields["needed_bytes"] == 1
        assert (full.value.fields["directory"], full.value.fields["key"]) == (str(tmp_path), key)
    await store.close()


async def test_emptied_directories_go_and_come_back_under_concurrency(tmp_path: Path) -> None:
    """Deletes prune directories while puts fill them: no put is lost."""
    store = LocalStorage(tmp_path)

    async def churn(number: int) -> None:
        for turn in range(40):
            key = f"a/b/{number}-{turn}"
            assert (await store.put(key, [b"x"])).created
            assert await store.get(key) == b"x"
            await store.delete([key])

    await asyncio.gather(*(churn(number) for number in range(8)))
    assert [path.name for path in tmp_path.iterdir()] == [".helenus-tmp"]
    await store.close()


async def test_a_directory_that_goes_while_a_body_is_written_is_made_again(tmp_path: Path) -> None:
    """Promise: the key is there when the put returns, also when a delete has taken its directory meanwhile."""
    store = LocalStorage(tmp_path)
    await store.put("a/b/c", [b"x"])
    reached, go = threading.Event(), threading.Event()
    task = asyncio.ensure_future(store.put("a/b/d", [bytes(1_000_000)], gate=Tripwire(300_000, reached, go)))
    await asyncio.to_thread(reached.wait, 60)
    await store.delete(["a/b/c"])
    assert not (tmp_path / "a").exists()
    go.set()
    assert (await task).created
    assert (tmp_path / "a/b/d").stat().st_size == 1_000_000
    await store.close()


@pytest.mark.parametrize("known", [True, False], ids=["where it led", "no /proc"])
async def test_a_put_opens_the_directory_of_its_key_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """Promise: a small object costs few system calls beside its two syncs: there are hundreds of thousands. Where the
    kernel doesn't tell where a step led, each directory is a step of its own."""
    store = LocalStorage(tmp_path)
    await store.put("a/b/c/d/e/1", [b"x"])
    opened: list[str] = []
    really = os.open

    def noted(path: str, *more: int, **named: int) -> int:
        opened.append(str(path).removeprefix(f"{tmp_path}/"))
        return really(path, *more, **named)

    def hidden(path: str) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "open", noted)
    if not known:
        monkeypatch.setattr(os, "readlink", hidden)
    assert (await store.put("a/b/c/d/e/2", [b"x"])).created
    monkeypatch.undo()
    steps = [name for name in opened if name[0] in "abcde" and name != str(tmp_path)]
    assert steps == (["a/b/c/d/e"] if known else ["a/b/c/d/e", "a/b/c/d", "a", "b", "c", "d", "e"])
    await store.close()


async def test_leftovers_go_when_their_writer_is_dead_and_else_after_an_hour(tmp_path: Path) -> None:
    """Those of a killed agent at the next backup; those of another machine, container or release by their age. A
    process that only has the number of the dead one keeps nothing."""
    directory = tmp_path / ".helenus-tmp"
    directory.mkdir()
    place, mine = own_place(), os.getpid()
    boot = place.partition("-")[0]
    dead = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    begun = started(dead.pid)
    dead.kill()
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)  # ended, and its parent has not noticed
    ages = {
        f"{place}.{mine}.{started(mine)}.alive.0": 4000,
        f"{place}.{mine}.1.number-given-again.0": 60,
        f"{place}.{dead.pid}.{begun}.dead.0": 60,
        f"{boot}-1.{dead.pid}.77.another-container.0": 60,
        f"{boot}-1.{dead.pid}.77.another-container.1": 4000,
        f"{'0' * 32}-1.{mine}.77.another-machine.0": 60,
        f"{boot}.{mine}.older-release.0": 60,
        f"{boot}.{mine}.older-release.1": 4000,
        "odd": 4000,
    }
    for name, age in ages.items():
        (directory / name).write_bytes(b"half")
        os.utime(directory / name, (time.time() - age,) * 2)
    store = LocalStorage(tmp_path)
    await store.put("a", [b"x"])
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in unfinished(tmp_path)} == {
        "alive",
        "another-container",
        "another-machine",
        "older-release",
    }
    assert len(unfinished(tmp_path)) == 4
    await store.close()
    dead.communicate()
    await _nothing_is_left(tmp_path, f"{place}.{dead.pid}.{begun}.dead.0")


async def _nothing_is_left(root: Path, name: str) -> None:
    """Of a process that is gone altogether."""
    (root / ".helenus-tmp" / name).write_bytes(b"half")
    store = LocalStorage(root)
    await store.put("b", [b"x"])
    assert name not in unfinished(root)
    await store.close()


@pytest.mark.parametrize("page", [1, 2, 1000])
async def test_a_listing_is_in_the_order_of_whole_keys(
    page: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`a-b` sorts before `a/b`, though the directory `a` sorts before the file `a-b`; wherever a page ends."""
    monkeypatch.setattr(local, "PAGE", page)
    store = LocalStorage(tmp_path)
    keys = ["a-b", "a/b", "a0", "a/b-c/d", "a/b/c", "a!/x", "b", "a/B"]
    for key in keys:
        if key != "a/b":
            await store.put(key, [b"x"])
    assert [entry.key async for entry in store.list("")] == sorted(set(keys) - {"a/b"})
    assert [entry.key async for entry in store.list("a/b")] == ["a/b-c/d", "a/b/c"]
    await store.close()
