"""A coordinator among agents of one minor version before its own, and one after it, by what such agents were recorded
to say (tests/fast/http/recorded/README.md)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from coordinator.model.orders import PointInTimeOrder
from coordinator.orchestrate.capable import kinds_of
from tests.cluster.toy_coordinator import CLUSTER, SLOW
from tests.cluster.toy_service import ToyService
from tests.recording.later import FEATURES, OneMinorAhead
from tests.recording.messages import SUFFIX
from tests.recording.replayed import Later, RecordedAgents

RECORDED = Path(__file__).parents[1] / "http" / "recorded"
BEFORE, NOW = "0.1-before-scripts", "0.1-with-scripts"
S3 = '{"provider": "s3", "path": "recorded-place", "access_key": "A", "access_secret": "s"}'


class Service(ToyService):
    """The whole coordinator over recorded agents."""

    def __init__(self, directory: Path, recorded: RecordedAgents) -> None:
        super().__init__(directory, {}, new_ids={1: recorded.recording.destination}, deadlines=SLOW)
        self.agents = recorded.agents  # type: ignore[assignment]

    async def done(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        """The status of the request that this begins, once it has ended."""
        status, told = await self.ask(method, f"/{CLUSTER}{path}", body)
        assert status in (200, 201, 202), told
        request = told if isinstance(told, str) else told["request_id"]
        return await self.ended(request)


@asynccontextmanager
async def serving(directory: Path, recorded: RecordedAgents) -> AsyncIterator[Service]:
    """With the recorded destination added, and its backups of before in the activity."""
    async with Service(directory, recorded) as service:
        added = await service.done("POST", "/backups/destinations", S3)
        assert added["state"] == "success", added
        yield service


def of(name: str, later: Later | None = None) -> RecordedAgents:
    return RecordedAgents(RECORDED / f"{name}{SUFFIX}", later)


async def whole_requests(service: Service, recorded: RecordedAgents) -> None:
    """List, back up, restore, copy, scrub, delete, and look at it, through the API."""
    place, tag = recorded.recording.destination, recorded.recording.tag
    status, listed = await service.ask("GET", f"/{CLUSTER}/backups?destination={place}")
    assert (status, [*listed] if isinstance(listed, dict) else [each["tag"] for each in listed]) == (200, [tag])
    taken = await service.done(
        "POST", "/backups/run", f'{{"destinations": {{"{place}": {{}}, "OPSC_ON_SERVER": {{}}}}}}'
    )
    assert taken["state"] == "success", taken
    restored = await service.done(
        "POST",
        f"/backups/restore/{tag}",
        f'{{"destination": "{place}", "keyspaces": {{"shop": {{"truncate": true}}}}}}',
    )
    assert restored["state"] == "success", restored
    scrubbed = await service.done("POST", "/backups/scrub", f'{{"destination": "{place}"}}')
    assert scrubbed["state"] == "success", scrubbed
    gone = await service.done("DELETE", "/backups", f'{{"tag": "{tag}", "destination": "{place}"}}')
    assert gone["state"] == "success", gone
    status, nodes = await service.ask("GET", f"/{CLUSTER}/nodes")
    assert (status, len(nodes)) == (200, 2)
    status, activity = await service.ask("GET", f"/{CLUSTER}/backup-activity")
    assert (status, {each["type"] for each in activity}) == (200, {"backup", "restore", "scrub", "delete"})


async def test_whole_requests_go_through_agents_of_the_version_before(tmp_path: Path) -> None:
    """Promise: agents of one minor version before are listed, backed up to, restored from, scrubbed, deleted from and
    followed, and are sent nothing that their own description doesn't have."""
    recorded = of(BEFORE)
    async with serving(tmp_path, recorded) as service:
        await whole_requests(service, recorded)
    assert recorded.refused == []
    assert len(recorded.said) > 25
    assert recorded.wrong(RECORDED / f"{BEFORE}-openapi.yaml") == []


async def test_what_an_older_agent_can_not_do_is_refused_before_it_begins(tmp_path: Path) -> None:
    """Promise: a backup with a script among agents that know none is refused with nodes and reason; they are told
    nothing, and no request is kept."""
    recorded = of(BEFORE)
    async with serving(tmp_path, recorded) as service:
        before = await service.coordinator.store.requests.find()
        status, told = await service.ask("POST", f"/{CLUSTER}/backups/run", '{"pre_snapshot_script": "freeze.sh"}')
        assert (status, told["code"]) == (409, "scripts_not_supported")
        assert sorted(told["fields"]["nodes"]) == [told.address for told in recorded.recording.agents]
        assert recorded.posted == []
        assert await service.coordinator.store.requests.find() == before


async def test_agents_that_lack_a_kind_are_named_before_anything_begins(tmp_path: Path) -> None:
    """Promise: whatever an order takes, the agents that can't do it are named, by what they themselves tell."""
    recorded = of(BEFORE, Lacking(["sync", "scrub", "import", "sweep"]))
    place, tag = recorded.recording.destination, recorded.recording.tag
    async with serving(tmp_path, recorded) as service:
        for method, path, body, lacks in (
            ("POST", "/backups/scrub", f'{{"destination": "{place}"}}', ["scrub"]),
            ("POST", f"/backups/restore/{tag}", f'{{"destination": "{place}"}}', ["import"]),
            ("DELETE", "/backups", f'{{"tag": "{tag}", "destination": "{place}"}}', ["sweep"]),
        ):
            status, told = await service.ask(method, f"/{CLUSTER}{path}", body)
            assert (status, told["code"]) == (409, "agents_too_old"), told
            assert told["fields"] == {
                "nodes": {told.address: "0.1.0" for told in recorded.recording.agents},
                "kinds": lacks,
            }
        assert recorded.posted == []


class Lacking(Later):
    """Without some kinds."""

    def __init__(self, kinds: list[str]) -> None:
        self._kinds = kinds

    def answer(self, pattern: str, answer: Any) -> Any:
        if pattern != "GET /v1/node":
            return answer
        return {**answer, "features": [each for each in answer["features"] if each not in self._kinds]}


def test_a_restore_to_a_point_takes_more_than_a_look_at_it() -> None:
    """Promise: an agent that can only check a point is asked for no more."""
    assert kinds_of(PointInTimeOrder(1, check=True)) == ("pit_check",)
    assert {"pit_stop", "pit_place", "pit_start"} < {*kinds_of(PointInTimeOrder(1))}


@pytest.mark.parametrize("name", [BEFORE, NOW])
async def test_whole_requests_go_through_agents_of_the_version_after(tmp_path: Path, name: str) -> None:
    """Promise: agents of one minor version ahead, who tell fields, features, events and states that nobody here knows,
    are listed, backed up to, restored from, scrubbed, deleted from and followed."""
    recorded = of(name, OneMinorAhead())
    async with serving(tmp_path, recorded) as service:
        await whole_requests(service, recorded)
        agents = service.coordinator.fleet.registry.agents(CLUSTER)
        assert agents[0].report is not None
        assert {*FEATURES} <= {*agents[0].report.features}
        view = await agents[0].client.destination(recorded.recording.destination)
        assert view.settings.path == "recorded-place"
