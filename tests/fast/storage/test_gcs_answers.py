"""Promise: what Google answers has one name, as people read it, and a batch's answers are each one's own."""

import io

import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from agent.storage.bucket_storage import Exists
from agent.storage.gcs.batch import Deletions
from agent.storage.gcs.errors import failure
from agent.storage.gcs.storage import entry_of
from agent.storage.gcs.upload import Upload, crc32c_of
from agent.storage.protocol import BucketMissing, Buffer, Denied, Entry, NotFound, StorageError, Transient, Truncated

NOON = "2026-11-28T12:00:00.500Z"


def answer(status: int, text: str = "", **headers: str) -> requests.Response:
    made = requests.Response()
    made.status_code = status
    made.reason = "made up"
    made.raw = io.BytesIO(text.encode())
    made.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return made


def told(reason: str, message: str) -> str:
    return f'{{"error": {{"code": 1, "message": "{message}", "errors": [{{"reason": "{reason}"}}]}}}}'


@pytest.mark.parametrize(
    ("status", "text", "verb", "kind"),
    [
        (401, told("authError", "Invalid Credentials"), "get", Denied),
        (403, told("forbidden", "x does not have storage.objects.get"), "get", Denied),
        (403, told("rateLimitExceeded", "slower"), "put", Transient),
        (403, told("retentionPolicyNotMet", "locked until"), "delete", StorageError),
        (404, told("notFound", "No such object: b/k"), "get", NotFound),
        (404, told("notFound", "The specified bucket does not exist."), "get", BucketMissing),
        (404, "Not Found", "put", BucketMissing),
        (412, told("conditionNotMet", "At least one of the pre-conditions"), "put", Exists),
        (400, told("invalid", "Provided CRC32C doesn't match calculated CRC32C"), "put", Transient),
        (400, told("invalid", "Invalid argument"), "put", StorageError),
        (429, told("rateLimitExceeded", "the object is changed too often"), "put", Transient),
        (503, "<html>", "get", Transient),
        (500, "[]", "get", Transient),
        (418, "null", "get", StorageError),
    ],
)
def test_each_answer_has_its_error(status: int, text: str, verb: str, kind: type[StorageError]) -> None:
    """Promise: what passes is tried again, wrong keys are waited for, and what can't be mended is named."""
    assert type(failure(verb, "k", answer(status, text))) is kind


def test_an_answer_tells_verb_key_status_and_what_was_said() -> None:
    """Promise: the cause stands first where it is known, and Retry-After is kept."""
    denied = failure("get", "k", answer(403, told("forbidden", "no right")))
    assert denied.message == (
        "the credentials are wrong, or lack the right (get of 'k' answered 403 forbidden: no right)"
    )
    assert failure("get", "k", answer(503, "", Retry_After="7")).fields["retry_after"] == 7.0
    short = failure("get", "k", answer(416, "", Content_Range="bytes */12"))
    assert isinstance(short, Truncated)
    assert short.fields["size"] == 12
    unsaid = failure("get", "k", answer(416, ""))
    assert unsaid.fields["size"] is None


@pytest.mark.parametrize(
    "told",
    [{}, {"size": "12"}, {"size": "x", "timeCreated": NOON}, {"size": "12", "timeCreated": "noon"}],
)
def test_an_object_that_is_half_told_is_asked_for_again(told: dict[str, str]) -> None:
    """Promise: no listing that came damaged passes for one; what is whole has its size and time."""
    blob = Client(project="none", credentials=AnonymousCredentials()).bucket("b").blob("p/k")  # type: ignore[no-untyped-call]
    blob._set_properties(told)
    with pytest.raises(Truncated) as half:
        entry_of(blob)
    assert "size" not in half.value.fields  # with it, nobody would ask again
    blob._set_properties({"size": "12", "timeCreated": NOON})
    assert entry_of(blob) == Entry("p/k", 12, 1795867200.5)


def test_an_upload_is_its_buffers_between_a_head_and_a_tail() -> None:
    """Promise: no buffer is copied, of whatever kind; the sum is that of the object alone (here the check value of the
    published definition)."""
    buffers: list[Buffer] = [b"1234", bytearray(b"56"), memoryview(b"789"), b""]
    upload = Upload('a "b"/c', buffers)
    assert upload.size == 9
    assert upload.crc32c == crc32c_of([b"123456789"]) == "4waSgw=="
    assert [memoryview(part).obj for part in upload.parts[1:-1]] == [memoryview(part).obj for part in buffers]
    assert b'"name": "a \\"b\\"/c"' in bytes(upload.parts[0])


def test_a_batchs_answers_are_found_by_their_names() -> None:
    """Promise: the order of an answer's parts says nothing, and each has the text it came with."""
    deletions = Deletions(["/storage/v1/b/x/o/a%2Fb", "/storage/v1/b/x/o/c"])
    assert deletions.body.count(b"DELETE /storage/v1/b/x/o/") == 2
    parts = "".join(
        f"--edge\r\nContent-Type: application/http\r\nContent-ID: <response-helenus+{number}>\r\n\r\n"
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\r\n{text}\r\n"
        for number, status, text in ((1, "403 Forbidden", told("forbidden", "no right")), (0, "204 No Content", ""))
    )
    head = {"Content_Type": "multipart/mixed; boundary=edge"}
    first, second = deletions.answers(answer(200, parts + "--edge--\r\n", **head))
    assert (first.status_code, second.status_code) == (204, 403)
    assert isinstance(failure("delete", "c", second), Denied)
    half = parts[: parts.rindex("--edge")]
    for text in ("", half + "--edge--\r\n", parts.replace("HTTP/1.1 204", "HTTP/1.1"), parts.replace("+0>", "+7>")):
        with pytest.raises(ValueError, match="answer"):
            deletions.answers(answer(200, text, **head))
