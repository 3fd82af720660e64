"""What tests rely on when they say that an answer has the form that OpsCenter's text prints."""

from typing import Any

import pytest

from tests.cluster.opscenter_examples import FILE, differences, examples

RECORD = {"id": "adhoc", "keyspaces": {"test": {"cfs": ["cf1"], "size": 1}}, "time": 1}


def test_every_command_is_read_as_curl_would_read_it() -> None:
    """Promise: none is lost; variables are filled in, and a quoted body is one argument."""
    assert len(examples()) == FILE.read_text().count("\ncurl ") == 24
    deleted = examples()["delete-a-backup"]
    assert (deleted.method, deleted.body) == ("DELETE", None)
    assert deleted.path.endswith(
        "/backups?tag=opscenter_adhoc_2015-10-15-21-48-47-UTC&destination=bdcff9240b614ebda64938bafb2abb09"
        "&remove_destination=true"
    )
    run = examples()["run-on-server"]
    assert run.curl[-1] == run.body == '{"keyspaces": ["Keyspace1", "Keyspace2"]}'
    assert run.with_words({"Keyspace2": "other"}).body == '{"keyspaces": ["Keyspace1", "other"]}'


@pytest.mark.parametrize(
    "told",
    [
        {"other": {**RECORD, "ours": 1}},
        {"other": {**RECORD, "time": 1.5}},
        {"other": {**RECORD, "keyspaces": {"shop": {"cfs": [], "size": 0}}}},
        {},
    ],
)
def test_other_names_and_more_keys_are_no_difference(told: dict[str, Any]) -> None:
    """Promise: what a client that was written by the text reads is there, whatever there is beside it."""
    assert differences({"opscenter_adhoc": RECORD}, told, "<names>") == []


@pytest.mark.parametrize(
    "told",
    [
        {"other": {"id": "adhoc", "keyspaces": {}}},
        {"other": {**RECORD, "time": "1"}},
        {"other": {**RECORD, "time": True}},
        {"other": {**RECORD, "keyspaces": {"shop": {"cfs": [1], "size": 0}}}},
        {"other": {**RECORD, "keyspaces": {"shop": {"cfs": []}}}},
        {"other": {**RECORD, "keyspaces": ["shop"]}},
        [],
    ],
)
def test_what_lacks_or_is_of_another_kind_is_a_difference(told: Any) -> None:
    """Promise: a missing key, and a value that a client would stumble over, are told, however deep."""
    assert differences({"opscenter_adhoc": RECORD}, told, "<names>") != []
