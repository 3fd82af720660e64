"""One try to tell a webhook. In: a notice. Out: nothing when it was taken (2xx), else `WebhookFailed`, `WebhookGone`.

No redirect is followed, no proxy of the environment is used, no cookie is kept, and of the answer nothing but the
status is looked at: whoever answers can't have anything else asked or read by it.
"""

from collections.abc import Callable

import aiohttp
from yarl import URL

from coordinator.model.notices import Notice
from coordinator.notices.addresses import JudgingResolver, LookUp, look_up
from coordinator.notices.errors import WebhookFailed, WebhookGone
from coordinator.notices.hooks import Hook
from coordinator.notices.signing import body_of, headers_of

TRY_SECONDS = 20.0
"""For a whole try: finding the address, connecting, sending, the status line of the answer."""
GONE = 410


class Posting:
    """Tells one hook. `clock` gives unix seconds, `clean` takes known secrets out of a text."""

    def __init__(
        self,
        hook: Hook,
        clock: Callable[[], float],
        clean: Callable[[str], str],
        look_up: LookUp = look_up,
        try_seconds: float = TRY_SECONDS,
    ) -> None:
        self._hook = hook
        self._clock = clock
        self._clean = clean
        self._look_up = look_up
        self._try_seconds = try_seconds

    async def tell(self, notice: Notice) -> None:
        """Raises `WebhookFailed`, `WebhookGone`."""
        status = await self._status(notice)
        if 200 <= status <= 299:
            return
        if status == GONE:
            raise WebhookGone(f"{self._hook.host} answered 410", hook=self._hook.name)
        raise WebhookFailed(f"{self._hook.host} answered {status}", hook=self._hook.name, answered=status)

    async def _status(self, notice: Notice) -> int:
        hook = self._hook
        body = body_of(notice, self._clean)
        headers = headers_of(notice, body, hook.secret, self._clock())
        try:
            # A connection for each try: it is never to an address that was judged long ago.
            connector = aiohttp.TCPConnector(
                resolver=JudgingResolver(local=hook.local, look_up=self._look_up),
                use_dns_cache=False,
                force_close=True,
                ssl=hook.tls if hook.tls is not None else True,
            )
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    timeout=aiohttp.ClientTimeout(total=self._try_seconds),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                    trust_env=False,
                ) as session,
                session.post(
                    URL(hook.url.reveal(), encoded=True), data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                return response.status
        except TimeoutError:
            raise WebhookFailed(f"{hook.host} didn't answer within {self._try_seconds:g} s", hook=hook.name) from None
        except aiohttp.ClientConnectorCertificateError as error:
            why = getattr(error.certificate_error, "verify_message", "") or "it can't be verified"
            raise WebhookFailed(f"{hook.host}: its certificate is refused: {why}", hook=hook.name) from None
        except aiohttp.ClientConnectorError as error:
            why = error.os_error.strerror or type(error.os_error).__name__
            raise WebhookFailed(f"{hook.host} can't be connected to: {why}", hook=hook.name) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Only the kind of error: the texts of some repeat the URL, whose path may be a secret.
            raise WebhookFailed(
                f"{hook.host} broke off, or didn't speak HTTP ({type(error).__name__})", hook=hook.name
            ) from None
