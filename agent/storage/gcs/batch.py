"""Many deletions in one request of Google's API. In: paths of objects. Out: a body, and from its answer one for each.

The SDK's own batches give their parts no names, so that an answer's parts are known by their order alone.
"""

import email.parser
import email.policy
import io
import re
import secrets
from collections.abc import Sequence

import requests

STATUS = re.compile(rb"\s*HTTP/\d(?:\.\d)? (\d{3})")
NUMBER = re.compile(r"<response-helenus\+(\d+)>")


class Deletions:
    """`content_type` and `body`: of the request that deletes what the `paths` name (quoted, from `/storage` on)."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._count = len(paths)
        boundary = secrets.token_hex(24)
        self.content_type = f"multipart/mixed; boundary={boundary}"
        parts = (
            f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: <helenus+{number}>\r\n\r\n"
            f"DELETE {path} HTTP/1.1\r\n\r\n\r\n"
            for number, path in enumerate(paths)
        )
        self.body = ("".join(parts) + f"--{boundary}--\r\n").encode("ascii")

    def answers(self, answer: requests.Response) -> list[requests.Response]:
        """What was answered to each, in the order of the paths. Raises `ValueError` when one of them wasn't."""
        head = f"Content-Type: {answer.headers.get('content-type', '')}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + answer.content)
        found: dict[int, requests.Response] = {}
        for part in message.iter_parts() if message.is_multipart() else ():
            number = NUMBER.fullmatch(str(part.get("content-id", "")).strip())
            text = part.get_payload(decode=True)
            status = STATUS.match(text) if isinstance(text, bytes) else None
            if number is None or status is None or not isinstance(text, bytes):
                raise ValueError("a part of the answer is no answer")
            found[int(number[1])] = _one(int(status[1]), text)
        if set(found) != set(range(self._count)):
            raise ValueError("not everything was answered")
        return [found[number] for number in range(self._count)]


def _one(status: int, text: bytes) -> requests.Response:
    made = requests.Response()
    made.status_code = status
    made.raw = io.BytesIO(re.split(rb"\r?\n\r?\n", text, maxsplit=1)[-1])
    return made
