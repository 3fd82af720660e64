"""Promise: only plain keys from allowed places, no metadata service, and settings that can't work are named at once."""

import asyncio
import json
import socket
from pathlib import Path

import msgspec
import pytest
from botocore.utils import parse_timestamp

from agent.storage import endpoints
from agent.storage.protocol import BadSettings, Transient
from agent.storage.s3.client import instant_of
from agent.storage.s3.credentials import Keys, keys_of
from agent.storage.s3.storage import S3Storage
from agent.wire.destinations import S3Settings
from kit.secret import Secret

PLAIN = S3Settings(path="bucket", access_key="AK", access_secret="the secret")


def changed(**fields: object) -> S3Settings:
    return msgspec.structs.replace(PLAIN, **fields)


def from_file(path: Path, root: Path, profile: str = "default") -> Keys | None:
    return keys_of(S3Settings(path="b", credentials_file=str(path), profile=profile), [root], {})


def test_keys_come_from_the_settings_then_the_file_then_the_environment(tmp_path: Path) -> None:
    """Promise: the nearest keys win, and no other place is asked."""
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"access_key": "F", "access_secret": "f"}))
    environment = {"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "e", "AWS_SESSION_TOKEN": "t"}
    both = changed(credentials_file=str(file))
    assert keys_of(both, [tmp_path], environment) == Keys("AK", Secret("the secret"), Secret(""))
    only_file = S3Settings(path="b", credentials_file=str(file))
    assert keys_of(only_file, [tmp_path], environment) == Keys("F", Secret("f"), Secret(""))
    assert keys_of(S3Settings(path="b"), [], environment) == Keys("E", Secret("e"), Secret("t"))
    assert keys_of(S3Settings(path="b"), [], {}) is None


def test_both_forms_of_a_credentials_file_are_read(tmp_path: Path) -> None:
    """Promise: INI and JSON of the usual tools are understood."""
    ini = tmp_path / "credentials"
    ini.write_text("[default]\naws_access_key_id = A\naws_secret_access_key = s%40\n[other]\nregion=x\n")
    assert from_file(ini, tmp_path) == Keys("A", Secret("s%40"), Secret(""))
    cli = tmp_path / "cli.json"
    cli.write_text(json.dumps({"AccessKeyId": "A", "SecretAccessKey": "s", "SessionToken": "t"}))
    assert from_file(cli, tmp_path) == Keys("A", Secret("s"), Secret("t"))


@pytest.mark.parametrize(
    "line",
    ["credential_process = /bin/evil", "role_arn = arn:x", "source_profile = x", "web_identity_token_file = /x"],
)
def test_a_profile_that_does_more_than_name_keys_is_refused(tmp_path: Path, line: str) -> None:
    """Promise: a credentials file runs nothing and calls nobody."""
    file = tmp_path / "credentials"
    file.write_text(f"[default]\naws_access_key_id = A\naws_secret_access_key = s\n{line}\n")
    with pytest.raises(BadSettings) as refusal:
        from_file(file, tmp_path)
    assert refusal.value.fields["setting"] == "credentials_file"


@pytest.mark.parametrize("text", ["{", "{}", "[x", "[default]\n", "", '{"access_key": "A"}', "\udcff"])
def test_a_file_without_keys_is_refused_and_never_quoted(tmp_path: Path, text: str) -> None:
    """Promise: I9: what lies in a wrong file is not shown."""
    file = tmp_path / "credentials"
    file.write_bytes(text.encode("utf-8", "surrogateescape") + b" canary-1234 ")
    with pytest.raises(BadSettings) as refusal:
        from_file(file, tmp_path)
    assert "canary" not in str(refusal.value.as_dict())


def test_files_outside_of_the_allowed_directories_are_not_opened(tmp_path: Path) -> None:
    """Promise: settings read no file that the agent wasn't allowed."""
    inside = tmp_path / "inside"
    inside.mkdir()
    secret = tmp_path / "secret"
    secret.write_text("[default]\naws_access_key_id = A\naws_secret_access_key = s\n")
    (inside / "link").symlink_to(secret)
    for path in (str(secret), str(inside / "link"), str(inside / ".." / "secret"), "secret", "a\0b"):
        with pytest.raises(BadSettings, match=r"outside|no path|slash"):
            keys_of(S3Settings(path="b", credentials_file=path), [inside], {})
        with pytest.raises(BadSettings, match=r"outside|no path|slash"):
            S3Storage(changed(ca_file=path), conditional_create=True, file_roots=[inside])


@pytest.mark.parametrize(
    ("fields", "setting"),
    [
        ({"path": ""}, "path"),
        ({"path": "/"}, "path"),
        ({"path": "a"}, "path"),
        ({"path": "bucket/../x"}, "path"),
        ({"path": "bucket/é"}, "path"),
        ({"path": "arn:aws:s3:::x/y"}, "path"),
        ({"endpoint": "host:9000"}, "endpoint"),
        ({"endpoint": "ftp://host"}, "endpoint"),
        ({"endpoint": "file:///etc"}, "endpoint"),
        ({"endpoint": "http://user:password@host"}, "endpoint"),
        ({"endpoint": "http://host:99999"}, "endpoint"),
        ({"connections": 0}, "connections"),
        ({"connections": 65}, "connections"),
        ({"access_secret": ""}, "access_secret"),
        ({"access_key": ""}, "access_secret"),
        ({"kms_key_id": "x"}, "kms_key_id"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(fields: dict[str, object], setting: str) -> None:
    """Promise: each setting that can't work is named before the first request."""
    with pytest.raises(BadSettings) as refusal:
        S3Storage(changed(**fields), conditional_create=True)
    assert refusal.value.fields["setting"] == setting


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "[fd00:ec2::254]"])
async def test_link_local_endpoints_are_refused_unless_listed(host: str) -> None:
    """The clouds' metadata services, which hand out credentials, live there."""
    store = S3Storage(changed(endpoint=f"http://{host}"), conditional_create=True)
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

    server = await asyncio.start_server(note, "127.0.36.9", 0)
    port = server.sockets[0].getsockname()[1]
    answers = iter(["127.0.36.8"])
    monkeypatch.setattr(endpoints, "is_of_metadata", lambda address: address == "127.0.36.9")
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, there, *_, **__: [(2, 1, 6, "", (next(answers, "127.0.36.9"), there or 0))],
    )
    settings = changed(endpoint=f"http://rebinds.test:{port}")
    store = S3Storage(settings, conditional_create=True)
    with pytest.raises(BadSettings, match="metadata service") as refusal:
        await store.head("a")
    assert refusal.value.fields["address"] == "127.0.36.9"
    await store.close()
    async with asyncio.timeout(60):
        while not received:  # noqa: ASYNC110 another task's work
            await asyncio.sleep(0.001)
    assert received == [b""]
    listed = S3Storage(settings, conditional_create=True, link_local=["rebinds.test"])
    with pytest.raises(Transient):
        await listed.head("a")
    assert received[1].startswith(b"HEAD /bucket/a")
    await listed.close()
    server.close()
    await server.wait_closed()


async def test_secrets_are_in_no_repr() -> None:
    """Promise: I9: keys don't show when they are printed."""
    keys = keys_of(PLAIN, [], {})
    assert "the secret" not in repr(keys)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-28T02:09:36.123Z",
        "2026-11-28T02:09:36Z",
        "2026-11-28T02:09:36+05:30",
        "2026-11-28T02:09:36.123456789Z",
        "Sat, 28 Nov 2026 02:09:36 GMT",
        "20261128T020936Z",
        "1764295776",
    ],
)
def test_times_are_read_as_the_sdk_reads_them(text: str) -> None:
    """Promise: whatever form a store's time has, the quick way to read it comes to what the SDK's parser comes to."""
    found, expected = instant_of(text), parse_timestamp(text)
    assert found == expected
    assert found.tzinfo is not None


def test_what_is_no_time_is_refused_as_the_sdk_refuses_it() -> None:
    """Promise: no answer without a time passes for one that has it."""
    with pytest.raises(ValueError, match="Invalid timestamp"):
        instant_of("yesterday at noon or so")
