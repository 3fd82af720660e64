"""kill -9 of a coordinator that rebuilds its activity, and the loss of a real one's file."""

from types import SimpleNamespace
from typing import Any

from agent.wire.destinations import S3Settings
from coordinator.model.orders import Copy
from coordinator.store.sqlite import FILE
from tests.cluster.services import CoordinatorProcess, write_secret
from tests.cluster.toy_coordinator import CLUSTER
from tests.orchestrate.conftest import Scene
from tests.orchestrate.mortal import Mortal

BUCKET = S3Settings(path="bucket", access_key="A", access_secret="s")
DEATHS = [(4, True), (5, False), (5, True), (6, True), (7, False), (8, False)]
"""Writes from the request that tells the agents on: entries of three backups, and its end."""
START_SECONDS = 90.0
"""For a process beside many others."""


async def test_a_coordinator_that_is_killed_between_two_entries_adds_the_others_later(scene: Scene) -> None:
    """Promise: wherever it dies, in the end each backup has one entry, under the id that it would have had anyhow."""
    first = await scene.coordinator("first")
    await first.destination("there", BUCKET)
    tags = sorted([(await first.backup(copies=[Copy("there")], keep=False))[0] for _ in range(3)])
    await scene.stack.aclose()
    urls = [agent.url for agent in scene.agents]
    settings = {"provider": "s3", "path": "bucket", "access_key": "A", "access_secret": "s"}
    found = []
    async with Mortal() as mortal:
        for number, death in enumerate(DEATHS):
            order = {"action": "add", "id": "again", "settings": settings}
            state = scene.directory / f"life{number}"
            answer = await mortal.carry_out(state, urls, "destination", order, [death])
            assert ({*answer["states"]}, answer["lives"]) == ({"success"}, 2), (death, answer)
            coordinator = await scene.coordinator(f"life{number}")
            events = await coordinator.store.requests.events(CLUSTER)
            assert sorted(event.tag for event in events) == tags, death
            found.append(sorted((event.tag, event.request, event.status) for event in events))
            await scene.stack.aclose()
    assert all(each == found[0] for each in found)


async def test_a_real_coordinator_whose_file_was_deleted_tells_of_its_backups_again(scene: Scene) -> None:
    """Promise: the process is stopped, its file removed, and started: once the destination is named again, its backups
    are listed and stand in the activity, marked as rebuilt, and each one's request can be asked for."""
    token = write_secret(scene.directory / "agents-token", "none-is-asked-for")
    agents: Any = [SimpleNamespace(url=agent.url, address="127.0.80.200", token_file=token) for agent in scene.agents]
    process = CoordinatorProcess(agents, scene.directory / "process", cluster=CLUSTER)
    await process.start(START_SECONDS)
    try:
        before = await _with_destination(process)
        status, run = await process.call("POST", f"/{CLUSTER}/backups/run", {"destinations": {before: {}}})
        assert status in (200, 202), run
        await _ended(process, run)
        _, listed = await process.call("GET", f"/{CLUSTER}/backups?destination={before}")
        _, told = await process.call("GET", f"/{CLUSTER}/backup-activity?filter_type=backup")
        await process.stop()
        for file in process.state_directory.glob(f"{FILE}*"):
            file.unlink()
        await process.start(START_SECONDS)
        assert (await process.call("GET", f"/{CLUSTER}/backup-activity"))[1] == []
        after = await _with_destination(process)
        _, listed_again = await process.call("GET", f"/{CLUSTER}/backups?destination={after}")
        assert listed_again == listed
        _, told_again = await process.call("GET", f"/{CLUSTER}/backup-activity?filter_type=backup")
        [event] = [each for each in told if each["destination"]["id"] == before]
        [again] = told_again
        assert abs(again["event_time"] - event["event_time"]) <= 60  # the one of the tag, the other of the request
        own = {name: again[name] for name in ("destination", "request_id", "event_time", "week")}
        assert again == {**event, **own, "rebuilt": True}
        status, request = await process.call("GET", f"/request/{again['request_id']}/status")
        assert (status, request["type"], request["state"]) == (200, "rebuilt", "success")
        assert request["tag"] == event["backup_id"]
    finally:
        await process.stop()


async def _with_destination(process: CoordinatorProcess) -> str:
    """Add the destination; its id, once all agents know it."""
    settings = {"provider": "local", "path": "kept", "shared": True}
    status, told = await process.call("POST", f"/{CLUSTER}/backups/destinations", settings)
    assert status in (200, 201), told
    await _ended(process, told["request_id"])
    return str(told["destination_id"]["id"])


async def _ended(process: CoordinatorProcess, told: Any) -> None:
    request = told if isinstance(told, str) else told["request_id"]

    async def over() -> bool:
        _, status = await process.call("GET", f"/request/{request}/status")
        assert status["state"] in ("running", "success"), status
        return bool(status["state"] == "success")

    await process.child.until("done", over, 60.0)
