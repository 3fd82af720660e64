"""Record agents of a checkout, driven by this one's coordinator:

    python -m tests.recording NAME CHECKOUT WHAT

NAME becomes tests/fast/http/recorded/NAME-agents.json, with the checkout's description of its protocol beside it; WHAT
says which state of the sources CHECKOUT is. A coordinator adds a destination, backs up to it, copies, lists, restores,
scrubs and deletes; then the agents are asked what they don't know.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from agent.wire.destinations import S3Settings
from coordinator.model.orders import Copy, DeleteOrder, RestoreOrder, ScrubOrder, SyncOrder
from coordinator.model.requests import RequestState
from tests.cluster.toy_coordinator import CLUSTER, SLOW, ToyCoordinator
from tests.recording import toys
from tests.recording.messages import SUFFIX, Recording, Told
from tests.recording.relays import Relay, without_repeats

INTO = Path(__file__).parents[1] / "fast" / "http" / "recorded"
PLACE, OTHER = "recorded-place", "recorded-other-place"


async def drive(coordinator: ToyCoordinator) -> str:
    """Whole requests of each kind; the tag of the backup that is left in the destination."""
    for place in (PLACE, OTHER):
        await coordinator.destination(place, S3Settings(path=place, access_key="A", access_secret="s"))
    tag, ended = await coordinator.backup(keep=True, copies=[Copy(PLACE)])
    assert ended.state is RequestState.SUCCESS, ended
    start = coordinator.orchestrator
    await coordinator.ended(await start.start_sync(CLUSTER, SyncOrder(tag, [Copy(OTHER)])))
    for listed in (PLACE, OTHER, None):
        assert [each.tag for each in await start.list_backups(CLUSTER, listed)] == [tag]
    done = [
        await start.start_restore(CLUSTER, RestoreOrder(tag, PLACE, truncate=True)),
        await start.start_scrub(CLUSTER, ScrubOrder(PLACE, whole=True)),
    ]
    for each in done:
        assert (request := await coordinator.ended(each)).state is RequestState.SUCCESS, request
    for order in (DeleteOrder(tag, OTHER, dry_run=True), DeleteOrder(tag, OTHER), DeleteOrder(tag)):
        request = await coordinator.ended(await start.start_delete(CLUSTER, order))
        assert request.state is RequestState.SUCCESS, request
    return tag


async def ask_what_they_do_not_know(relay: Relay) -> None:
    """Their refusals are answers too."""
    await relay.ask("GET", "/health")
    await relay.ask("GET", "/v1/archiving")
    await relay.ask("GET", "/v1/node?known=a-shape")
    await relay.ask("GET", "/v1/node?of_later=1")
    await relay.ask("POST", "/v1/commands", {"id": "unknown-1", "kind": "of_later", "arguments": {}})
    script = {"name": "freeze.sh", "tag": "t", "when": "pre"}
    await relay.ask("POST", "/v1/commands", {"id": "unknown-2", "kind": "script", "arguments": script})


async def record(tree: Path, of: str) -> Recording:
    """Run it all."""
    with tempfile.TemporaryDirectory() as scratch:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            toys.__file__,
            str(tree),
            scratch + "/agents",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=tree,
        )
        assert process.stdout is not None and process.stdin is not None  # noqa: PT018
        urls = msgspec.json.decode(await process.stdout.readline(), type=list[str])
        try:
            async with AsyncExitStack() as stack:
                hosts = [url.rpartition(":")[0].rpartition("/")[2] for url in urls]
                relays = [
                    await stack.enter_async_context(Relay(host, url)) for host, url in zip(hosts, urls, strict=True)
                ]
                driven = ToyCoordinator(Path(scratch) / "coordinator", [relay.url for relay in relays], deadlines=SLOW)
                async with driven as coordinator:
                    tag = await drive(coordinator)
                for relay in relays:
                    await ask_what_they_do_not_know(relay)
        finally:
            process.stdin.close()
            await process.wait()
    told = [Told(relay.address, without_repeats(relay.messages), relay.events) for relay in relays]
    return Recording(of, tag, PLACE, told)


def in_lines(recording: Recording) -> bytes:
    """As JSON, a message or an event a line."""
    text = msgspec.json.encode(recording)
    for mark in (b'{"pattern":', b'{"sequence":', b'{"address":"127', b'"events":'):
        text = text.replace(mark, b"\n" + mark)
    return text + b"\n"


def main() -> None:
    """Parse the arguments and write the files."""
    parser = argparse.ArgumentParser(prog="python -m tests.recording", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("checkout", type=Path)
    parser.add_argument("what")
    asked = parser.parse_args()
    recording = asyncio.run(record(asked.checkout.resolve(), asked.what))
    (INTO / f"{asked.name}{SUFFIX}").write_bytes(in_lines(recording))
    shutil.copy(asked.checkout / "agent" / "http" / "openapi.yaml", INTO / f"{asked.name}-openapi.yaml")


if __name__ == "__main__":
    main()
