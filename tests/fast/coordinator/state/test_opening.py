"""Which store is opened, what its settings must say, and what a start does while Cassandra is away."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from coordinator.main import prepare, serve
from coordinator.model.settings import StateSettings
from coordinator.store import opening
from coordinator.store.cassandra.index import PLACES
from coordinator.store.cassandra.partitions import Change, Partitions
from coordinator.store.cassandra.places import DESTINATION
from coordinator.store.cassandra.schema import replication_warnings
from coordinator.store.cassandra.store import CassandraStore
from coordinator.store.cassandra.tables import Key, Snapshot
from coordinator.store.opening import CassandraAccess, access_of, open_state
from coordinator.store.sealing import Seal, StateKeyWrong
from coordinator.store.sqlite import SqliteStore
from kit.background import unless
from kit.config import ConfigError, parse
from kit.logs import Redactor
from kit.notify import Notifier
from kit.secret import Secret
from tests.cluster.ports import free_port
from tests.cluster.store_samples import CLUSTER, place
from tests.cluster.tables_in_memory import TablesInMemory, World
from tests.fast.coordinator.test_service import DEADLINE, ROOT, configuration

DIGITS = "0123456789abcdef" * 4


def key_file(directory: Path, text: str = DIGITS) -> Path:
    path = directory / "key"
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


def settings(directory: Path, **changes: Any) -> StateSettings:
    if "key_file" not in changes:
        changes["key_file"] = str(key_file(directory))
    return StateSettings(**{"kind": "cassandra", "contact_points": ["127.0.0.1"], **changes})


def test_a_file_needs_nothing_and_cassandra_a_key(tmp_path: Path) -> None:
    """Promise: without a [state] table all is as it was; secrets never go into Cassandra unsealed."""
    assert access_of(StateSettings()) is None
    found = access_of(settings(tmp_path))
    assert found is not None
    assert [secret.reveal() for secret in found.secrets] == [DIGITS]
    with pytest.raises(ConfigError, match=r"state\.key_file"):
        access_of(settings(tmp_path, key_file=""))


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"contact_points": []}, "state.contact_points"),
        ({"quorum": "local_dc"}, "state.local_dc"),
        ({"username": "me"}, "state.password_file"),
        ({"password_file": "/secret"}, "state.username"),
        ({"tls": True, "certificate_file": "/c.pem"}, "state.certificate_key_file"),
        ({"tls": True, "ca_file": "ca.pem"}, "state.ca_file"),
    ],
)
def test_settings_that_lack_something_are_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], setting: str
) -> None:
    """Promise: what can't work is said before anything is asked."""
    with pytest.raises(ConfigError) as refused:
        access_of(settings(tmp_path, **changes))
    assert refused.value.fields["setting"] == setting


@pytest.mark.parametrize("text", ["", "ab", DIGITS[:-1], DIGITS + "00", "x" * 64])
def test_a_key_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    """Promise: a short or misspelt key is no key, and isn't shown."""
    with pytest.raises(ConfigError) as refused:
        access_of(settings(tmp_path, key_file=str(key_file(tmp_path, text))))
    assert len(text) < 10 or text not in refused.value.message


@pytest.mark.parametrize("name", ["Upper", "1st", "a-b", "a;b", "", "a" * 49, "a.b", 'a"b'])
def test_a_keyspaces_name_is_checked(name: str) -> None:
    """Promise: nothing but a plain name gets into a statement."""
    with pytest.raises(ConfigError):
        parse(f"[state]\nkeyspace = '{name}'\n", Whole)
    with pytest.raises(ConfigError):
        parse('[state]\nreplication = { "dc\'1" = 3 }\n', Whole)


class Whole(msgspec.Struct, frozen=True):
    """A file with that table alone."""

    state: StateSettings = StateSettings()


def test_a_seal_opens_as_what_it_was_made_only() -> None:
    """Promise: other names, another revision, another key or a changed byte don't open."""
    seal = Seal(b"k" * 32)
    made = seal.sealed(b"secret", ["c", "d1", 1])
    assert b"secret" not in made
    assert seal.opened(made, ["c", "d1", 1]) == b"secret"
    assert seal.sealed(b"secret", ["c", "d1", 1]) != made
    tries = [(seal, made, ["c", "d1", 2]), (seal, made, ["c", "d2", 1]), (Seal(b"x" * 32), made, ["c", "d1", 1])]
    for by, sealed, what in [*tries, (seal, made[:-1] + b"?", ["c", "d1", 1]), (seal, b"", ["c", "d1", 1])]:
        with pytest.raises(StateKeyWrong):
            by.opened(sealed, what)  # type: ignore[arg-type]


def test_a_person_hears_of_a_replication_that_can_lose_the_state() -> None:
    """Promise: another replication than the settings' is told, and one replica where there could be more."""
    told = {"class": "org.apache.cassandra.locator.NetworkTopologyStrategy"}
    assert replication_warnings({**told, "dc1": "3"}, {"dc1": 3}, {"dc1": 3}) == []
    assert replication_warnings({**told, "dc1": "3"}, {}, {"dc1": 3}) == []
    assert replication_warnings({**told, "dc1": "1"}, {}, {"dc1": 1}) == []
    assert len(replication_warnings({**told, "dc1": "3"}, {"dc1": 2}, {"dc1": 3})) == 1
    assert len(replication_warnings({**told, "dc1": "1"}, {}, {"dc1": 3})) == 1
    assert len(replication_warnings({"class": "SimpleStrategy", "replication_factor": "1"}, {}, {"dc1": 2})) == 1


async def test_a_start_without_cassandra_waits_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """Promise: it says why it waits, ends when it is to, and leaves nothing in the state directory."""
    wanted = settings(tmp_path, port=free_port(), connect_seconds=0.5)
    access = CassandraAccess(wanted, Seal(b"k" * 32), Secret("k"), None, None)
    stop = asyncio.Event()

    def waiting(why: str, seconds: float) -> None:
        assert "Cassandra" in why
        assert seconds > 0
        stop.set()

    opened = open_state(access, tmp_path / "state", SqliteStore, now=0.0, waiting=waiting)
    async with asyncio.timeout(60):
        assert await unless(stop, opened) is None
    assert not (tmp_path / "state").exists()


def without_cassandra(directory: Path) -> Path:
    """The configuration of a coordinator whose state is in a Cassandra that doesn't answer."""
    file = configuration(directory)
    state = (
        f'[state]\nkind = "cassandra"\ncontact_points = ["127.0.0.1"]\nport = {free_port()}\nconnect_seconds = 0.5\n'
    )
    file.write_text(file.read_text().replace("[http]", f'{state}key_file = "{key_file(directory)}"\n[http]'))
    return file


class Shown(Notifier):
    """What `systemctl status` shows."""

    def __init__(self) -> None:
        super().__init__({})
        self.status_now = ""

    def starting(self, why: str, seconds: float) -> None:
        self.status(why)

    def status(self, text: str) -> None:
        self.status_now = text


async def test_one_that_serves_without_its_state_is_shown_as_a_standby(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a coordinator that has started before its state is there shows that it stands by, however often the
    state is asked for meanwhile."""
    monkeypatch.setattr(opening, "PAUSE_SECONDS", 0.01)
    shown, stop = Shown(), asyncio.Event()
    with structlog.testing.capture_logs() as lines:
        served = asyncio.create_task(serve(prepare(without_cassandra(tmp_path)), Redactor(), shown, stop))
        async with asyncio.timeout(DEADLINE):
            while not shown.status_now.startswith("standby"):
                assert not served.done()
                await asyncio.sleep(0.01)
            seen = len(lines)
            while sum("the start waits" in line["event"] for line in lines[seen:]) < 3:
                assert not served.done()
                await asyncio.sleep(0.01)
        assert shown.status_now.startswith("standby")
        stop.set()
        await served


async def test_a_process_that_waits_says_so_and_ends_on_sigterm(tmp_path: Path) -> None:
    """Promise: started while Cassandra is away, the coordinator is no failed unit: it waits, and stops when told to."""
    file = without_cassandra(tmp_path)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "coordinator.main", "--config", str(file)), cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(DEADLINE):
            while b"the start waits for the state in Cassandra" not in (line := await process.stderr.readline()):
                assert line, "it ended"
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_destination_opens_with_its_own_repository_id_only() -> None:
    """Promise: the repository's id stands unsealed beside the settings, but whoever changes it there is noticed."""
    world, seal = World(), Seal(b"k" * 32)
    store = await CassandraStore.open(TablesInMemory(world), seal, patience=30.0)
    await store.destinations.put(place("d1"))

    def change(found: Snapshot) -> Change | None:
        row = found.rows[0]
        return Change([msgspec.structs.replace(row, data=row.data.replace(b'"repo"', b'"oper"'))])

    partitions = Partitions(TablesInMemory(world), 30.0)
    await partitions.change(Key(PLACES, CLUSTER), (DESTINATION,), change)
    with pytest.raises(StateKeyWrong):
        await store.destinations.all(CLUSTER)
