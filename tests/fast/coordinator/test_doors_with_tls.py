"""The door with TLS: the cookie, client certificates, and which of the credentials counts."""

import ssl
from pathlib import Path

import aiohttp
import pytest

from coordinator.main import prepare
from coordinator.model.access import Role
from kit.config import ConfigError
from kit.http_settings import Access
from kit.secret import Secret
from kit.tls import TlsNames, client_context, server_context
from tests.cluster.certificates import Authority
from tests.fast.coordinator.access_site import BEARER, TOKEN, password_of, site

NODES, USERS = "/Test_Cluster/nodes", "/users"


def contexts(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext, ssl.SSLContext]:
    """The server's, which knows the authority of clients; a client's with a certificate of it; and one's without."""
    authority = Authority(directory)
    certificate, key = authority.certificate("server")
    return (
        server_context(certificate, key, authority.ca, named=TlsNames("ca")),
        client_context(authority.ca, *authority.certificate("client"), named=TlsNames("ca")),
        client_context(authority.ca, named=TlsNames("ca")),
    )


async def test_over_tls_the_cookie_goes_back_over_tls_alone(tmp_path: Path) -> None:
    """Promise: a browser never sends the session in clear."""
    server, _, client = contexts(tmp_path)
    async with site(tmp_path, Access(server, Secret(TOKEN), False)) as served:
        await served.add("ada")
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{served.url}/login", json={"username": "ada", "password": password_of("ada")}, ssl=client
            ) as answer,
        ):
            assert answer.status == 200
            assert "Secure" in answer.headers["Set-Cookie"]


async def test_a_certificate_is_an_admin_and_needed_for_everything(tmp_path: Path) -> None:
    """Promise: with a client CA alone its certificates administer, as before there were users; who shows a session
    besides is that user, with that user's role, and nobody logs in or is served without a certificate."""
    server, signed, unsigned = contexts(tmp_path)
    async with site(tmp_path, Access(server, None, True)) as served:
        assert (await served.ask("GET", USERS, ssl=signed))[0] == 200
        assert (await served.ask("GET", USERS, ssl=unsigned))[0] == 401
        await served.add("bob", Role.READ)
        body = {"username": "bob", "password": password_of("bob")}
        assert (await served.ask("POST", "/login", json=body, ssl=unsigned))[0] == 401
        status, told = await served.ask("POST", "/login", json=body, ssl=signed)
        assert status == 200
        session = {"opscenter-session": told["sessionid"]}
        assert (await served.ask("GET", NODES, ssl=signed, headers=session))[0] == 200
        assert (await served.ask("GET", USERS, ssl=signed, headers=session))[0] == 403
        assert (await served.ask("GET", NODES, ssl=unsigned, headers=session))[0] == 401
        assert (await served.ask("GET", USERS, ssl=signed, headers={"opscenter-session": "0" * 32}))[0] == 401
        status, request = await served.ask("POST", "/Test_Cluster/backups/run", ssl=signed)
        _, told = await served.ask("GET", f"/request/{request}/status", ssl=signed)
        assert (status, told["asked_by"]) == (200, "certificate")


async def test_with_a_token_a_certificate_alone_is_nobody(tmp_path: Path) -> None:
    """Promise: where both are configured both are needed, or a session with the certificate."""
    server, signed, unsigned = contexts(tmp_path)
    async with site(tmp_path, Access(server, Secret(TOKEN), True)) as served:
        assert (await served.ask("GET", USERS, ssl=signed))[0] == 401
        assert (await served.ask("GET", USERS, ssl=unsigned, headers=BEARER))[0] == 401
        assert (await served.ask("GET", USERS, ssl=signed, headers=BEARER))[0] == 200


def test_users_can_stand_in_the_place_of_a_token_on_another_address(tmp_path: Path) -> None:
    """Promise: with TLS and [access] login the coordinator may be reached from elsewhere; without TLS never."""
    certificate, key = Authority(tmp_path).certificate("server")
    tls = f'tls_certificate = "{certificate}"\ntls_key = "{key}"\n'
    for http, access, refused in (
        (tls, "login = true\n", None),
        (tls, "", "http.token_file"),
        ("", "login = true\n", "http.tls_certificate"),
    ):
        file = tmp_path / "c.toml"
        file.write_text(
            f'state_directory = "/s"\n[http]\nhost = "10.0.0.1"\n{http}[access]\n{access}'
            '[clusters.c]\nagents = ["http://127.0.0.1:1"]\n'
        )
        if refused is None:
            assert prepare(file).access.login
            continue
        with pytest.raises(ConfigError) as caught:
            prepare(file)
        assert caught.value.fields["setting"] == refused
