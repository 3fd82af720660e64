"""`helenus-repository` over an encrypted repository: with its key, with a wrong one, and without any."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from agent.crypto.digest import DIGEST_SIZE, digest, digest_of
from agent.repository.frame import HEADER_SIZE
from tests.fast.cli.conftest import KEY, FirstSlot, Place, made
from tests.fast.cli.test_repository import extracted
from tests.fast.jobs.node import HOST


def flip(path: Path, place: int) -> None:
    """Change one byte."""
    body = bytearray(path.read_bytes())
    body[place] ^= 1
    path.write_bytes(body)


def test_with_its_key_everything_is_as_in_a_plain_repository(sealed: Place, tmp_path: Path) -> None:
    """Promise: sealed plans, records, manifests and objects are listed, checked, read, and extracted byte for byte."""
    code, told = sealed.run("list")
    assert code == 0, told
    for part in ("t1", "success", "1/1", "yes", "3.0 MB", "many,shop"):
        assert part in told.splitlines()[1]
    code, told = sealed.run("check", "--read")
    assert code == 0, told
    assert f"{len(sealed.objects())} objects read" in told
    code, told = sealed.run("drill", "t1", "--into", str(tmp_path / "out"))
    assert code == 0, told
    assert extracted(tmp_path / "out") == sealed.node.files()


def test_with_its_key_damage_has_a_name(sealed: Place) -> None:
    """Promise: backup, node, table and file are told, though the object's key says nothing of them."""
    flip(sealed.objects()[0], 1000)
    code, told = sealed.run("check", "--read")
    assert code == 3
    assert f"t1: {HOST}: shop.orders nb-1-big-Data.db: damaged" in told


async def test_with_its_key_swapped_objects_are_found(tmp_path: Path) -> None:
    """Promise: of two objects of one size and codec that stand under each other's name `check --read` names both with
    their files; `check` alone can't see it."""
    place = await made(tmp_path, FirstSlot(), more=5)
    place.settings(key_file=str(place.secret("key", KEY)))
    of_size: dict[int, list[Path]] = {}
    for path in place.objects():
        of_size.setdefault(path.stat().st_size, []).append(path)
    first, second = next(paths for paths in of_size.values() if len(paths) > 1)[:2]
    assert first.suffix == second.suffix
    was, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(was)
    code, told = await asyncio.to_thread(place.run, "check", "--read")
    assert (code, told.count("-big-Data.db: damaged: ")) == (3, 2), told
    for path in (first, second):
        assert f": damaged: {path.relative_to(place.root)}" in told
    assert (await asyncio.to_thread(place.run, "check"))[0] == 0


def test_with_its_key_an_epoch_that_never_was_is_named(sealed: Place) -> None:
    """Promise: an object with a right footer that claims to be sealed with keys of a later epoch is no sound one of a
    backup that is there; of no backup's it may be a newer backup's, after a rotation."""
    path = sealed.objects()[0]
    stored = path.read_bytes()
    header = bytearray(stored[:HEADER_SIZE])
    header[11] = 99
    payload = stored[HEADER_SIZE:-DIGEST_SIZE]
    path.write_bytes(bytes(header) + payload + digest_of([header, digest(payload)]))
    code, told = sealed.run("check", "--read")
    assert (code, "1 things are wrong" in told) == (3, True), told
    assert f"t1: {HOST}: shop.orders nb-1-big-Data.db: sealing_key_unknown: " in told
    newer = path.with_name(f"{path.name[:2]}{'0' * 62}.raw")
    newer.write_bytes(path.read_bytes())
    path.write_bytes(stored)
    code, told = sealed.run("check", "--read")
    assert (code, "nothing is wrong" in told) == (0, True), told


def test_a_plan_of_an_epoch_that_never_was_keeps_no_file_back(sealed: Place, tmp_path: Path) -> None:
    """Promise: whoever can write may have the plan claim such an epoch: what is there is extracted all the same, and
    exit code 3 says that nobody knows what is missing."""
    plan = next(sealed.root.rglob("plan.json"))
    stored = plan.read_bytes()
    plan.write_bytes(stored[:11] + b"\x63" + stored[12:])
    into = tmp_path / "out"
    code, told = sealed.run("extract", "t1", "--into", str(into))
    assert (code, "t1: NOT COMPLETE: this agent has no sealing key of epoch 99" in told) == (3, True), told
    assert list(into.rglob("nb-1-big-Data.db"))


@pytest.mark.parametrize(
    ("encryption", "code"),
    [
        ({}, "encryption_key_missing"),
        ({"passphrase": "guessed"}, "encryption_key_wrong"),
        ({"key_file": "/nowhere/key"}, "encryption_not_possible"),
    ],
)
def test_without_the_right_key_it_is_refused_by_name(sealed: Place, encryption: dict[str, str], code: str) -> None:
    """Promise: exit code 1, the reason, and neither a traceback nor the passphrase."""
    sealed.settings(**encryption)
    for command in (["list"], ["extract", "t1", "--into", str(sealed.root.parent / "out")]):
        found, told = sealed.run(*command)
        assert (found, code in told, "guessed" in told) == (1, True, False), told


def test_a_plain_repository_is_not_taken_for_an_encrypted_one(place: Place) -> None:
    """Promise: settings that ask for encryption refuse what isn't encrypted, also a check."""
    place.settings(key_file=str(place.secret("key", bytes(32))))
    for command in ("list", "check"):
        code, told = place.run(command)
        assert (code, "repository_not_encrypted" in told) == (1, True), told


def test_an_agents_own_file_knows_which_keys_it_has_seen(sealed: Place) -> None:
    """Promise: key slots of before a rotation that the agent saw are refused, whoever put them back."""
    settings = msgspec.json.decode(sealed.file.read_bytes())
    sealed.file.write_bytes(msgspec.json.encode({"id": "d1", "revision": 1, "settings": settings, "key_epoch": 2}))
    code, told = sealed.run("list")
    assert (code, "keys_rolled_back" in told) == (1, True), told


def test_without_a_key_stored_bytes_are_verified_and_the_rest_is_said_to_be_unknown(sealed: Place) -> None:
    """Promise: every object and manifest is read, nothing sound is called damaged, and the person is told what a check
    with the key would have said beside that."""
    sealed.settings()
    code, told = sealed.run("check", "--read")
    assert code == 0, told
    assert f"{len(sealed.objects())} objects, {len(sealed.objects())} read" in told
    assert "the settings hold no key" in told
    assert "not told without a key: whether all that the backups name is there" in told
    code, told = sealed.run("check", "t1")
    assert (code, "no object was read" in told) == (0, True), told


def test_without_a_key_damage_is_found_by_footers_and_digests(sealed: Place) -> None:
    """Promise: a flipped byte of a sealed object, of a manifest's frame and a key slot that can't be read are each
    one thing that is wrong; a removed object isn't seen, as is said."""
    sealed.settings()
    first, *_, last = sealed.objects()
    flip(first, 1000)
    last.unlink()
    manifest = next(sealed.root.rglob("*.manifest"))
    flip(manifest, 12)
    (sealed.root / "helenus/v1/keys/7.json").write_bytes(b"{}")
    code, told = sealed.run("check", "--read")
    assert code == 3
    assert f"{HOST}: damaged: {first.relative_to(sealed.root)}" in told
    assert f"t1: {HOST}: as a whole: damaged: {manifest.relative_to(sealed.root)}" in told
    assert "2 key slots, 1 of them can be read" in told
    assert "3 things are wrong" in told
    manifest.write_bytes(manifest.read_bytes()[:20])
    assert "3 things are wrong" in sealed.run("check", "--read")[1]
    assert sealed.run("check", "t9")[0] == 3
