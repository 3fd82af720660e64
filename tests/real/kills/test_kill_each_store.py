"""kill -9 of the agent in the midst of a backup, the same backup resumed, and restored: on the stores, and in the form,
that the other tests of this folder leave out. Those have a local directory, SeaweedFS and azurite plain, and
fake-gcs-server encrypted; versitygw is here alone."""

import pytest

from tests.cluster.azurite import Azurite
from tests.cluster.crash_site import TERMINAL_SECONDS, CrashSite
from tests.cluster.gcs_stores import FakeGcs
from tests.cluster.moments import EACH_STORE
from tests.cluster.stores import ObjectStore, Seaweed, Versity

PASSPHRASE = "a passphrase of the tests"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def site(site_by_jolokia: CrashSite) -> CrashSite:
    return site_by_jolokia


@pytest.fixture(scope="module")
def stores(seaweed: Seaweed, versity: Versity, azurite: Azurite, gcs: FakeGcs) -> dict[str, ObjectStore | None]:
    """By name; None: a local directory."""
    return {"local": None, "seaweedfs": seaweed, "versitygw": versity, "azurite": azurite, "fake-gcs": gcs}


@pytest.mark.parametrize(
    ("store", "passphrase"),
    [
        ("local", PASSPHRASE),
        ("seaweedfs", PASSPHRASE),
        ("versitygw", None),
        ("versitygw", PASSPHRASE),
        ("azurite", PASSPHRASE),
        ("fake-gcs", None),
    ],
    ids=["local-sealed", "seaweedfs-sealed", "versitygw-plain", "versitygw-sealed", "azurite-sealed", "fake-gcs-plain"],
)
async def test_a_backup_is_resumed_and_restored_on(
    site: CrashSite, stores: dict[str, ObjectStore | None], store: str, passphrase: str | None
) -> None:
    """Promise: the killed backup succeeds in the same request, the oracle reads every byte of it, and a table that was
    emptied and one that was dropped get every row back from it."""
    await site.move_to(stores[store], passphrase)
    await site.arm_agent(EACH_STORE[0])
    backup = await site.start_backup()
    await site.die(EACH_STORE[1:])
    status = await site.succeeded(backup, TERMINAL_SECONDS)
    site.oracle.expect(str(status["tag"]), [part["host_id"] for part in status["details"]["subrequests"].values()])
    site.oracle.check()
    await site.disaster()
    await site.succeeded(await site.start_restore(str(status["tag"])))
    await site.all_is_well()
