"""Promise: Google's store is asked over https alone when it matters who asks, with tokens of the right service account;
refused ones have one name, whatever was asked."""

import json
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from agent.storage.gcs.storage import GcsStorage
from agent.storage.protocol import BadSettings, Denied, Transient
from tests.cluster.certificates import Authority
from tests.cluster.gcs_stores import FakeGcs, gcs_settings_for
from tests.real.storage.fault_proxy import Fault, FaultProxy

ADDRESS = "127.0.20.16"
SECURE = "127.0.20.17"
GOOGLE = "https://oauth2.googleapis.com/token"
ACCOUNT = "helenus@project.iam.gserviceaccount.com"


class Guarded(FaultProxy):
    """The store behind https, which gives a token to whoever signed with the account's key, and asks for it."""

    def __init__(self, upstream: str, tls: ssl.SSLContext) -> None:
        super().__init__(upstream, ADDRESS, tls)
        self._key = rsa.generate_private_key(65537, 2048)
        self.given = 0
        self.token_status = 200

    def account(self, key: rsa.RSAPrivateKey | None = None) -> str:
        """The service account's key, as Google gives it out; `key`: somebody else's."""
        pem = (key or self._key).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return json.dumps(
            {
                "type": "service_account",
                "client_email": ACCOUNT,
                "private_key": pem.decode(),
                "token_uri": f"{self.endpoint}/token",
            }
        )

    async def own_answer(self, request: web.BaseRequest) -> web.Response | None:
        """A token, or a refusal."""
        if request.path == "/token":
            return self._token(await request.post())
        if request.headers.get("Authorization") != f"Bearer token-{self.given}":
            return web.json_response({"error": {"code": 401, "message": "Invalid Credentials"}}, status=401)
        return None

    def _token(self, form: Any) -> web.Response:
        public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        try:
            claims = jwt.decode(form["assertion"], certs=public.decode(), audience=GOOGLE)  # type: ignore[no-untyped-call]
        except ValueError:
            return web.json_response({"error": "invalid_grant", "error_description": "canary-1234"}, status=400)
        if self.token_status != 200:
            return web.json_response({"error": "internal_failure"}, status=self.token_status)
        assert claims["iss"] == ACCOUNT
        assert "devstorage.read_write" in claims["scope"]
        self.given += 1
        return web.json_response({"access_token": f"token-{self.given}", "expires_in": 3600, "token_type": "Bearer"})


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("gcs-tls"))


@pytest.fixture
async def guarded(gcs: FakeGcs, authority: Authority) -> AsyncIterator[Guarded]:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*authority.certificate("gcs", ADDRESS))
    async with Guarded(gcs.endpoint, tls) as guarded:
        yield guarded


def opened(gcs: FakeGcs, guarded: Guarded, authority: Authority, **fields: object) -> GcsStorage:
    settings = gcs_settings_for(gcs, endpoint=guarded.endpoint, **{"ca_file": str(authority.ca), **fields})
    return GcsStorage(settings, conditional_create=True, file_roots=[authority.ca.parent])


async def test_a_service_accounts_key_is_turned_into_tokens(
    gcs: FakeGcs, guarded: Guarded, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the settings, a file and the environment: one token serves many requests, one that was revoked is asked for
    anew, and the body goes whole with it."""
    file = authority.ca.parent / "key.json"
    file.write_text(guarded.account())
    content = os.urandom(300_000)
    for number, fields in enumerate(
        ({"service_account_key": guarded.account()}, {"credentials_file": str(file)}, {"path": "bucket"})
    ):
        if number == 2:
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")  # the environment names no authority
        store = opened(gcs, guarded, authority, **fields)
        before = guarded.given
        await store.put(f"tokens/{number}", [content], replace=True)
        assert await store.get(f"tokens/{number}") == content
        assert guarded.given == before + 1
        guarded.given += 1  # no token that was given out is one any more
        await store.put(f"tokens/{number}", [content[:1000]], replace=True)
        assert await store.get(f"tokens/{number}") == content[:1000]
        await store.delete([f"tokens/{number}"])
        assert guarded.given == before + 3
        await store.close()


@pytest.mark.parametrize("verb", range(5))
async def test_a_key_that_is_refused_is_denied_by_every_verb(
    gcs: FakeGcs, guarded: Guarded, authority: Authority, verb: int
) -> None:
    """Promise: a command waits for other keys then; what the token's server said beside its word is not shown."""
    other = rsa.generate_private_key(65537, 2048)
    store = opened(gcs, guarded, authority, service_account_key=guarded.account(other))

    async def listed() -> list[str]:
        return [entry.key async for entry in store.list("")]

    verbs: list[Callable[[], Awaitable[object]]] = [
        lambda: store.head("a"),
        lambda: store.get("a"),
        listed,
        lambda: store.delete(["a"]),
        lambda: store.put("a", [b"x"]),
    ]
    with pytest.raises(Denied, match="invalid_grant") as denied:
        await verbs[verb]()
    assert "canary" not in str(denied.value.as_dict())
    await store.close()


async def test_a_tokens_server_that_is_down_is_waited_for(gcs: FakeGcs, guarded: Guarded, authority: Authority) -> None:
    """Promise: trouble that passes is no refusal of the key."""
    store = opened(gcs, guarded, authority, service_account_key=guarded.account())
    guarded.token_status = 503
    with pytest.raises(Transient):
        await store.head("nobody")
    guarded.token_status = 200
    assert await store.head("nobody") is None
    guarded.faults = [Fault(reset=True)]
    with pytest.raises(Transient):
        await store.head("nobody")
    await store.close()


async def test_no_credentials_at_all_is_denied(
    gcs: FakeGcs, guarded: Guarded, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither settings nor environment nor a role of the machine: nothing is sent unsigned."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    store = opened(gcs, guarded, authority)
    with pytest.raises(Denied, match="no credentials"):
        await store.head("a")
    assert guarded.requests == []
    await store.close()


async def test_an_unknown_certificate_is_refused_by_name(
    gcs: FakeGcs, guarded: Guarded, authority: Authority, tmp_path: Path
) -> None:
    """Neither without a CA file nor with another's, by the token's server as by the store; nor is plain http taken for
    https."""
    other = Authority(tmp_path)
    key = guarded.account()
    async with FakeGcs(tmp_path, address=SECURE, certificate=authority.certificate("secure", SECURE)) as secure:
        for ca_file, endpoint in (
            ("", secure.endpoint),
            (str(other.ca), secure.endpoint),
            (str(authority.ca), gcs.endpoint.replace("http:", "https:")),
        ):
            here = key.replace(guarded.endpoint, endpoint)
            settings = gcs_settings_for(gcs, endpoint=endpoint, ca_file=ca_file, service_account_key=here)
            store = GcsStorage(settings, conditional_create=True, file_roots=[tmp_path, authority.ca.parent])
            with pytest.raises(BadSettings, match="TLS"):
                await store.put("a", [b"x"])
            await store.close()
