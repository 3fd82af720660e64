"""Promise: settings become the right store, and a daemon without S3 never loads the SDK."""

import subprocess
import sys
from pathlib import Path

import pytest

from agent.storage.conformance import conform
from agent.storage.opened import open_storage
from agent.storage.protocol import BadSettings
from agent.wire.destinations import LocalSettings, S3Settings

SCRIPT = """
import sys, pathlib
from agent.storage.opened import open_storage
from agent.wire.destinations import LocalSettings
open_storage(LocalSettings(path="."), roots=[pathlib.Path(sys.argv[1])], conditional_create=True)
sdks = ("azure", "boto3", "botocore", "google", "requests", "urllib3")
loaded = sorted(name for name in sys.modules if name.split(".")[0] in sdks)
sys.exit(", ".join(loaded) or 0)
"""


MISSING = """
import sys
for name in ("azure", "google.cloud.storage", "google.auth"):
    sys.modules[name] = None
from agent.storage.opened import load, open_storage
from agent.storage.protocol import SdkMissing
from agent.wire.destinations import AzureSettings, GcsSettings
for settings in (GcsSettings(path="bucket"), AzureSettings(path="bucket", account="acme")):
    for call in (load, lambda settings: open_storage(settings, roots=[], conditional_create=True)):
        try:
            call(settings)
        except SdkMissing as error:
            print(error.code, error.fields["extra"])
"""


def test_a_provider_without_its_library_says_what_to_install() -> None:
    """Promise: an agent that was installed without a provider's extra names the extra, and goes on."""
    done = subprocess.run([sys.executable, "-c", MISSING], capture_output=True, text=True, check=False)
    expected = ["sdk_missing helenus[gcs]"] * 2 + ["sdk_missing helenus[azure]"] * 2
    assert done.stdout.splitlines() == expected, done.stderr


def test_a_local_destination_loads_no_sdk(tmp_path: Path) -> None:
    """Promise: a local destination costs no SDK."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_a_local_destination_opens_under_its_root(tmp_path: Path) -> None:
    """Promise: a relative path lies below the first root."""
    (tmp_path / "backups").mkdir()
    store = open_storage(LocalSettings(path="backups"), roots=[tmp_path], conditional_create=True)
    results = await conform(store, "scratch/", big=False)
    assert {result.outcome for result in results} == {"ok", "skipped"}
    await store.put("a/b", [b"x"])
    assert (tmp_path / "backups" / "a" / "b").read_bytes() == b"x"
    await store.close()


def test_a_directory_elsewhere_is_refused(tmp_path: Path) -> None:
    """Promise: a path outside the roots is refused."""
    with pytest.raises(BadSettings):
        open_storage(LocalSettings(path="/etc"), roots=[tmp_path], conditional_create=True)


async def test_s3_settings_open_an_s3_store() -> None:
    """Promise: S3 settings are checked when the store is opened."""
    settings = S3Settings(path="bucket/prefix", access_key="a", access_secret="b")
    store = open_storage(settings, roots=[], conditional_create=False)
    await store.close()
    with pytest.raises(BadSettings):
        open_storage(S3Settings(path="!"), roots=[], conditional_create=False)
