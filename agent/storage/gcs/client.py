"""The SDK's client for one destination. In: checked settings and credentials. Out: a client and its session, which do
nothing unasked.

What is switched off, and why: retries (ours are the only ones), redirects (they would lead past the endpoint that was
checked), `.netrc` and endpoints from the environment. The environment's proxies are kept: the administrator named them.
"""

from pathlib import Path
from typing import Any

import google.auth
import requests
from google.api_core.client_info import ClientInfo
from google.auth.credentials import Credentials
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud.storage import Client
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from agent.storage.bodies import PutBody
from agent.storage.gcs.credentials import SCOPE
from agent.storage.timeouts import Timeouts
from agent.storage.watched_pools import WATCHED_POOLS

AGENT = "helenus/1"
GOOGLE = "https://storage.googleapis.com"


class Session(AuthorizedSession):
    """Signs each request with the credentials' token, and sends it once, where it is told to."""

    def __init__(self, credentials: Credentials, tokens: requests.Session) -> None:
        """`tokens`: the session that tokens are asked with."""
        super().__init__(credentials, max_refresh_attempts=1, auth_request=Request(tokens))  # type: ignore[no-untyped-call]
        self._tokens = tokens

    def close(self) -> None:
        """Close the connections, those to the token's server too."""
        super().close()  # type: ignore[no-untyped-call]
        self._tokens.close()

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None: no answer sends a request elsewhere."""
        return None


class _Tokens(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None


def make_client(
    endpoint: str,
    credentials: Credentials | None,
    ca_file: Path | None,
    patience: Timeouts,
    *,
    connections: int,
    watch: bool,
) -> tuple[Client, Session]:
    """The client, and the session below it for what the SDK would copy. `watch`: whether a connection to a cloud's
    metadata service fails; tokens of the machine's own role come from there all the same.

    Without credentials it looks at the environment and asks the metadata service: call it in a thread. Raises what the
    SDK raises.
    """
    tokens = _prepared(_Tokens(), endpoint, ca_file, _Adapter(patience, 1, watch=watch and credentials is not None))
    if credentials is None:
        credentials, _ = google.auth.default(scopes=[SCOPE])
    session = Session(credentials, tokens)
    _prepared(session, endpoint, ca_file, _Adapter(patience, connections, watch=watch))
    client = Client(
        project="none",
        credentials=credentials,
        _http=session,
        client_info=ClientInfo(user_agent=AGENT),  # type: ignore[no-untyped-call]
        client_options={"api_endpoint": endpoint},
    )
    # It would ask about the bucket, in a thread of its own and with a right of its own, to name it in traces.
    client._bucket_metadata_cache = None
    return client, session


def _prepared(session: Any, endpoint: str, ca_file: Path | None, adapter: HTTPAdapter) -> Any:
    session.trust_env = False
    session.proxies = get_environ_proxies(endpoint)
    session.verify = True if ca_file is None else str(ca_file)
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session


class _Adapter(HTTPAdapter):
    """From here on the body's bytes are traffic: whoever sends them takes their turn at the body's own gate."""

    def __init__(self, patience: Timeouts, connections: int, *, watch: bool) -> None:
        self._patience = patience
        self._watch = watch
        super().__init__(pool_connections=2, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pools of connections."""
        super().init_poolmanager(*arguments, **options)
        if self._watch:
            self.poolmanager.pool_classes_by_scheme = WATCHED_POOLS

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        """The answer to the request; its body is sent anew each time."""
        read = self._patience.read
        body: Any = request.body
        if isinstance(body, PutBody):
            read = self._patience.for_answer(len(body))
            request.body = body.sending()  # type: ignore[assignment]
        options["timeout"] = (self._patience.connect, read)
        return super().send(request, *arguments, **options)
