"""Secrets of destinations in answers: masked, but where an admin of the coordinator has them shown to admins."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
import structlog

from agent.wire.destinations import MASK
from coordinator.main import prepare, serve
from coordinator.model.access import Role
from coordinator.model.settings import AccessSettings
from kit.logs import Redactor
from kit.notify import Notifier
from tests.fast.coordinator.access_site import BEARER, PLACE, SECRET, TOKEN_NEEDED, Site, site
from tests.fast.coordinator.conftest import OPEN
from tests.fast.coordinator.test_service import configuration

AT = "/Test_Cluster/backups/destinations"
SHOWN = AccessSettings(show_secrets_to_admins=True)


async def shown_to(served: Site, header: dict[str, str]) -> set[str]:
    """What who shows this header reads for the secret, in the list and of the one."""
    listed = (await served.ask("GET", AT, headers=header))[1][PLACE]
    one = (await served.ask("GET", f"{AT}/{PLACE}", headers=header))[1]
    return {listed["access_secret"], one["access_secret"]}


@pytest.mark.parametrize("switch", [False, True])
async def test_secrets_are_masked_unless_the_switch_shows_them_to_admins(tmp_path: Path, switch: bool) -> None:
    """Promise: nobody reads a destination's secret; with the switch admins' sessions and the token do, and no other
    role."""
    async with site(tmp_path, TOKEN_NEEDED, AccessSettings(show_secrets_to_admins=switch)) as served:
        for role in Role:
            await served.add(role.value, role)
        told = {role: await shown_to(served, await served.header(role.value)) for role in Role}
        told_token = await shown_to(served, BEARER)
        admins = {SECRET} if switch else {MASK}
        assert told == {Role.READ: {MASK}, Role.BACKUP: {MASK}, Role.RESTORE: {MASK}, Role.ADMIN: admins}
        assert told_token == admins


async def test_the_switch_shows_nothing_to_who_shows_no_credential(tmp_path: Path) -> None:
    """Promise: where everybody of the machine may ask, nobody reads secrets, whatever the switch says."""
    async with site(tmp_path, OPEN, SHOWN) as served:
        assert await shown_to(served, {}) == {MASK}


async def test_the_switch_is_for_get_alone_and_for_one_secret(tmp_path: Path) -> None:
    """Promise: an order about a destination is answered, and its refusal told, without its secret; other secrets stay
    masked as OpsCenter has none of them."""
    async with site(tmp_path, TOKEN_NEEDED, SHOWN) as served:
        body = {
            "provider": "s3",
            "path": "b2",
            "access_key": "k",
            "access_secret": "canary-1",
            "session_token": "canary-2",
        }
        status, told = await served.ask("POST", AT, json=body, headers=BEARER)
        assert status == 200
        assert "canary" not in str(told)
        _, told = await served.ask("GET", f"{AT}/{told['destination_id']['id']}", headers=BEARER)
        assert (told["access_secret"], told["session_token"]) == ("canary-1", MASK)
        _, told = await served.ask("POST", AT, json={**body, "connections": "canary-1"}, headers=BEARER)
        assert "canary" not in str(told)


class Begun(Notifier):
    """Stops the coordinator as soon as it has started."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(environment)
        self.stop = asyncio.Event()

    def ready(self) -> None:
        self.stop.set()


@pytest.mark.parametrize(
    ("access", "told"),
    [
        ("", []),
        ("show_secrets_to_admins = true", ["secrets of destinations are shown to admins"]),
        ("login = true", ["nobody can log in yet"]),
    ],
)
async def test_the_log_warns_once_at_the_start(tmp_path: Path, access: str, told: list[str]) -> None:
    """Promise: that secrets are shown, and that nobody could log in, is told when the coordinator starts, once."""
    file = configuration(tmp_path)
    kept = file.read_text().replace(f'token_file = "{tmp_path}/token"\n', "")
    file.write_text(f"{kept}[access]\n{access}\n")
    begun = Begun({})
    with structlog.testing.capture_logs() as lines:
        await serve(prepare(file), Redactor(), begun, begun.stop)
    warned = [line["event"] for line in lines if line["log_level"] == "warning" and "agent" not in line["event"]]
    assert [event.partition(":")[0] for event in warned] == told
