"""The digest cache's file."""

from contextlib import closing
from pathlib import Path

from agent.pipeline.digest_cache import DigestCache, packed
from agent.plan.backup import KnownFile

FILE = KnownFile(1, 2, 3, b"d" * 32, 7, (b"o" * 32,), 4, 8)
OTHER = KnownFile(5, 6, 7, b"e" * 32, None, (b"p" * 32, b"o" * 32), 0, 8)
ONE = {"nb-1-big-A": FILE}
TWO = {"nb-2-big-B": FILE, "nb-2-big-C": OTHER}


async def test_what_is_saved_is_known_after_a_restart(tmp_path: Path) -> None:
    """Promise: an unchanged SSTable costs a stat, also in the next process; SSTables that went are forgotten."""
    path = tmp_path / "digests.sqlite"
    with closing(DigestCache(path)) as cache:
        await cache.save("t1", [packed("fs", "nb-1-big", ONE), packed("fs", "nb-2-big", TWO)])
        await cache.save("t2", [packed("fs", "nb-1-big", ONE)])
    with closing(DigestCache(path)) as cache:
        assert cache.files("fs", "t1", "nb-1-big") == ONE
        assert cache.files("fs", "t1", "nb-2-big") == TWO
        assert cache.files("other", "t1", "nb-1-big") == {}
        changed = {"nb-2-big-A": OTHER}
        await cache.settle("t1", [packed("fs", "nb-2-big", changed)], {"fs": {"nb-2-big"}})
        assert cache.files("fs", "t1", "nb-2-big") == changed
        await cache.save("t1", [packed("fs", "nb-2-big", TWO)])
        assert cache.files("fs", "t1", "nb-1-big") == {}
        assert cache.files("fs", "t1", "nb-2-big") == TWO
        assert cache.files("fs", "t2", "nb-1-big") == ONE
        await cache.save("t2", [packed("fs", "nb-1-big", {"nb-1-big-A": OTHER})])
        assert cache.files("fs", "t2", "nb-1-big") == {"nb-1-big-A": OTHER}
    assert path.stat().st_mode & 0o777 == 0o600


async def test_tables_that_went_are_forgotten_on_every_filesystem(tmp_path: Path) -> None:
    """Promise: the file does not grow for ever on a node where tables come and go."""
    with closing(DigestCache(tmp_path / "digests.sqlite")) as cache:
        for filesystem in ("fs1", "fs2"):
            for table in ("t1", "t2", "t3"):
                await cache.save(table, [packed(filesystem, "nb-1-big", ONE), packed(filesystem, "nb-2-big", TWO)])
        await cache.keep_tables({"t2", "t9"})
        for filesystem in ("fs1", "fs2"):
            assert [cache.files(filesystem, table, "nb-1-big") for table in ("t1", "t2", "t3")] == [{}, ONE, {}]


async def test_a_damaged_cache_is_begun_anew(tmp_path: Path) -> None:
    """Promise: losing the cache costs reading, never a backup."""
    path = tmp_path / "digests.sqlite"
    path.write_bytes(b"this is no database, nor will it ever be one" * 100)
    with closing(DigestCache(path)) as cache:
        await cache.save("t1", [packed("fs", "nb-1-big", ONE)])
        assert cache.files("fs", "t1", "nb-1-big") == ONE


async def test_an_unreadable_row_is_an_unknown_sstable(tmp_path: Path) -> None:
    """Promise: rows of another form are passed over."""
    with closing(DigestCache(tmp_path / "digests.sqlite")) as cache:
        for name, row in (("nb-1-big", "ff"), ("nb-2-big", "93089091985f01010101c0910700")):
            cache._writer.execute(f"INSERT INTO digests VALUES ('fs', 't1', '{name}', x'{row}')")
            cache._writer.commit()
            assert cache.files("fs", "t1", name) == {}
