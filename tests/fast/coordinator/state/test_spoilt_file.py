"""A state file that is damaged, another program's, or out of reach: named, with what to do, and left as it is."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator.main import main
from coordinator.store.database import StoreDamaged, StoreFailed, StoreForeign, StoreNotAllowed, failure, look_at
from coordinator.store.migrations import MIGRATIONS
from coordinator.store.sqlite import FILE, SqliteStore
from tests.fast.coordinator.test_service import configuration


def cut(file: Path) -> None:
    os.truncate(file, 5000)


def without_its_middle(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + bytes(len(whole) - 4096))


def overwritten(file: Path) -> None:
    file.write_bytes(b"no database" * 1000)


def another(version: int) -> Callable[[Path], None]:
    def of_another_program(file: Path) -> None:
        file.unlink()
        connection = sqlite3.connect(file)
        connection.execute("CREATE TABLE songs (name TEXT)")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()
        connection.close()

    return of_another_program


def linked(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (cut, StoreDamaged),
        (without_its_middle, StoreDamaged),
        (overwritten, StoreDamaged),
        (another(0), StoreForeign),
        (another(3), StoreForeign),
        (another(99), StoreForeign),
        (linked, StoreForeign),
    ],
)
async def test_a_start_names_the_file_and_says_what_to_do(
    tmp_path: Path, spoil: Callable[[Path], None], kind: type[StoreFailed]
) -> None:
    """Promise: who reads it knows which file it is and whether to move it aside; not a byte of it is changed."""
    file = tmp_path / FILE
    await (await SqliteStore.open(tmp_path, now=0.0)).close()
    spoil(file)
    before = file.read_bytes()
    with pytest.raises(StoreFailed) as refused:
        await SqliteStore.open(tmp_path, now=0.0)
    assert type(refused.value) is kind
    assert str(file) in refused.value.message
    assert refused.value.fields["file"] == str(file)
    assert "named file" in refused.value.todo
    assert file.read_bytes() == before


async def test_one_that_breaks_under_a_running_coordinator_is_named_too(tmp_path: Path) -> None:
    """Promise: damage that only a later read meets is told as damage, with the file."""
    store = await SqliteStore.open(tmp_path, now=0.0)
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    without_its_middle(tmp_path / FILE)
    with pytest.raises(StoreDamaged, match=FILE):
        await store.users.all()
    await store.close()


async def test_the_check_calls_no_file_damaged_that_a_start_makes_whole(tmp_path: Path) -> None:
    """Promise: after a kill amid a checkpoint the file alone is torn, while -wal has what it lacks: whoever looks is
    not told to move it away; without -wal beside it it is damaged."""
    file = tmp_path / FILE
    store = await SqliteStore.open(tmp_path, now=0.0)
    without_its_middle(file)
    assert (tmp_path / f"{FILE}-wal").stat().st_size > 0
    look_at(file, MIGRATIONS)
    await store.close()
    overwritten(file)
    with pytest.raises(StoreDamaged):
        look_at(file, MIGRATIONS)


def test_a_file_out_of_reach_is_told_by_its_rights(tmp_path: Path) -> None:
    """Promise: rights are told apart from damage: nobody moves a good state away for them."""
    file = tmp_path / FILE
    file.touch()
    another(1)(file)
    reading = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)
    with pytest.raises(sqlite3.Error) as read_only:
        reading.execute("DELETE FROM songs")
    reading.close()
    for error in (PermissionError(13, "Permission denied"), OSError(30, "Read-only file system"), read_only.value):
        told = failure(error, file)
        assert type(told) is StoreNotAllowed
        assert str(file) in told.message
        assert "user" in told.todo


def test_the_command_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Promise: the person who starts the service reads file and way out in one line, not a traceback."""
    state = tmp_path / "state"
    state.mkdir()
    overwritten(state / FILE)
    assert main(["--config", str(configuration(tmp_path))]) == 1
    said = capsys.readouterr().err
    assert str(state / FILE) in said
    assert "docs/coordinator-state.md" in said
    assert "Traceback" not in said
