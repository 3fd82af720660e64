"""The check of a real directory that is to be encrypted, as the daemon composes it."""

import os
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from agent.daemon.measures import StorageMeasures
from agent.daemon.provider import Provider
from agent.daemon.settings import DestinationSettings
from agent.repository.check import DestinationChecks
from agent.repository.destination_files import DestinationFiles
from agent.repository.destinations import Destinations
from agent.repository.keyrings import Keyrings
from agent.repository.limits import Limits
from agent.wire.destinations import CheckDestination, Encryption, LocalSettings, PutDestination


async def test_a_directory_is_made_encrypted_by_a_key_file(tmp_path: Path) -> None:
    """Promise: the check of settings with a key file makes an encrypted repository on disk; with a passphrase instead,
    or a file that is gone, it answers with the error by its code and writes nothing."""
    for name in ("root", "keys"):
        (tmp_path / name).mkdir()
    key = tmp_path / "keys" / "one"
    key.write_bytes(os.urandom(32))
    key.chmod(0o600)
    allowed = DestinationSettings(local_roots=[str(tmp_path / "root")], file_roots=[str(tmp_path / "keys")])
    limits = Limits()
    provider = Provider(allowed, limits, StorageMeasures(CollectorRegistry()), tmp_path / "state")
    told: list[str] = []
    files = DestinationFiles(tmp_path / "state")
    destinations = Destinations(files, provider, limits, register_secret=told.append)
    checks = DestinationChecks(destinations, provider, Keyrings(destinations, provider.unlocking))
    request = CheckDestination(initialise=True, cluster_name="test", conformance=False)
    codes: list[object] = []
    fields: list[Any] = []
    for revision, encryption in enumerate(
        (Encryption(key_file=str(key)), Encryption("a phrase"), Encryption(passphrase_file=str(key) + "x")), 1
    ):
        settings = LocalSettings("store", encryption=encryption)
        await destinations.put("store", PutDestination(revision, settings))
        report = await checks.check("store", request)
        codes.append(report.error and report.error["code"])
        fields.append(report.error and report.error["fields"])
    assert codes == [None, "encryption_key_wrong", "encryption_not_possible"]
    assert [found and found["setting"] for found in fields] == [None, "encryption", "passphrase_file"]
    assert "a phrase" in told
    slots = tmp_path / "root" / "store" / "helenus" / "v1" / "keys"
    assert [path.name for path in slots.iterdir()] == ["0.json"]
    assert (tmp_path / "state" / "store.json").stat().st_mode & 0o777 == 0o600
