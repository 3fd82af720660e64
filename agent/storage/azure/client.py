"""The SDK's client for one container. In: checked settings and a credential. Out: a client that does nothing unasked.

What is switched off, and why: retries (ours are the only ones), redirects (they would lead past the endpoint that was
checked), the secondary location, `.netrc` and certificates from the environment. The environment's proxies are kept:
the administrator named them. The service's version is pinned, so that a newer SDK asks a store nothing else.
"""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import ContainerClient
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.connection import HTTPConnection

from agent.storage.azure.credentials import AccountKey, Credential, Sas
from agent.storage.bodies import PutBody
from agent.storage.protocol import BadSettings, Denied
from agent.storage.timeouts import Timeouts
from agent.storage.watched_pools import WATCHED_POOLS
from agent.wire.destinations import AzureSettings

AGENT = "helenus/1"
API_VERSION = "2021-12-02"
"""Of the Blob service's REST API: since 2019-12-12 Put Blob takes 5,000 MiB, and a container a batch."""


def make_client(
    settings: AzureSettings,
    container: str,
    credential: Credential | None,
    ca_file: Path | None,
    patience: Timeouts,
    on_request: Callable[[str], None],
    *,
    watch: bool,
) -> ContainerClient:
    """The client; `on_request` is called with the method for each request that is sent. `watch`: whether a connection
    to a cloud's metadata service fails. Raises `BadSettings`, `Denied`."""
    endpoint = settings.service.rstrip("/")
    session = requests.Session()
    session.trust_env = False
    session.proxies = get_environ_proxies(endpoint)
    adapter = _Adapter(settings.connections, watch=watch)
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    transport = _Transport(
        on_request,
        session=session,
        connection_timeout=patience.connect,
        read_timeout=patience.read,
        connection_verify=str(ca_file) if ca_file else True,
    )
    try:
        return ContainerClient(
            endpoint,
            container,
            credential=_credential(settings.account, credential),
            transport=transport,
            api_version=API_VERSION,
            retry_total=0,
            permit_redirects=False,
            user_agent=AGENT,
        )
    except ValueError as error:
        raise BadSettings(f"the Azure client refuses these settings: {error}", setting="endpoint") from None


def _credential(account: str, credential: Credential | None) -> Any:
    match credential:
        case AccountKey(key):
            return AzureNamedKeyCredential(account, key.reveal())
        case Sas(token):
            return AzureSasCredential(token.reveal())
        case None:
            return _identity()


def _identity() -> Any:
    """The machine's, its workload's, or the service principal that the environment names."""
    try:
        from azure.identity import ChainedTokenCredential, EnvironmentCredential, ManagedIdentityCredential
    except ModuleNotFoundError:
        raise Denied(
            "this agent has no credentials for the store: neither a key nor a signature, and for the machine's own "
            "identity a library is missing (pip install azure-identity)"
        ) from None
    return ChainedTokenCredential(EnvironmentCredential(), ManagedIdentityCredential())


class _Sending:
    """The body as the transport takes it: from here on its bytes are traffic, and they pass its gate."""

    def __init__(self, body: PutBody) -> None:
        self._body = body

    def __len__(self) -> int:
        return len(self._body)

    def __iter__(self) -> Iterator[memoryview]:
        return self._body.sending()


class _Transport(RequestsTransport):  # type: ignore[misc] # the SDK gives the name away untyped
    def __init__(self, on_request: Callable[[str], None], **options: Any) -> None:
        super().__init__(**options)
        self._on_request = on_request

    def send(self, request: Any, **options: Any) -> Any:
        """Send it once. The SDK has signed it: what it read for that is not traffic."""
        self._on_request(request.method)
        if isinstance(request.data, PutBody):
            request.data = _Sending(request.data)
        return super().send(request, **options)


class _Adapter(HTTPAdapter):
    def __init__(self, connections: int, *, watch: bool) -> None:
        self._watch = watch
        super().__init__(pool_connections=2, pool_maxsize=connections)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        alive = [*HTTPConnection.default_socket_options, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        super().init_poolmanager(*arguments, socket_options=alive, **options)
        if self._watch:
            self.poolmanager.pool_classes_by_scheme = WATCHED_POOLS
