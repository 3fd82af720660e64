"""The command `helenus-coordinator users`, beside a running coordinator and without one."""

import asyncio
import io
import os
import pty
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coordinator.access.accounts import Accounts
from coordinator.access.passwords import Passwords
from coordinator.main import main
from coordinator.model.access import Role, User
from coordinator.store.sqlite import SqliteStore
from tests.fast.coordinator.test_service import ADDRESS, ROOT, TOKEN, configuration, free_port, running

PASSWORD = "correct horse battery"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration without a token, whose state the coordinator made once."""
    made = configuration(tmp_path, free_port())
    made.write_text(made.read_text().replace(f'token_file = "{tmp_path}/token"\n', ""))
    assert "token_file" not in made.read_text()
    asyncio.run(opened_once(tmp_path))
    return made


async def opened_once(directory: Path) -> None:
    """Make the state as a start of the coordinator does."""
    await (await SqliteStore.open(directory / "state", now=0)).close()


def users(monkeypatch: pytest.MonkeyPatch, file: Path, *arguments: str, typed: str = PASSWORD + "\n") -> int:
    """The command's exit status, with `typed` on standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    return main(["users", arguments[0], "--config", str(file), *arguments[1:]])


def test_the_configuration_is_named_before_the_action_or_after_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    """Promise: both orders do the same, and what is missing or misspelt is named by a word of the usage."""
    assert users(monkeypatch, file, "add", "ada", "--role", "admin") == 0
    for arguments in (["--config", str(file), "list"], ["list", "--config", str(file)]):
        capsys.readouterr()
        assert main(["users", *arguments]) == 0
        assert "ada" in capsys.readouterr().out
    for arguments, told in (
        ([], "required: ACTION"),
        (["--config", str(file), "ad"], "argument ACTION: invalid choice"),
    ):
        with pytest.raises(SystemExit):
            main(["users", *arguments])
        assert told in capsys.readouterr().err


async def kept(directory: Path) -> list[User]:
    """The users in the state."""
    store = await SqliteStore.open_beside(directory / "state")
    try:
        return await store.users.all()
    finally:
        await store.close()


def test_it_makes_lists_changes_and_removes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: Path, tmp_path: Path
) -> None:
    """Promise: each of the five does what it says, and prints nothing that is secret."""
    assert users(monkeypatch, file, "add", "ada", "--role", "admin") == 0
    assert users(monkeypatch, file, "add", "bob", "--role", "read") == 0
    assert users(monkeypatch, file, "set-role", "bob", "restore") == 0
    first = asyncio.run(kept(tmp_path))
    assert [(user.name, user.role) for user in first] == [("ada", Role.ADMIN), ("bob", Role.RESTORE)]
    assert users(monkeypatch, file, "set-password", "bob", typed="another password") == 0
    assert asyncio.run(kept(tmp_path))[1].password != first[1].password
    capsys.readouterr()
    assert users(monkeypatch, file, "list") == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in told] == [["name", "role"], ["ada", "admin"], ["bob", "restore"]]
    assert users(monkeypatch, file, "remove", "bob") == 0
    assert [user.name for user in asyncio.run(kept(tmp_path))] == ["ada"]
    assert first[0].password.digest not in "".join(told)


@pytest.mark.parametrize(
    ("arguments", "typed", "told"),
    [
        (("add", "bob", "--role", "read"), PASSWORD, "the first user must be an admin"),
        (("add", "ada", "--role", "admin"), "short", "fewer than 12"),
        (("add", "ada", "--role", "admin"), "", "fewer than 12"),
        (("add", "a b", "--role", "admin"), PASSWORD, "«name»"),
        (("remove", "nobody"), "", "there is no user"),
        (("set-role", "nobody", "read"), "", "there is no user"),
    ],
)
def test_it_says_what_it_does_not_do(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    file: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    typed: str,
    told: str,
) -> None:
    """Promise: the same rules as over the API; nothing is changed, and the reason is printed."""
    assert users(monkeypatch, file, *arguments, typed=typed) == 1
    assert told in capsys.readouterr().err
    assert asyncio.run(kept(tmp_path)) == []


def test_it_keeps_the_last_admin_unless_a_token_is_configured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: Path, tmp_path: Path
) -> None:
    """Promise: it doesn't open by mistake what it has closed."""
    assert users(monkeypatch, file, "add", "ada", "--role", "admin") == 0
    assert users(monkeypatch, file, "remove", "ada") == 1
    assert users(monkeypatch, file, "set-role", "ada", "read") == 1
    assert "the last admin stays" in capsys.readouterr().err
    file.write_text(file.read_text().replace("[http]\n", f'[http]\ntoken_file = "{tmp_path}/token"\n'))
    assert users(monkeypatch, file, "remove", "ada") == 0


def test_it_makes_no_state_and_reads_no_credential(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Promise: run by root before the service ever was, it leaves no files that the service's user can't use; and it
    works outside of the unit, where systemd gives no credentials."""
    made = configuration(tmp_path)
    made.write_text(made.read_text().replace(f'"{tmp_path}/token"', '"credential:coordinator-token"'))
    assert users(monkeypatch, made, "add", "ada", "--role", "admin") == 1
    assert "Start the coordinator" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()
    asyncio.run(opened_once(tmp_path))
    assert users(monkeypatch, made, "add", "ada", "--role", "admin") == 0
    assert users(monkeypatch, tmp_path / "no-such-file", "list") == 2


def test_a_password_is_no_argument(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """Promise: no option takes one, so that none is seen in the list of processes."""
    for more in (("--password", PASSWORD), (PASSWORD,)):
        with pytest.raises(SystemExit):
            users(monkeypatch, file, "add", "ada", "--role", "admin", *more)


async def test_at_a_terminal_it_asks_twice_and_shows_nothing(file: Path, tmp_path: Path) -> None:
    """Promise: what is typed doesn't stand on the screen, and a slip of the finger makes no user."""
    for again, status in (("another", 1), (PASSWORD, 0)):
        ours, theirs = pty.openpty()
        command = (
            sys.executable,
            "-m",
            "coordinator.main",
            "users",
            "add",
            "ada",
            "--role",
            "admin",
            "--config",
            str(file),
        )
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        seen = b""
        async with asyncio.timeout(60):
            for prompt, text in ((b"Password: ", PASSWORD), (b"Again: ", again)):
                while not seen.endswith(prompt):
                    seen += await asyncio.to_thread(os.read, ours, 1024)
                os.write(ours, f"{text}\n".encode())
            assert await process.wait() == status
            while b"was added" not in seen and b"differ" not in seen:
                seen += await asyncio.to_thread(os.read, ours, 1024)
        os.close(ours)
        assert PASSWORD.encode() not in seen
    assert [user.name for user in await kept(tmp_path)] == ["ada"]


async def ask(url: str, method: str, path: str, **options: Any) -> tuple[int, Any]:
    """One request to a coordinator's process."""
    async with aiohttp.ClientSession() as session, session.request(method, url + path, **options) as answer:
        return answer.status, await answer.json()


async def test_what_it_writes_counts_at_once_in_a_running_coordinator(file: Path, tmp_path: Path) -> None:
    """Promise: while the coordinator runs, the first admin closes it, logs in, and is out again with the next password;
    a second coordinator's lock is no hindrance, and neither the log nor the state shows what was typed."""
    port = int(file.read_text().partition("port = ")[2].partition("\n")[0])
    log = tmp_path / "log"

    async def command(*arguments: str, typed: str) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "coordinator.main", "users", *arguments, "--config", str(file),
            cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await process.communicate(typed.encode())
        assert process.returncode == 0

    async with running(file, port, log) as started, asyncio.timeout(60):
        url = f"http://{ADDRESS}:{port}"
        assert (await ask(url, "GET", "/cluster-configs"))[0] == 200
        await command("add", "ada", "--role", "admin", typed=PASSWORD)
        assert (await ask(url, "GET", "/cluster-configs"))[0] == 401
        status, told = await ask(url, "POST", "/login", json={"username": "ada", "password": PASSWORD})
        assert status == 200
        header = {"opscenter-session": told["sessionid"]}
        assert (await ask(url, "GET", "/cluster-configs", headers=header))[0] == 200
        await command("set-password", "ada", typed="a password of tomorrow")
        assert (await ask(url, "GET", "/cluster-configs", headers=header))[0] == 401
        started.process.kill()
        await started.process.wait()
    async with running(file, port, log), asyncio.timeout(60):
        body = {"username": "ada", "password": "a password of tomorrow"}
        assert (await ask(url, "POST", "/login", json=body))[0] == 200
    assert PASSWORD not in log.read_text()
    assert "tomorrow" not in log.read_text()
    assert TOKEN not in log.read_text()


async def test_root_leaves_the_services_files_to_its_user(tmp_path: Path) -> None:
    """Promise: root adds a user while the coordinator is stopped, and its user can open the state afterwards; who isn't
    root has its own files."""
    owner = 12_345 if os.geteuid() == 0 else os.geteuid()
    await opened_once(tmp_path)
    for path in ((tmp_path / "state"), *(tmp_path / "state").iterdir()):
        os.chown(path, owner, owner if os.geteuid() == 0 else -1)
    store = await SqliteStore.open_beside(tmp_path / "state")
    await Accounts(store.users, Passwords(), lambda: 0.0, others_administer=False).add("ada", PASSWORD, Role.ADMIN)
    owners = {path.name: path.stat().st_uid for path in (tmp_path / "state").iterdir()}
    await store.close()
    assert "coordinator.sqlite-wal" in owners
    assert set(owners.values()) == {owner}


def test_of_a_state_in_cassandra_it_asks_that_and_no_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: Path, tmp_path: Path
) -> None:
    """Promise: with `[state]` in Cassandra no user is put where the coordinator doesn't look; one that is away is
    named at once."""
    key = tmp_path / "state-key"
    key.write_text("ab" * 32 + "\n")
    key.chmod(0o600)
    table = f'[state]\nkind = "cassandra"\ncontact_points = ["127.0.0.1"]\nport = {free_port()}\nkey_file = "{key}"\n'
    file.write_text(f"{file.read_text()}\n{table}")
    assert users(monkeypatch, file, "add", "ada", "--role", "admin") == 1
    assert "Cassandra, which holds the state" in capsys.readouterr().err
    assert asyncio.run(kept(tmp_path)) == []
