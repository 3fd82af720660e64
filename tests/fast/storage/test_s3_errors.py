"""What S3 answers, as people read it."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from agent.storage.protocol import Denied, NotFound, Transient, Truncated
from agent.storage.s3.errors import translated


def answer(status: int, code: str, message: str) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "HeadObject",
    )


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (answer(403, "403", "Forbidden"), "403 Forbidden"),
        (answer(403, "InvalidAccessKeyId", "no such key"), "403 InvalidAccessKeyId: no such key"),
        (answer(401, "", ""), "401"),
    ],
)
def test_wrong_keys_are_called_wrong_keys(error: ClientError, told: str) -> None:
    """The cause stands first, and the answer to a HEAD, which has no body, doesn't say its number twice."""
    with pytest.raises(Denied) as denied, translated("head", "helenus.json"):
        raise error
    assert denied.value.message == (
        f"the access key or secret is wrong, or lacks the right (head of 'helenus.json' answered {told})"
    )


def test_another_answer_tells_verb_key_and_status_once() -> None:
    """404 of a HEAD."""
    with pytest.raises(NotFound) as missing, translated("head", "k"):
        raise answer(404, "404", "Not Found")
    assert missing.value.message == "head of 'k': the store answered 404 Not Found"


def test_a_store_that_is_away_is_told_by_its_host() -> None:
    """Promise: what doesn't answer stands first; the key, which is long, is said once and last."""
    key = "c/helenus/v1/clusters/1/backups/tag/2.manifest"
    gone = EndpointConnectionError(endpoint_url=f"http://127.0.0.1:1/bucket/{key}")
    with pytest.raises(Transient) as away, translated("put", key):
        raise gone
    assert away.value.message == (f'Could not connect to the endpoint URL: "http://127.0.0.1:1" (put of {key!r})')


def test_a_range_behind_the_end_is_an_object_that_is_too_short() -> None:
    """416: an object that was emptied is told as one that was cut, and isn't asked for again and again; its size is
    told where the store does, and never made up."""
    with pytest.raises(Truncated) as cut, translated("get", "k"):
        raise answer(416, "InvalidRange", "The requested range is not satisfiable")
    assert cut.value.fields["size"] is None
