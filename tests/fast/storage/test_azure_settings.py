"""Promise: one plain credential from an allowed place, no metadata service, and settings that can't work are named."""

import json
from pathlib import Path

import msgspec
import pytest

from agent.storage import endpoints, watched_pools
from agent.storage.azure.credentials import AccountKey, Credential, Sas, credential_of
from agent.storage.azure.storage import AzureStorage
from agent.storage.protocol import BadSettings, Denied
from agent.wire.destinations import AzureSettings, masked, place_of, recipient_of
from kit.secret import Secret

KEY = "dGhlIHNlY3JldA=="
SAS = "sv=2021-12-02&sr=c&sig=canary%2F1234"
PLAIN = AzureSettings(path="bucket", account="acme", account_key=KEY)
BARE = AzureSettings(path="bucket", account="acme")


def changed(**fields: object) -> AzureSettings:
    return msgspec.structs.replace(PLAIN, **fields)


def from_file(path: Path, root: Path) -> Credential | None:
    return credential_of(AzureSettings(path="b", account="acme", credentials_file=str(path)), [root], {})


def test_the_nearest_credential_wins(tmp_path: Path) -> None:
    """Promise: settings, then their file, then the environment; without any, the machine's identity is asked."""
    file = tmp_path / "key.json"
    file.write_text(json.dumps({"account_key": "RklMRQ=="}))
    string = {"AZURE_STORAGE_CONNECTION_STRING": f"AccountName=acme;SharedAccessSignature=?{SAS}"}
    environment = {"AZURE_STORAGE_KEY": "RU5W"}
    assert credential_of(changed(credentials_file=str(file)), [tmp_path], environment) == AccountKey(Secret(KEY))
    assert credential_of(changed(account_key="", sas_token="?" + SAS), [], environment) == Sas(Secret(SAS))
    assert from_file(file, tmp_path) == AccountKey(Secret("RklMRQ=="))
    assert credential_of(BARE, [], {**environment, **string}) == Sas(Secret(SAS))
    assert credential_of(BARE, [], environment) == AccountKey(Secret("RU5W"))
    assert credential_of(BARE, [], {"AZURE_STORAGE_SAS_TOKEN": SAS}) == Sas(Secret(SAS))
    assert credential_of(BARE, [], {}) is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        '{"account_key": 5}',
        "",
        "a text",
        "AccountName=other;AccountKey=dGhlIHNlY3JldA==",
        "AccountName=acme;AccountKey=not base64",
        "AccountName=acme;SharedAccessSignature=sv=1",
        f"AccountKey={KEY};SharedAccessSignature={SAS}",
        "\udcff",
    ],
)
def test_a_file_without_one_credential_is_refused_and_never_quoted(tmp_path: Path, text: str) -> None:
    """Promise: I9: what lies in a wrong file is not shown, and another account's key is not used."""
    file = tmp_path / "credentials"
    file.write_bytes(text.encode("utf-8", "surrogateescape") + b" canary-1234 ")
    with pytest.raises(BadSettings) as refusal:
        from_file(file, tmp_path)
    assert refusal.value.fields["setting"] == "credentials_file"
    assert "canary" not in str(refusal.value.as_dict())


def test_files_outside_of_the_allowed_directories_are_not_opened(tmp_path: Path) -> None:
    """Promise: settings read no file that the agent wasn't allowed."""
    with pytest.raises(BadSettings, match="outside"):
        from_file(Path("/etc/hostname"), tmp_path)
    with pytest.raises(BadSettings, match="outside"):
        AzureStorage(changed(ca_file="/etc/hostname"), conditional_create=True, file_roots=[tmp_path])
    with pytest.raises(BadSettings, match="no such"):
        AzureStorage(changed(ca_file=str(tmp_path / "none")), conditional_create=True, file_roots=[tmp_path])


@pytest.mark.parametrize(
    ("fields", "setting"),
    [
        ({"path": ""}, "path"),
        ({"path": "bucket/../x"}, "path"),
        ({"account": "Acme.Corp"}, "account"),
        ({"account": ""}, "account"),
        ({"endpoint": "host:9000"}, "endpoint"),
        ({"endpoint": "http://user:password@host"}, "endpoint"),
        ({"endpoint": "http://host?sig=x"}, "endpoint"),
        ({"connections": 0}, "connections"),
        ({"connections": 65}, "connections"),
        ({"sas_token": SAS}, "account_key"),
        ({"account_key": "ä"}, "account_key"),
        ({"account_key": "", "sas_token": "sig=a b"}, "account_key"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(fields: dict[str, object], setting: str) -> None:
    """Promise: each setting that can't work is named before the first request."""
    with pytest.raises(BadSettings) as refusal:
        AzureStorage(changed(**fields), conditional_create=True)
    assert refusal.value.fields["setting"] == setting


async def test_link_local_endpoints_are_refused_before_and_while_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: the metadata services are never sent a request, not even when a name means them a moment later."""
    store = AzureStorage(changed(endpoint="http://169.254.169.254"), conditional_create=True)
    with pytest.raises(BadSettings, match="link-local"):
        await store.head("a")
    await store.close()
    monkeypatch.setattr(watched_pools, "watched", _refuse)
    store = AzureStorage(changed(endpoint="http://127.0.36.10:9"), conditional_create=True)
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: None)
    monkeypatch.setattr("urllib3.util.connection.create_connection", lambda *_, **__: None)
    with pytest.raises(BadSettings, match="metadata service"):
        await store.head("a")
    await store.close()


def _refuse(connection: object, sock: object) -> object:
    endpoints.refuse_address("rebinds.test", "169.254.169.254")
    return sock


async def test_without_any_credential_and_library_the_way_out_is_told() -> None:
    """Promise: without azure-identity an agent that has no key says what to install; nothing is sent unsigned."""
    store = AzureStorage(BARE, conditional_create=True, environment={})
    with pytest.raises(Denied, match="pip install azure-identity"):
        await store.head("a")
    await store.close()


def test_secrets_are_masked_and_go_to_one_store_only() -> None:
    """Promise: I9: no secret is shown, and another account or endpoint is another recipient."""
    shown = str(masked(changed(sas_token=SAS)))
    assert KEY not in shown
    assert "canary" not in shown
    assert KEY not in repr(credential_of(PLAIN, [], {}))
    assert recipient_of(changed(account="other")) != recipient_of(PLAIN)
    assert recipient_of(changed(endpoint="https://elsewhere")) != recipient_of(PLAIN)
    assert place_of(changed(endpoint="https://acme.blob.core.windows.net")) == place_of(PLAIN)
    assert place_of(changed(endpoint="https://Host:443/")) == place_of(changed(endpoint="https://host"))
