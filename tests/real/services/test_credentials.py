"""Keys that stop working while a command runs, against a real S3 server: the command waits, says so, and goes on with
the newest settings of the same repository; nobody sees the secret."""

import asyncio
from typing import Any

import pytest

from tests.cluster.stores import Versity
from tests.real.services.conftest import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

WRONG = "wrong-secret-of-tests"


async def until_waiting(site: Site, command: str) -> dict[str, Any]:
    async with asyncio.timeout(120):
        while True:
            view: dict[str, Any] = await site.agent.ask("GET", f"/v1/commands/{command}")
            if view["state"] == "waiting":
                return view
            assert view["state"] in ("queued", "running"), view
            await asyncio.sleep(0.1)


async def test_a_command_waits_for_keys_that_work_and_then_goes_on(site: Site, versity: Versity) -> None:
    """Design §4: the newest settings of the same repository are used."""
    await versity.make_bucket("rotated")
    path = "/v1/destinations/rotated"
    good = versity.settings("rotated")
    await site.agent.ask("PUT", path, {"revision": 1, "settings": good})
    report = await site.agent.ask("POST", f"{path}/check", {"initialise": True, "cluster_name": "one_50"})
    assert report["ok"], report
    target = {"destination": "rotated", "repository_id": report["repository_id"], "cluster_id": report["cluster_id"]}

    await site.agent.ask("PUT", path, {"revision": 2, "settings": versity.settings("rotated", access_secret=WRONG)})
    command = await site.agent.command("backup", site.backup_arguments(target, "rotated"))
    view = await until_waiting(site, command)
    assert view["error"]["code"] == "waiting_for_credentials"
    assert view["error"]["fields"]["destination"] == "rotated"
    status, error = await site.agent.call("GET", "/v1/backups?destination=rotated")
    assert (status, error["code"]) == (403, "storage_denied")  # a listing does not wait
    status, error = await site.agent.call("DELETE", path)
    assert (status, error["code"]) == (409, "destination_in_use")

    view = await site.agent.ask("PUT", path, {"revision": 3, "settings": good})
    assert view["settings"]["access_secret"] == "********"
    ended = await site.agent.ended(command)
    assert ended["state"] == "success", ended["error"]
    assert ended["error"] is None
    listed = await site.agent.ask("GET", "/v1/backups/rotated?destination=rotated")
    assert len(listed["manifests"]) == 1
    log = site.agent.log.read_text()
    assert WRONG not in log
    assert versity.access_secret not in log


async def test_a_check_with_wrong_keys_says_so_at_once(site: Site, versity: Versity) -> None:
    """Promise: a person who checks a destination isn't kept waiting for other keys."""
    await versity.make_bucket("denied")
    await site.agent.ask(
        "PUT", "/v1/destinations/denied", {"revision": 1, "settings": versity.settings("denied", access_secret=WRONG)}
    )
    report = await site.agent.ask("POST", "/v1/destinations/denied/check", {"initialise": True})
    assert (report["ok"], report["error"]["code"]) == (False, "storage_denied")


async def test_a_missing_bucket_is_an_error_of_its_own(site: Site, versity: Versity) -> None:
    """Promise: a bucket that isn't there is told from keys that are refused."""
    wanted = versity.settings("no-such-bucket")
    await site.agent.ask("PUT", "/v1/destinations/missing", {"revision": 1, "settings": wanted})
    report = await site.agent.ask("POST", "/v1/destinations/missing/check", {"initialise": True})
    assert (report["ok"], report["error"]["code"]) == (False, "bucket_missing")


async def test_settings_that_lead_to_another_repository_end_the_command(site: Site, versity: Versity) -> None:
    """`repository_mismatch`: a backup never lands where it was not meant to."""
    targets = {}
    for bucket in ("mine", "other"):
        await versity.make_bucket(bucket)
        wanted = versity.settings(bucket)
        await site.agent.ask("PUT", f"/v1/destinations/{bucket}", {"revision": 1, "settings": wanted})
        order = {"initialise": True, "cluster_name": "one_50", "conformance": False}
        targets[bucket] = await site.agent.ask("POST", f"/v1/destinations/{bucket}/check", order)
    mine = {
        "destination": "other",
        "repository_id": targets["mine"]["repository_id"],
        "cluster_id": targets["mine"]["cluster_id"],
    }
    view = await site.agent.ended(await site.agent.command("backup", site.backup_arguments(mine, "astray")))
    assert view["state"] == "failed"
    assert view["error"]["fields"]["targets"]["other"]["code"] == "repository_mismatch"
    assert site.snapshots() == set()
