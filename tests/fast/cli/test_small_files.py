"""`helenus-repository check` and the small files of a repository: marks, plans, records, cluster.json, names/."""

import shutil
from pathlib import Path

import pytest

from tests.fast.cli.conftest import Place
from tests.fast.cli.test_encrypted import flip
from tests.fast.cli.test_repository import extracted
from tests.fast.jobs.agent_in_memory import CLUSTER

BELOW = f"helenus/v1/clusters/{CLUSTER}"
MARK = f"{BELOW}/catalogue/t1/deleted"
RECORD = f"{BELOW}/catalogue/t1/0.json"
PLAN = f"{BELOW}/backups/t1/plan.json"
CLUSTER_FILE = f"{BELOW}/cluster.json"
NAMED = f"helenus/v1/names/prod/{CLUSTER}"


@pytest.fixture(params=["plain", "sealed"])
def either(request: pytest.FixtureRequest) -> Place:
    """A plain destination, and an encrypted one with its key."""
    found = request.getfixturevalue("place" if request.param == "plain" else "sealed")
    assert isinstance(found, Place)
    return found


@pytest.fixture(params=["plain", "sealed", "locked"])
def any_place(request: pytest.FixtureRequest) -> Place:
    """The same, and the encrypted one without its key."""
    found = request.getfixturevalue("place" if request.param == "plain" else "sealed")
    assert isinstance(found, Place)
    if request.param == "locked":
        found.settings()
    return found


def test_a_forged_mark_hides_nothing(either: Place, tmp_path: Path) -> None:
    """Promise: a mark that can't be read is named by `check`, and the backup is listed with a note and extracted."""
    (either.root / MARK).write_bytes(b"x")
    for arguments in (["check"], ["check", "t1", "--read"]):
        code, told = either.run(*arguments)
        assert (code, "1 things are wrong" in told) == (3, True), told
        assert "t1: its deletion mark is not believed" in told
        assert MARK in told
    code, told = either.run("list")
    assert (code, "t1: its deletion mark is not believed" in told) == (0, True), told
    assert told.splitlines()[1].startswith("t1 ")
    code, told = either.run("extract", "t1", "--into", str(tmp_path / "out"))
    assert (code, "its deletion mark is not believed" in told) == (0, True), told
    assert extracted(tmp_path / "out") == either.node.files()


def test_without_the_key_a_mark_that_cannot_be_sealed_is_named(sealed: Place) -> None:
    """Promise: what is no sealed document hides no manifest from the check; what seems to be one is believed, as is
    said."""
    sealed.settings()
    for body in (b"", b"x", b"HLND", b'{"tag":"t1"}' + bytes(90)):
        (sealed.root / MARK).write_bytes(body)
        code, told = sealed.run("check")
        assert (code, "t1: its deletion mark is not believed" in told) == (3, True), told
        assert "1 backups: 1 things are wrong" in told
    (sealed.root / MARK).write_bytes(b"HLND" + bytes(90))
    code, told = sealed.run("check")
    assert (code, "0 backups: nothing wrong was seen" in told) == (0, True), told
    assert "marks that seem sealed" in told


def test_what_stands_behind_a_forged_mark_is_checked(either: Place) -> None:
    """Promise: the backup's manifests and objects are looked at as those of any other."""
    (either.root / MARK).write_bytes(b"x")
    flip(either.objects()[0], 1000)
    either.objects()[1].unlink()
    for arguments in (["check", "--read"], ["check", "t1", "--read"]):
        code, told = either.run(*arguments)
        assert (code, "1 backups, " in told) == (3, True), told
        assert "shop.orders nb-1-big-Data.db: damaged" in told
        assert ": missing: " in told


def test_a_mark_of_an_epoch_that_never_was_hides_nothing(sealed: Place) -> None:
    """Promise: what claims to be sealed with keys that nobody has is no reason to refuse all that there is."""
    (sealed.root / MARK).write_bytes(b"HLND\1\0\0\0\0\0\0\x63" + bytes(80))
    code, told = sealed.run("list")
    assert (code, "t1: its deletion mark is not believed" in told) == (0, True), told
    assert sealed.run("check")[0] == 3


@pytest.mark.parametrize("kind", [RECORD, PLAN])
@pytest.mark.parametrize("body", [b"", b"junk"])
def test_a_plan_or_record_that_is_none_is_named(any_place: Place, kind: str, body: bytes) -> None:
    """Promise: with the key and without it the backup is not called sound, and stays in the list."""
    (any_place.root / kind).write_bytes(body)
    code, told = any_place.run("check")
    assert (code, "1 things are wrong" in told) == (3, True), told
    assert kind.removesuffix("0.json") in told


@pytest.mark.parametrize("kind", [RECORD, PLAN])
def test_a_flipped_plan_or_record_is_named(either: Place, kind: str) -> None:
    """Promise: whoever can read it finds any other byte in it, and the backup stays in the list."""
    flip(either.root / kind, 60)
    code, told = either.run("check")
    assert (code, "1 things are wrong" in told) == (3, True), told
    assert kind.removesuffix("0.json") in told
    code, told = either.run("list")
    assert (code, told.splitlines()[1].startswith("t1 ")) == (0, True), told


def test_a_record_that_is_gone_is_named(either: Place) -> None:
    """Promise: agents don't list such a backup, so a check says it."""
    (either.root / RECORD).unlink()
    code, told = either.run("check")
    assert (code, "t1: there is no listing record" in told) == (3, True), told


def test_a_backup_of_which_only_its_record_is_left_is_named(either: Place) -> None:
    """Promise: agents list what has a record; that plan and manifests are gone is no sound backup."""
    shutil.rmtree(either.root / PLAN.rpartition("/")[0])
    code, told = either.run("check")
    assert (code, "t1: not complete: no plan tells" in told) == (3, True), told
    assert either.run("list")[1].splitlines()[1].startswith("t1 ")
    assert either.run("extract", "t1", "--into", str(either.root.parent / "out"))[0] == 3


@pytest.mark.parametrize("kind", [CLUSTER_FILE, NAMED])
@pytest.mark.parametrize("damage", ["gone", "cut", "empty", "flipped", "another's"])
def test_what_a_cluster_is_found_by_is_checked(any_place: Place, kind: str, damage: str) -> None:
    """Promise: cluster.json and the index by name are verified by their own check, with the key and without it."""
    path = any_place.root / kind
    match damage:
        case "gone":
            path.unlink()
        case "cut":
            path.write_bytes(path.read_bytes()[:-5])
        case "empty":
            path.write_bytes(b"")
        case "flipped":
            flip(path, 3)
        case _:
            path.write_bytes(b'{"cluster_id":"another","name":"prod"}')
    code, told = any_place.run("check")
    assert (code, "1 things are wrong" in told) == (3, True), told
    assert kind in told


def test_an_index_of_another_name_is_named(any_place: Place) -> None:
    """Promise: an entry that says what its key doesn't leads nobody to the cluster unseen."""
    wrong = any_place.root / f"helenus/v1/names/staging/{CLUSTER}"
    wrong.parent.mkdir()
    wrong.write_bytes((any_place.root / NAMED).read_bytes())
    code, told = any_place.run("check")
    assert (code, "staging" in told) == (3, True), told


@pytest.mark.parametrize("named", [[], ["--cluster", CLUSTER], ["--cluster", "prod"]])
@pytest.mark.parametrize("key", ["key", ""])
def test_a_cluster_is_found_without_the_index(sealed: Place, named: list[str], key: str) -> None:
    """Promise: with names/ gone a cluster is found by its own files, by id, by name and when it is the only one, with
    the key and without it; with cluster.json gone too, by its id and when it is the only one. `check` says it."""
    if not key:
        sealed.settings()
    shutil.rmtree(sealed.root / "helenus/v1/names")
    code, told = sealed.run(*named, "check")
    assert (code, f"missing: helenus/v1/names/prod/{CLUSTER}" in told) == (3, True), told
    if key:
        assert sealed.run(*named, "list")[1].splitlines()[1].startswith("t1 ")
    (sealed.root / f"helenus/v1/clusters/{CLUSTER}/cluster.json").unlink()
    code, told = sealed.run(*named, "check")
    if named[1:] == ["prod"]:
        assert (code, f"cluster_not_found: the repository has no cluster prod; there are: {CLUSTER}" in told) == (
            1,
            True,
        )
    else:
        assert (code, f"missing: helenus/v1/clusters/{CLUSTER}/cluster.json" in told) == (3, True), told
