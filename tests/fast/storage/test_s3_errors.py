"""What S3 answers, as people read it."""

import pytest
from botocore.exceptions import ClientError

from agent.storage.protocol import Denied, NotFound
from agent.storage.s3_errors import translated


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
