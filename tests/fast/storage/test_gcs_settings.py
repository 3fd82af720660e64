"""Promise: only a service account's key from allowed places signs requests, it is shown to Google alone, and settings
that can't work are named at once."""

import asyncio
import functools
import json
import socket
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.credentials import AnonymousCredentials

from agent.storage import endpoints
from agent.storage.gcs.credentials import credentials_of
from agent.storage.gcs.storage import GcsStorage
from agent.storage.protocol import BadSettings, Transient
from agent.wire.destinations import GcsSettings

PLAIN = GcsSettings(path="bucket")


@functools.cache
def private_key() -> str:
    return (
        rsa.generate_private_key(65537, 2048)
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def key(**fields: object) -> str:
    """A service account's key as Google gives it out, changed by `fields`."""
    return json.dumps(
        {
            "type": "service_account",
            "client_email": "helenus@project.iam.gserviceaccount.com",
            "private_key": private_key(),
            "token_uri": "https://oauth2.googleapis.com/token",
            **fields,
        }
    )


def changed(**fields: object) -> GcsSettings:
    return msgspec.structs.replace(PLAIN, **fields)


def test_the_key_comes_from_the_settings_then_the_file_then_the_machine(tmp_path: Path) -> None:
    """Promise: the nearest key wins; without one the SDK looks at the environment and the machine's role."""
    file = tmp_path / "key.json"
    file.write_text(key(client_email="of-the-file"))
    both = changed(service_account_key=key(client_email="of-the-settings"), credentials_file=str(file))
    assert getattr(credentials_of(both, [tmp_path]), "service_account_email", "") == "of-the-settings"
    only_file = changed(credentials_file=str(file))
    assert getattr(credentials_of(only_file, [tmp_path]), "service_account_email", "") == "of-the-file"
    assert credentials_of(PLAIN, []) is None


def test_nothing_secret_goes_over_http(tmp_path: Path) -> None:
    """Promise: an http endpoint is asked anonymously, whatever the environment has; settings with a key are refused."""
    assert isinstance(credentials_of(changed(endpoint="http://emulator:4443"), []), AnonymousCredentials)
    for fields in ({"service_account_key": key()}, {"credentials_file": str(tmp_path / "key.json")}):
        for endpoint in ("http://emulator", "HTTP://emulator"):
            with pytest.raises(BadSettings, match="https only"):
                credentials_of(changed(endpoint=endpoint, **fields), [tmp_path])


@pytest.mark.parametrize(
    "address",
    [
        "http://oauth2.googleapis.com/token",
        "https://oauth2.googleapis.com.evil.example/token",
        "https://evil.example/.googleapis.com/token",
        "https://evil.example#.googleapis.com/token",
        "https://x@evil.example/googleapis.com/",
        "https://169.254.169.254/token",
        "https://[::1/token",
        None,
    ],
)
def test_a_key_that_asks_for_its_tokens_elsewhere_is_refused(address: str | None) -> None:
    """Promise: what a key signs goes to Google, or to the destination's own endpoint, and nowhere else."""
    for endpoint in ("", "https://store.example:4443"):
        with pytest.raises(BadSettings, match="elsewhere"):
            credentials_of(changed(endpoint=endpoint, service_account_key=key(token_uri=address)), [])
    own = changed(
        endpoint="https://store.example:4443", service_account_key=key(token_uri="https://Store.example:4443/t")
    )
    private = changed(service_account_key=key(token_uri="https://oauth2-inside.p.googleapis.com/token"))
    assert credentials_of(own, []) is not None
    assert credentials_of(private, []) is not None


@pytest.mark.parametrize(
    "text",
    [
        "canary-1234",
        '{"canary-1234": 1}',
        '["canary-1234"]',
        '{"type": "external_account", "credential_source": {"executable": {"command": "canary-1234"}}}',
        '{"type": "authorized_user", "refresh_token": "canary-1234"}',
        '{"type": "service_account", "token_uri": "https://oauth2.googleapis.com/token", "private_key": "canary-1234"}',
        '{"type": "service_account", "token_uri": "https://oauth2.googleapis.com/token", "client_email": "a",'
        ' "private_key": "-----BEGIN PRIVATE KEY-----canary-1234"}',
    ],
)
def test_what_is_no_service_accounts_key_is_refused_and_never_quoted(tmp_path: Path, text: str) -> None:
    """Promise: I9: neither the settings' key nor a wrong file is shown; a kind that runs programs is no key."""
    file = tmp_path / "key.json"
    file.write_text(text)
    for fields in ({"service_account_key": text}, {"credentials_file": str(file)}):
        with pytest.raises(BadSettings) as refusal:
            credentials_of(changed(**fields), [tmp_path])
        assert refusal.value.fields["setting"] == next(iter(fields))
        assert "canary" not in str(refusal.value.as_dict())


def test_files_outside_of_the_allowed_directories_are_not_opened(tmp_path: Path) -> None:
    """Promise: settings read no file that the agent wasn't allowed."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_text(key())
    (inside / "link").symlink_to(tmp_path / "secret")
    for path in (str(tmp_path / "secret"), str(inside / "link"), "secret"):
        with pytest.raises(BadSettings, match=r"outside|slash"):
            credentials_of(changed(credentials_file=path), [inside])
        with pytest.raises(BadSettings, match=r"outside|slash"):
            GcsStorage(changed(ca_file=path), conditional_create=True, file_roots=[inside])


@pytest.mark.parametrize(
    ("fields", "setting"),
    [
        ({"path": ""}, "path"),
        ({"path": "bucket/../x"}, "path"),
        ({"endpoint": "host:9000"}, "endpoint"),
        ({"endpoint": "https://user:password@host"}, "endpoint"),
        ({"connections": 0}, "connections"),
        ({"connections": 65}, "connections"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(fields: dict[str, object], setting: str) -> None:
    """Promise: each setting that can't work is named before the first request."""
    with pytest.raises(BadSettings) as refusal:
        GcsStorage(changed(**fields), conditional_create=True)
    assert refusal.value.fields["setting"] == setting


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[fd00:ec2::254]"])
async def test_link_local_endpoints_are_refused_unless_listed(host: str) -> None:
    """The clouds' metadata services, which hand out credentials, live there."""
    store = GcsStorage(changed(endpoint=f"http://{host}"), conditional_create=True)
    with pytest.raises(BadSettings, match="link-local"):
        await store.head("a")
    await store.close()


async def test_a_name_that_means_a_metadata_service_a_moment_later_gets_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: the first look-up is harmless, the connection goes elsewhere; its peer is what counts. A host
    that the agent's configuration lists is asked all the same."""
    received: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(note, "127.0.36.11", 0)
    port = server.sockets[0].getsockname()[1]
    answers = iter(["127.0.36.10"])
    monkeypatch.setattr(endpoints, "is_of_metadata", lambda address: address == "127.0.36.11")
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, there, *_, **__: [(2, 1, 6, "", (next(answers, "127.0.36.11"), there or 0))],
    )
    settings = changed(endpoint=f"http://rebinds.test:{port}")
    store = GcsStorage(settings, conditional_create=True)
    with pytest.raises(BadSettings, match="metadata service") as refusal:
        await store.head("a")
    assert refusal.value.fields["address"] == "127.0.36.11"
    await store.close()
    async with asyncio.timeout(60):
        while not received:  # noqa: ASYNC110 another task's work
            await asyncio.sleep(0.001)
    assert received == [b""]
    listed = GcsStorage(settings, conditional_create=True, link_local=["rebinds.test"])
    with pytest.raises(Transient):
        await listed.head("a")
    assert received[1].startswith(b"GET /storage/v1/b/bucket/o/a")
    await listed.close()
    server.close()
    await server.wait_closed()
