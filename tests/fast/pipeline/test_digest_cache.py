"""The digest cache's file."""

from pathlib import Path

import msgspec

from agent.pipeline.digest_cache import DigestCache, packed
from agent.plan.backup import KnownFile

FILE = KnownFile(1, 2, 3, b"d" * 32, 7, (b"o" * 32,), 4, 8)
OTHER = KnownFile(5, 6, 7, b"e" * 32, None, (b"p" * 32, b"o" * 32), 0, 8)


async def test_what_is_saved_is_known_after_a_restart(tmp_path: Path) -> None:
    """Promise: an unchanged SSTable costs a stat, also in the next process; a saved table replaces the older one."""
    path = tmp_path / "digests.sqlite"
    with DigestCache(path) as cache:
        await cache.save(
            [
                (
                    "fs",
                    "t1",
                    {
                        "nb-1-big": packed("nb-1-big", {"nb-1-big-A": FILE}),
                        "nb-2-big": packed("nb-2-big", {"nb-2-big-B": FILE, "nb-2-big-C": OTHER}),
                    },
                )
            ]
        )
        await cache.save([("fs", "t2", {"nb-1-big": packed("nb-1-big", {"nb-1-big-C": FILE})})])
    with DigestCache(path) as cache:
        found = await cache.load_all([("fs", "t1"), ("fs", "t2"), ("other", "t1")])
        assert found["fs", "t1"].files("nb-1-big") == {"nb-1-big-A": FILE}
        assert (len(found["fs", "t1"]), len(found["other", "t1"])) == (2, 0)
        await cache.save([("fs", "t1", {"nb-2-big": msgspec.Raw(found["fs", "t1"].packed("nb-2-big") or b"")})])
        again = (await cache.load_all([("fs", "t1")]))["fs", "t1"]
        assert (again.files("nb-1-big"), again.files("nb-2-big")) == ({}, {"nb-2-big-B": FILE, "nb-2-big-C": OTHER})
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_damaged_cache_is_begun_anew(tmp_path: Path) -> None:
    """Promise: losing the cache costs reading, never a backup."""
    path = tmp_path / "digests.sqlite"
    path.write_bytes(b"this is no database, nor will it ever be one" * 100)
    with DigestCache(path) as cache:
        await cache.save([("fs", "t1", {"nb-1-big": packed("nb-1-big", {"nb-1-big-A": FILE})})])
        assert (await cache.load_all([("fs", "t1")]))["fs", "t1"].files("nb-1-big") == {"nb-1-big-A": FILE}


async def test_an_unreadable_row_is_an_unknown_table(tmp_path: Path) -> None:
    """Promise: rows of another form are passed over."""
    with DigestCache(tmp_path / "digests.sqlite") as cache:
        cache._connection.execute("INSERT INTO digests VALUES ('fs', 't1', x'ff')")
        cache._connection.execute("INSERT INTO digests VALUES ('fs', 't2', x'81a16101')")
        found = await cache.load_all([("fs", "t1"), ("fs", "t2")])
        assert len(found["fs", "t1"]) == 0
        assert found["fs", "t2"].files("a") == {}
