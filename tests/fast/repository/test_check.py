"""A destination's check: what the store can do, which repository is there, and nothing left behind."""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from agent.daemon.measures import StorageMeasures
from agent.daemon.provider import Provider
from agent.daemon.settings import DestinationSettings
from agent.repository.attach import attach
from agent.repository.check import NONCES, DestinationChecks
from agent.repository.destination_files import DestinationFiles, StoredDestination
from agent.repository.destinations import Destinations
from agent.repository.errors import RepositoryGone, UnknownDestination
from agent.repository.hold_notes import HoldNotes
from agent.repository.keyrings import Keyrings
from agent.repository.keys import CHECKS, REPOSITORY
from agent.repository.limits import Limits
from agent.repository.live_storage import Patience
from agent.repository.opening import OpenDestinations
from agent.storage.local.storage import LocalStorage
from agent.storage.protocol import Denied, DirectoryDenied, DirectoryReadOnly, Entry, Storage, StorageError
from agent.wire.commands import Target
from agent.wire.destinations import CheckDestination, Encryption, LocalSettings, PutDestination
from tests.fast.storage.memory import MemoryStorage
from tests.fast.storage.test_conformance import Overwriting


class Agent:
    """A registry and its checks, with one destination «store» that lies in `root / "store"`."""

    def __init__(self, state: Path, root: Path) -> None:
        self.registry = CollectorRegistry()
        limits = Limits()
        provider = Provider(
            DestinationSettings(local_roots=[str(root)]), limits, StorageMeasures(self.registry), root.parent / "state"
        )
        self.destinations = Destinations(DestinationFiles(state), provider, limits)
        self.keyrings = Keyrings(self.destinations, provider.unlocking)
        self.checks = DestinationChecks(self.destinations, provider, self.keyrings)
        self.destinations.taken_back = self.checks.take_back

    async def put(self, path: str) -> None:
        await self.destinations.put("store", PutDestination(1, LocalSettings(path)))


class InMemory:
    """Opens one store."""

    def __init__(self, store: Storage) -> None:
        self.store = store

    async def prepare(self, record: StoredDestination, *, make: bool) -> bool:
        return False

    async def discard(self, record: StoredDestination, *, made: bool) -> None:
        return None

    async def open(self, record: StoredDestination, conditional_create: bool) -> Storage:
        return self.store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    made.mkdir()
    return made


@pytest.fixture
async def agent(tmp_path: Path, root: Path) -> Agent:
    made = Agent(tmp_path / "state", root)
    await made.put("store")
    return made


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


async def test_an_empty_directory_is_made_checked_and_initialised(agent: Agent, root: Path) -> None:
    """Promise: an empty place becomes a repository, once; the second check finds the same one."""
    report = await agent.checks.check("store", CheckDestination(initialise=True, cluster_name="Test Cluster"))
    assert (report.ok, report.error, report.made, report.conditional_create) == (True, None, True, True)
    assert {result.outcome for result in report.results} <= {"ok", "skipped"}
    view = agent.destinations.view("store")
    assert (view.repository_id, view.cluster_id) == (report.repository_id, report.cluster_id)
    assert report.repository_id
    assert report.cluster_id
    assert all(name.startswith("store/helenus/v1/") for name in files(root))
    assert agent.destinations.record("store").conditional_create
    again = await agent.checks.check("store", CheckDestination(initialise=True, cluster_name="Test Cluster"))
    assert (again.ok, again.made) == (True, False)
    assert (again.repository_id, again.cluster_id) == (report.repository_id, report.cluster_id)


async def test_nodes_of_a_per_node_destination_get_the_same_ids(tmp_path: Path, root: Path) -> None:
    """Promise: per-node directories are one repository with one id."""
    wanted = CheckDestination(initialise=True, repository_id="r1", cluster_id="c1", cluster_name="x", conformance=False)
    for number in (1, 2):
        agent = Agent(tmp_path / f"state{number}", root)
        await agent.put(f"node{number}")
        report = await agent.checks.check("store", wanted)
        assert (report.ok, report.repository_id, report.cluster_id) == (True, "r1", "c1")


async def test_a_directory_whose_encrypted_repository_was_only_begun_keeps_its_id(agent: Agent, root: Path) -> None:
    """Promise: of each node's directory a look tells the id of what somebody began to make, and it is made under it."""
    encrypted = LocalSettings("store", encryption=Encryption("a long enough passphrase"))
    await agent.destinations.put("store", PutDestination(2, encrypted))
    first = await agent.checks.check("store", CheckDestination(initialise=True))
    shutil.rmtree(root / "store" / "helenus" / "v1" / "keys")
    look = await agent.checks.check("store", CheckDestination(conformance=False))
    assert (look.ok, look.repository_id) == (True, first.repository_id)
    named = await agent.checks.check("store", CheckDestination(conformance=False, cluster_name="c"))
    assert named.error is not None
    assert named.error["code"] == "repository_unfinished"
    again = await agent.checks.check(
        "store", CheckDestination(initialise=True, repository_id=first.repository_id, cluster_name="c")
    )
    assert (again.ok, again.repository_id) == (True, first.repository_id)


async def test_foreign_content_is_refused_and_named(agent: Agent, root: Path) -> None:
    """Promise: a place with somebody else's files is refused and left as it is."""
    (root / "store").mkdir()
    (root / "store" / "photo.jpg").touch()
    report = await agent.checks.check("store", CheckDestination(initialise=True, conformance=False))
    assert not report.ok
    assert report.error is not None
    assert report.error["code"] == "not_a_repository"
    assert files(root) == {"store/photo.jpg"}


async def test_what_a_crashed_check_left_is_no_foreign_content(agent: Agent, root: Path) -> None:
    """Promise: a check that died half way doesn't spoil the place for the next."""
    (root / "store" / "helenus-check").mkdir(parents=True)
    (root / "store" / "helenus-check" / "left").touch()
    report = await agent.checks.check("store", CheckDestination(initialise=True, conformance=False))
    assert report.ok


async def test_a_missing_directory_is_an_error_of_its_own_unless_it_is_to_be_made(agent: Agent) -> None:
    """Promise: a check that may not make the place says that it is missing."""
    report = await agent.checks.check("store", CheckDestination())
    assert not report.ok
    assert report.error is not None
    assert report.error["code"] == "bucket_missing"


@pytest.mark.parametrize("what", ["a file", "a file above", "foreign"])
async def test_what_is_wrong_with_a_directory_names_the_setting(tmp_path: Path, root: Path, what: str) -> None:
    """A form shows the error beside the field `path`."""
    other = Agent(tmp_path / "state", root)
    (root / "file").write_text("mine")
    (root / "store").mkdir()
    (root / "store" / "mine").write_text("mine")
    await other.put({"a file": "file", "a file above": "file/store", "foreign": "store"}[what])
    report = await other.checks.check("store", CheckDestination(initialise=True, conformance=False))
    assert report.error is not None
    fields = report.error["fields"]
    assert isinstance(fields, dict)
    assert (report.ok, fields["setting"]) == (False, "path")


async def test_a_check_alone_makes_no_repository(agent: Agent, root: Path) -> None:
    """Promise: without being told to, a check makes nothing."""
    (root / "store").mkdir()
    report = await agent.checks.check("store", CheckDestination())
    assert (report.ok, report.repository_id) == (True, None)
    assert files(root) == set()
    asked = await agent.checks.check("store", CheckDestination(repository_id="r1", conformance=False))
    assert asked.error is not None
    assert asked.error["code"] == "repository_gone"


async def test_a_destination_that_lost_its_repository_asks_whether_it_was_unmounted(agent: Agent, root: Path) -> None:
    """Promise: where a repository was before, an empty directory is no place to choose another one for: the error names
    the directory and the repository that was there, to a check, and to a command as well."""
    made = await agent.checks.check("store", CheckDestination(initialise=True, cluster_name="x", conformance=False))
    assert made.repository_id is not None
    assert made.cluster_id is not None
    shutil.rmtree(root / "store" / "helenus")
    look = CheckDestination(repository_id=made.repository_id, conformance=False)
    report = await agent.checks.check("store", look)

    async def verify(storage: Storage, target: Target, record: StoredDestination) -> None:
        await attach(
            storage, keys=None, initialise=False, repository_id=target.repository_id, cluster_id=None, cluster_name=None
        )

    repositories = OpenDestinations(agent.destinations, verify, Patience(0.0), HoldNotes(Path("none")))
    with pytest.raises(RepositoryGone) as gone:
        async with repositories.opened(Target("store", made.repository_id, made.cluster_id)):
            pass
    for error in (report.error, gone.value.as_dict()):
        assert error is not None
        assert (
            error["message"] == f"store is empty and held the repository {made.repository_id} before: was it "
            "unmounted, or emptied?"
        )
        assert "mounted" in str(error["todo"])
        assert "Choose" not in str(error["todo"])


async def test_a_nonce_is_found_where_the_directory_is_shared_and_not_elsewhere(tmp_path: Path, root: Path) -> None:
    """Promise: it is found out whether two agents see one directory."""
    first, shared, alone = (Agent(tmp_path / f"state{number}", root) for number in range(3))
    for agent, path in ((first, "same"), (shared, "same"), (alone, "other")):
        await agent.put(path)
    put = CheckDestination(initialise=True, nonce_put="n1", conformance=False)
    find = CheckDestination(initialise=True, nonce_find="n1", conformance=False)
    assert (await first.checks.check("store", put)).nonce_found is None
    assert (await shared.checks.check("store", find)).nonce_found is True
    assert (await alone.checks.check("store", find)).nonce_found is False
    assert [path.name for path in (root / "same" / NONCES).iterdir()] == ["n1"]


async def test_a_store_that_breaks_a_promise_is_unfit_and_gets_no_repository(tmp_path: Path, root: Path) -> None:
    """Promise: a store that doesn't keep the protocol is never used."""

    class Forgetful(LocalStorage):
        async def delete(self, keys: object) -> None:
            return None

    class Opening:
        async def prepare(self, record: StoredDestination, *, make: bool) -> bool:
            (root / "store").mkdir(exist_ok=True)
            return True

        async def discard(self, record: StoredDestination, *, made: bool) -> None:
            return None

        async def open(self, record: StoredDestination, conditional_create: bool) -> Storage:
            return Forgetful(root / "store")

    agent = Agent(tmp_path / "state", root)
    await agent.put("store")
    report = await DestinationChecks(agent.destinations, Opening(), agent.keyrings).check(
        "store", CheckDestination(initialise=True)
    )
    assert not report.ok
    assert report.error is not None
    assert report.error["code"] == "destination_unfit"
    assert "helenus/v1/repository.json" not in files(root / "store")


@pytest.mark.parametrize("kind", [Denied, DirectoryDenied, DirectoryReadOnly])
async def test_a_place_that_takes_nothing_is_told_with_its_own_error(
    tmp_path: Path, root: Path, kind: type[StorageError]
) -> None:
    """Promise: who adds a destination that can be read and not written reads why and what to do about it, not that a
    check of the store failed."""

    async def refuse(verb: str, key: str) -> None:
        if verb == "put":
            raise kind("no writing here")

    agent = Agent(tmp_path / "state", root)
    await agent.put("store")
    checks = DestinationChecks(agent.destinations, InMemory(MemoryStorage(hook=refuse)), agent.keyrings)
    report = await checks.check("store", CheckDestination(initialise=True))
    assert report.error is not None
    assert (report.ok, report.error["code"], report.error["todo"]) == (False, kind.code, kind.todo)


async def test_a_store_that_lists_1000_keys_only_is_unfit(tmp_path: Path, root: Path) -> None:
    """Promise: a sweep never trusts a listing that ends early: what it hides would count as used by no backup."""

    class FirstPage(MemoryStorage):
        async def list(self, prefix: str) -> AsyncIterator[Entry]:
            entries = [entry async for entry in super().list(prefix)]
            for entry in entries[:1000]:
                yield entry

    agent = Agent(tmp_path / "state", root)
    await agent.put("store")
    store = FirstPage()
    checks = DestinationChecks(agent.destinations, InMemory(store), agent.keyrings)
    report = await checks.check("store", CheckDestination(initialise=True))
    assert [result.name for result in report.results if result.outcome == "failed"] == ["past_1000_keys"]
    assert report.error is not None
    assert report.error["code"] == "destination_unfit"
    assert await store.head(REPOSITORY) is None


@pytest.mark.parametrize("second", [MemoryStorage, Overwriting])
async def test_each_agent_sees_for_itself_whether_its_store_creates_conditionally(
    tmp_path: Path, root: Path, second: Callable[[], Storage]
) -> None:
    """Promise: an agent that only attaches asks before each put no longer than it must, and trusts no other agent: its
    endpoint may lead to another store with a copy of the repository."""
    stores = {"first": MemoryStorage(), "second": second()}
    request = CheckDestination(initialise=True, repository_id="r1", cluster_id="c1", cluster_name="x")
    for name, store in stores.items():
        agent = Agent(tmp_path / name, root)
        await agent.put("store")
        opening = InMemory(store)
        report = await DestinationChecks(agent.destinations, opening, agent.keyrings).check("store", request)
        able = not isinstance(store, Overwriting)
        assert (report.ok, report.conditional_create) == (True, able)
        assert agent.destinations.record("store").conditional_create == able
        assert [key async for key in store.list(CHECKS)] == []
        again = await DestinationChecks(agent.destinations, opening, agent.keyrings).check("store", request)
        assert again.conditional_create == able
        assert name == "first" or again.results == []
        request = msgspec.structs.replace(request, conformance=False)


async def test_an_unknown_destination_is_an_error(agent: Agent) -> None:
    """Promise: only a destination that was put can be checked."""
    with pytest.raises(UnknownDestination):
        await agent.checks.check("nothing", CheckDestination())


async def test_a_directory_that_is_not_shared_is_left_as_it_was(tmp_path: Path, root: Path) -> None:
    """Promise: refused settings leave nothing, neither where the first agent made the repository nor where the others
    looked for it; a directory that was there stays, empty."""
    (root / "there").mkdir()
    agents = [Agent(tmp_path / f"state{number}", root) for number in range(3)]
    for agent, path in zip(agents, ("mine", "there", "none"), strict=True):
        await agent.put(path)
    put = CheckDestination(initialise=True, cluster_name="Test Cluster", nonce_put="n1")
    made = await agents[0].checks.check("store", put)
    assert (made.ok, made.made) == (True, True)
    find = CheckDestination(
        initialise=True,
        repository_id=made.repository_id,
        cluster_id=made.cluster_id,
        cluster_name="Test Cluster",
        nonce_find="n1",
        conformance=False,
    )
    assert [(await agent.checks.check("store", find)).nonce_found for agent in agents[1:]] == [False, False]
    for agent in agents:
        await agent.destinations.delete("store")
    assert [path.relative_to(root).as_posix() for path in root.rglob("*")] == ["there"]


@pytest.mark.parametrize("what", ["another cluster", "a plan", "older"])
async def test_a_repository_that_others_may_use_by_now_stays(tmp_path: Path, root: Path, what: str) -> None:
    """Promise: forgetting settings never takes data, or what somebody else put; the nonce goes all the same."""
    first, other = Agent(tmp_path / "state1", root), Agent(tmp_path / "state2", root)
    for agent in (first, other):
        await agent.put("same")
    put = CheckDestination(initialise=True, cluster_name="x", nonce_put="n1", conformance=False)
    made = await first.checks.check("store", put)
    match what:
        case "another cluster":
            await other.checks.check("store", CheckDestination(initialise=True, cluster_name="y", conformance=False))
        case "a plan":
            (root / "same" / "helenus/v1/plan.json").touch()
        case _:
            first.checks._trials._clock = lambda: float("inf")
    before = files(root)
    await first.destinations.delete("store")
    assert files(root) == (before if what == "older" else before - {f"same/{NONCES}n1"})
    report = await other.checks.check("store", CheckDestination(conformance=False))
    assert report.repository_id == made.repository_id


async def test_settings_of_another_place_take_back_what_was_made_for_the_former(agent: Agent, root: Path) -> None:
    """Promise: a change that is refused is undone by putting the former settings again."""
    put = CheckDestination(initialise=True, cluster_name="x", nonce_put="n1", conformance=False)
    await agent.checks.check("store", put)
    await agent.destinations.put("store", PutDestination(2, LocalSettings("former")))
    assert list(root.rglob("*")) == []


async def test_a_place_whose_repository_json_is_gone_is_no_empty_one(agent: Agent, root: Path) -> None:
    """Promise: also a check that asks for nothing tells it: a coordinator that looks where a repository is would make
    another one in the directories of the other nodes."""
    await agent.checks.check("store", CheckDestination(initialise=True, cluster_name="Test", conformance=False))
    (root / "store" / REPOSITORY).unlink()
    report = await agent.checks.check("store", CheckDestination(conformance=False))
    assert (report.ok, (report.error or {})["code"]) == (False, "repository_file_lost")
