"""nodetool by a script that stands in for it: arguments, exit codes, a hang. Real nodes: tests/real/cassandra."""

import json
import sys
from pathlib import Path

import pytest

from agent.cassandra.errors import (
    CassandraDenied,
    CassandraUnavailable,
    ImportFailed,
    NodetoolFailed,
    NodetoolKilled,
    NodetoolMissing,
    NodetoolTimeout,
    SnapshotExists,
    TableNotFound,
)
from agent.cassandra.nodetool import Nodetool, not_startable
from agent.cassandra.settings import NodetoolSettings
from kit.config import ConfigError


@pytest.mark.parametrize(
    ("program", "reason"),
    [("missing", "no such file"), ("plain", "may not execute it"), ("", "is a directory"), ("right", None)],
)
def test_a_program_is_known_to_be_startable_or_why_not(tmp_path: Path, program: str, reason: str | None) -> None:
    """Promise: the words say what to mend: the path, or the file's mode."""
    (tmp_path / "plain").touch(0o644)
    (tmp_path / "right").touch(0o755)
    told = not_startable(NodetoolSettings(command=(str(tmp_path / program),)))
    assert (told is None) == (reason is None)
    assert told is None or (reason is not None and reason in told.message and str(tmp_path) in told.message)


def test_a_bare_name_is_looked_up_as_it_will_be_when_it_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: on the agent's own PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    told = not_startable(NodetoolSettings(command=("nodetool", "--x")))
    assert told is not None
    assert f"not on the PATH ({tmp_path})" in told.message
    (tmp_path / "nodetool").touch(0o755)
    assert not_startable(NodetoolSettings(command=("nodetool", "--x"))) is None


def _script(tmp_path: Path, body: str) -> Path:
    script = tmp_path / "nodetool"
    script.write_text(f"#!{sys.executable}\nimport json, sys\nfrom pathlib import Path\n{body}\n")
    script.chmod(0o755)
    return script


def _recording(tmp_path: Path, **settings: object) -> tuple[Nodetool, Path]:
    note = tmp_path / "calls"
    script = _script(tmp_path, f"with Path({str(note)!r}).open('a') as f: f.write(json.dumps(sys.argv[1:]) + '\\n')")
    return Nodetool(NodetoolSettings(command=(str(script),), **settings)), note  # type: ignore[arg-type]


def _calls(note: Path) -> list[list[str]]:
    return [json.loads(line) for line in note.read_text().splitlines()]


async def test_a_snapshot_names_every_table_in_one_call(tmp_path: Path) -> None:
    """A JVM start costs 0.7 s: one for all tables, mixed case without quotes, the TTL at least a minute."""
    nodetool, note = _recording(tmp_path)
    await nodetool.snapshot("t", {"Ks": ["Tab", "b"], "other": ["c"], "empty": []}, 5)
    assert _calls(note) == [
        [
            *("--host", "127.0.0.1", "--port", "7199"),
            *("snapshot", "--tag", "t", "--ttl", "60s", "--kt-list", "Ks.Tab,Ks.b,other.c"),
        ]
    ]


async def test_more_tables_than_an_argument_holds_are_taken_in_several_calls(tmp_path: Path) -> None:
    """Linux refuses an argument of more than 128 KiB."""
    nodetool, note = _recording(tmp_path)
    tables = [f"table_{number:06d}_{'x' * 40}" for number in range(4000)]
    await nodetool.snapshot("t", {"ks": tables}, None)
    calls = _calls(note)
    assert len(calls) > 1
    assert [name for call in calls for name in call[-1].split(",")] == [f"ks.{table}" for table in tables]


INFO = """\
{warning}ID                     : f07c0f1d-962d-4981-b44f-35682d1a3fe8
Gossip active          : true
Native Transport active: true
Load                   : 102.5 KiB
Generation No          : 1764297600
Data Center            : datacenter1
Rack                   : rack1
Token                  : (invoke with -T/--tokens to see all 16 tokens)
"""
"""What 4.1 and 5.0 print alike, shortened."""


@pytest.mark.parametrize(("warning", "exit_code"), [("", 0), ("WARN  something that the JVM has to say\n", 0), ("", 2)])
async def test_the_host_id_is_read_from_nodetool_info(tmp_path: Path, warning: str, exit_code: int) -> None:
    """Promise: its first line is enough, whatever comes before it or fails after it."""
    said = INFO.format(warning=warning)
    script = _script(tmp_path, f"assert sys.argv[-1] == 'info'; print({said!r}); sys.exit({exit_code})")
    nodetool = Nodetool(NodetoolSettings(command=(str(script),)))
    assert await nodetool.host_id() == "f07c0f1d-962d-4981-b44f-35682d1a3fe8"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("print('nodetool: Failed to connect to 127.0.0.1:7199'); sys.exit(1)", CassandraUnavailable),
        ("print('Gossip active          : true')", NodetoolFailed),
    ],
)
async def test_without_a_host_id_nothing_is_taken_for_one(
    tmp_path: Path, body: str, error: type[NodetoolFailed | CassandraUnavailable]
) -> None:
    """Promise: an answer without the line is an error, also with exit code 0."""
    nodetool = Nodetool(NodetoolSettings(command=(str(_script(tmp_path, body)),)))
    with pytest.raises(error):
        await nodetool.host_id()


async def test_credentials_go_by_file_and_imports_use_long_options(tmp_path: Path) -> None:
    """No password in argv; `-p` means another thing in every version, so it is never used."""
    nodetool, note = _recording(tmp_path, username="joe", password_file="/etc/jmx", ssl=True, arguments=("-Dx=y",))
    await nodetool.import_sstables("Ks", "Tab", [Path("/a"), Path("/b")])
    await nodetool.clear_snapshot("t")
    connection = ["--host", "127.0.0.1", "--port", "7199", "--username", "joe", "--password-file", "/etc/jmx", "--ssl"]
    assert _calls(note) == [
        [*connection, "-Dx=y", "import", "--no-tokens", "--", "Ks", "Tab", "/a", "/b"],
        [*connection, "-Dx=y", "clearsnapshot", "-t", "t"],
    ]


async def test_a_password_file_may_be_a_credential_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nodetool gets the credential's path, as the unit's suggestion promises; without credentials it is told."""
    nodetool, note = _recording(tmp_path, username="joe", password_file="credential:jmx-password")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError, match="jmx-password"):
        await nodetool.clear_snapshot("t")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/agent")
    await nodetool.clear_snapshot("t")
    (call,) = _calls(note)
    assert call[call.index("--password-file") + 1] == "/run/credentials/agent/jmx-password"


async def test_a_nodetool_that_hangs_is_ended_by_its_deadline(tmp_path: Path) -> None:
    """Cassandra paused under it: the command fails by name instead of hanging with it."""
    nodetool = Nodetool(
        NodetoolSettings(command=(str(_script(tmp_path, "import time; time.sleep(1000)")),), deadline_seconds=1.0)
    )
    with pytest.raises(NodetoolTimeout) as caught:
        await nodetool.clear_snapshot("t")
    assert caught.value.code == "nodetool_timeout"


async def test_a_nodetool_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The setting is wrong, and the error says which."""
    with pytest.raises(NodetoolMissing, match="nowhere"):
        await Nodetool(NodetoolSettings(command=(str(tmp_path / "nowhere"),))).members()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (
            "error: Snapshot t already exists.\n-- StackTrace --\njava.io.IOException: x\n\tat a.b(C.java)",
            SnapshotExists,
        ),
        ("nodetool: Unknown keyspace/cf pair (a.b)", TableNotFound),
        ("nodetool: Failed to connect to '127.0.0.1:7199' - ConnectException", CassandraUnavailable),
        (
            "nodetool: Failed to connect to '127.0.0.1:7199' - SecurityException: 'Authentication failed!'",
            CassandraDenied,
        ),
        (
            "error: null\n-- StackTrace --\njava.rmi.UnmarshalException: Error unmarshaling; java.io.EOFException",
            CassandraUnavailable,
        ),
        ("something else\n\tat java.rmi.ConnectException(Whatever.java)", NodetoolFailed),
    ],
)
async def test_what_went_wrong_is_told_by_its_own_code(tmp_path: Path, said: str, kind: type[Exception]) -> None:
    """Java stacks are left out of what a person reads."""
    script = _script(tmp_path, f"print({said!r}); sys.exit(2)")
    with pytest.raises(kind) as caught:
        await Nodetool(NodetoolSettings(command=(str(script),))).snapshot("t", {"a": ["b"]}, None)
    assert "\tat " not in str(caught.value.fields["output"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "sys.exit(143)"])
async def test_a_nodetool_that_a_signal_ended_is_no_answer(tmp_path: Path, end: str) -> None:
    """By itself or under a shell: the order may be with Cassandra, so nothing that it can do is taken for undone."""
    nodetool = Nodetool(NodetoolSettings(command=(str(_script(tmp_path, f"import os; {end}")),)))
    for order in (
        nodetool.snapshot("t", {"a": ["b"]}, None),
        nodetool.clear_snapshot("t"),
        nodetool.import_sstables("a", "b", [tmp_path]),
    ):
        with pytest.raises(NodetoolKilled, match="not known"):
            await order


async def test_a_refused_import_is_a_failed_import(tmp_path: Path) -> None:
    """Any exit code but 0."""
    script = _script(tmp_path, "print('Some directories failed to import'); sys.exit(1)")
    with pytest.raises(ImportFailed):
        await Nodetool(NodetoolSettings(command=(str(script),))).import_sstables("a", "b", [tmp_path])


async def test_the_ring_is_read_from_status(tmp_path: Path) -> None:
    """Up and down, and the four states; noise around it is passed over."""
    printed = """WARN noise
Datacenter: dc1
--  Address     Load        Tokens  Owns (effective)  Host ID                               Rack
UN  127.0.30.1  114.43 KiB  4       100.0%            f07c0f1d-962d-4981-b44f-35682d1a3fe8  r1
DL  127.0.30.2  ?           4       ?                 f07c0f1d-962d-4981-b44f-35682d1a3fe9  r1
UJ  127.0.30.3  ?           4       ?                 f07c0f1d-962d-4981-b44f-35682d1a3fea  r1
"""
    script = _script(tmp_path, f"print({printed!r})")
    found = await Nodetool(NodetoolSettings(command=(str(script),))).members()
    assert {address: (member.up, member.state) for address, member in found.items()} == {
        "127.0.30.1": (True, "NORMAL"),
        "127.0.30.2": (False, "LEAVING"),
        "127.0.30.3": (True, "JOINING"),
    }


async def test_the_child_gets_no_secrets_of_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment lacks cloud keys and systemd's credentials."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    note = tmp_path / "environment"
    script = _script(tmp_path, f"import os; Path({str(note)!r}).write_text(json.dumps(dict(os.environ)))")
    await Nodetool(NodetoolSettings(command=(str(script),))).clear_snapshot("t")
    environment = json.loads(note.read_text())
    assert "AWS_SECRET_ACCESS_KEY" not in environment
    assert "CREDENTIALS_DIRECTORY" not in environment
