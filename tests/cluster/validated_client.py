"""An HTTP client that checks every exchange against a service's openapi.yaml. In: a request. Out: the answer, or
`NotAsDescribed` when the request (unless sent wrong on purpose) or the answer is not what the description says."""

from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import msgspec
from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse
from werkzeug.datastructures import ImmutableMultiDict

from tests.cluster.canaries import refuse

AGENT_DESCRIPTION = Path(__file__).parents[2] / "agent" / "http" / "openapi.yaml"


class NotAsDescribed(AssertionError):
    """An exchange that differs from the description."""


@dataclass(frozen=True)
class Answer:
    """What came back; `json` is None unless the body is JSON."""

    status: int
    headers: dict[str, str]
    body: bytes
    json: Any

    @property
    def code(self) -> str | None:
        """The error's code, if it is an error."""
        return self.json.get("code") if isinstance(self.json, dict) and self.status >= 400 else None


@cache
def description_of(path: Path) -> OpenAPI:
    """The parsed description; parsed once per process."""
    return OpenAPI.from_file_path(str(path))


class ValidatedClient:
    """Talks to the service at `url`; use it in `async with`."""

    def __init__(self, url: str, token: str | None = None, description: Path = AGENT_DESCRIPTION) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._description = description_of(description)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "ValidatedClient":
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        self._session = aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=120))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """For what is not to be checked, streams above all."""
        assert self._session is not None
        return self._session

    async def get(self, path: str, **more: Any) -> Answer:
        """GET."""
        return await self.send("GET", path, **more)

    async def put(self, path: str, json: Any, **more: Any) -> Answer:
        """PUT."""
        return await self.send("PUT", path, json=json, **more)

    async def post(self, path: str, json: Any = None, **more: Any) -> Answer:
        """POST."""
        return await self.send("POST", path, json=json, **more)

    async def patch(self, path: str, json: Any, **more: Any) -> Answer:
        """PATCH."""
        return await self.send("PATCH", path, json=json, **more)

    async def delete(self, path: str, **more: Any) -> Answer:
        """DELETE."""
        return await self.send("DELETE", path, **more)

    async def send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        wrong: bool = False,
        undescribed: bool = False,
    ) -> Answer:
        """Send and check. `path` with its query. `wrong`: the request breaks the description on purpose, only the
        answer is checked. `undescribed`: there is no such path or method, so nothing is."""
        sent = {"Accept": "application/json", **(headers or {})}
        data = raw
        if json is not None:
            data = msgspec.json.encode(json)
            sent.setdefault("Content-Type", "application/json")
        async with self.session.request(
            method, self.url + path, data=data and BytesIO(data), headers=sent, skip_auto_headers=["Content-Type"]
        ) as response:
            body = await response.read()
            content_type = response.content_type
            refuse(f"the answer to {method} {path}", body)
            answer = Answer(
                response.status,
                dict(response.headers),
                body,
                msgspec.json.decode(body) if body and content_type == "application/json" else None,
            )
        if not undescribed:
            if self._token:
                sent = {"Authorization": f"Bearer {self._token}", **sent}
            check_exchange(
                self._description,
                method,
                path,
                sent,
                data,
                answer.status,
                {**answer.headers, "Content-Type": content_type},
                body,
                request_too=not wrong,
                url=self.url,
            )
        return answer


def check_exchange(
    description: OpenAPI,
    method: str,
    path: str,
    headers: dict[str, str],
    data: bytes | None,
    status: int,
    answer_headers: dict[str, str],
    answer: bytes,
    *,
    request_too: bool,
    url: str = "http://127.0.0.1",
) -> None:
    """Compare one exchange with the description; `path` with its query. Raises NotAsDescribed."""
    parts = urlsplit(path)
    request = MockRequest(
        url, method, parts.path, headers=headers, data=data, content_type=headers.get("Content-Type", "")
    )
    request.parameters.query = ImmutableMultiDict(parse_qsl(parts.query, keep_blank_values=True))
    response = MockResponse(answer, status, answer_headers, answer_headers.get("Content-Type", ""))
    try:
        if request_too:
            description.validate_request(request)
        description.validate_response(request, response)
    except OpenAPIError as error:
        why = error.__cause__ or error
        details = [str(schema.message) for schema in getattr(why, "schema_errors", [])]
        exchange = f"{method} {path} → {status} {answer[:500]!r}"
        raise NotAsDescribed(f"{exchange}: {str(why)[:1000]} {str(details)[:1000]}") from error
