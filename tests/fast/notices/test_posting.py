"""One try to tell a webhook, on real sockets: what counts as told, and what a receiver can't make us do."""

import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from coordinator.notices.addresses import look_up
from coordinator.notices.errors import WebhookAddressRefused, WebhookFailed, WebhookGone
from coordinator.notices.hooks import Hook
from coordinator.notices.posting import Posting
from tests.cluster.certificates import Authority
from tests.cluster.webhook_receiver import CLOSE, HANG, Answer, Receiver
from tests.fast.notices.given import SECRET, hook, hook_at, notice
from tests.fast.notices.test_signing import documented


def posting(to: Hook, **changes: Any) -> Posting:
    """A sender of one try."""
    return Posting(to, time.time, lambda text: text, **changes)


async def test_what_is_posted_is_signed_and_named(tmp_path: Path) -> None:
    """Promise: a POST whose headers and body the documented code verifies, and that says what it is."""
    async with Receiver() as receiver:
        await posting(hook(tmp_path, receiver.url)).tell(notice())
        [came] = receiver.came
    assert documented()(came.headers, came.body, SECRET)
    assert came.path == "/hooks/a-path-like-a-secret"
    assert (came.headers["webhook-id"], came.headers["helenus-type"]) == ("n1", "backup.succeeded")
    assert came.headers["Content-Type"] == "application/json"
    assert came.notice["id"] == "n1"


@pytest.mark.parametrize("status", [200, 202, 204, 299])
async def test_2xx_is_told(tmp_path: Path, status: int) -> None:
    """Promise: any of these, and nothing else."""
    async with Receiver([status]) as receiver:
        await posting(hook(tmp_path, receiver.url)).tell(notice())


@pytest.mark.parametrize("answer", [302, 400, 401, 404, 429, 500, 503, CLOSE, HANG])
async def test_all_else_is_not_told(tmp_path: Path, answer: Answer) -> None:
    """Promise: a refusal, an error with a long body, a connection that is cut, no answer within the time: one error,
    without the URL's path."""
    async with Receiver([answer]) as receiver:
        with pytest.raises(WebhookFailed) as caught:
            await posting(hook(tmp_path, receiver.url), try_seconds=0.5 if answer == HANG else 20.0).tell(notice())
    assert "a-path-like-a-secret" not in str(caught.value.as_dict())
    if isinstance(answer, int):
        assert caught.value.fields["answered"] == answer


async def test_410_is_the_end(tmp_path: Path) -> None:
    """Promise: told apart from all other refusals."""
    async with Receiver([410]) as receiver:
        with pytest.raises(WebhookGone):
            await posting(hook(tmp_path, receiver.url)).tell(notice())


async def test_nobody_who_listens_is_not_told(tmp_path: Path) -> None:
    """Promise: a receiver that is off, and a name that nobody knows, are passing faults."""
    async with Receiver() as receiver:
        url = receiver.url
    with pytest.raises(WebhookFailed, match="can't be connected to"):
        await posting(hook(tmp_path, url)).tell(notice())

    async def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(WebhookFailed, match="can't be connected to"):
        await posting(hook(tmp_path, "https://hooks.example.com/x"), look_up=unknown).tell(notice())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(tmp_path: Path, status: int) -> None:
    """Promise: a receiver can't have anything asked of another address."""
    async with Receiver() as other:
        async with Receiver([(status, {"Location": other.url})]) as receiver:
            with pytest.raises(WebhookFailed, match=f"answered {status}"):
                await posting(hook(tmp_path, receiver.url)).tell(notice())
        assert other.came == []


async def test_no_proxy_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: what somebody put into the environment doesn't see notices."""
    async with Receiver() as proxy, Receiver() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await posting(hook(tmp_path, receiver.url)).tell(notice())
        assert (len(proxy.came), len(receiver.came)) == (0, 1)


async def test_a_name_that_means_this_machine_is_refused_before_it_is_connected_to(tmp_path: Path) -> None:
    """Promise: also when it meant another machine a moment ago (DNS rebinding): each try judges what it connects to."""
    async with Receiver() as receiver:
        meant = ["127.0.0.1"]

        async def rebound(host: str, port: int) -> list[str]:
            return [meant.pop()] if meant else ["169.254.169.254"]

        for url in (f"http://hooks.example.com:{receiver.port}/x", f"https://hooks.example.com:{receiver.port}/x"):
            with pytest.raises(WebhookAddressRefused):
                await posting(hook_at(url, host="hooks.example.com"), look_up=rebound).tell(notice())
        assert receiver.came == []


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f.1", "017700000001"])
async def test_a_spelling_that_hides_an_address_leads_nowhere(host: str) -> None:
    """Promise: even past the configuration's own check nothing is sent to it."""
    async with Receiver() as receiver:
        with pytest.raises(WebhookFailed):
            await posting(hook_at(f"http://{host}:{receiver.port}/x", host=host)).tell(notice())
        assert receiver.came == []


async def test_localhost_is_this_machine(tmp_path: Path) -> None:
    """Promise: as the configuration may say."""
    async with Receiver() as receiver:
        url = f"http://localhost:{receiver.port}/x"

        async def both(host: str, port: int) -> list[str]:
            return [one for one in await look_up(host, port) if "." in one]

        await posting(hook(tmp_path, url), look_up=both).tell(notice())
        assert len(receiver.came) == 1


def shown(authority: Authority, address: str = "127.0.0.1") -> ssl.SSLContext:
    """What a receiver shows that has a certificate for the address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.certificate(f"receiver-{address}", address))
    return context


async def test_a_receiver_proves_itself_by_the_ca_of_the_setting(tmp_path: Path) -> None:
    """Promise: with its own CA it is told; by one that the machine doesn't trust, another CA, or under another name it
    gets not a byte of a notice."""
    authority, other = Authority(tmp_path), Authority(tmp_path, "other-ca")
    async with Receiver(tls=shown(authority)) as receiver:
        await posting(hook(tmp_path, receiver.url, ca_file=str(authority.ca))).tell(notice())
        for ca in ("", str(other.ca)):
            with pytest.raises(WebhookFailed, match="certificate"):
                await posting(hook(tmp_path, receiver.url, ca_file=ca)).tell(notice())
        assert len(receiver.came) == 1
    async with Receiver(tls=shown(authority, "127.0.0.9")) as receiver:
        with pytest.raises(WebhookFailed, match="certificate"):
            await posting(hook(tmp_path, receiver.url, ca_file=str(authority.ca))).tell(notice())
        assert receiver.came == []
