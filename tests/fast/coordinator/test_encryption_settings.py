"""The encryption of a destination as people send it and see it."""

from typing import Any

import msgspec
import pytest

from agent.wire.destinations import (
    MASK,
    Encryption,
    LocalSettings,
    PutDestination,
    S3Settings,
    Settings,
    encryption_of,
    secrets_of,
)
from coordinator.model.destinations import Destination, attributes_of, description
from coordinator.opscenter.destination_settings import read_settings, secrets_in
from kit.errors import HelenusError

BODY: dict[str, Any] = {"provider": "s3", "path": "bucket", "encryption": {"passphrase": "träumerei"}}


def test_a_passphrase_is_passed_on_and_never_shown() -> None:
    """Promise: agents get the passphrase; answers, events and logs of people's requests don't show it."""
    settings = read_settings(BODY, None)
    assert encryption_of(settings) == Encryption("träumerei")
    assert secrets_of(settings)["passphrase"] == "träumerei"
    assert attributes_of(settings)["encryption"] == {"passphrase": MASK}
    assert "träumerei" not in str(description(Destination("d1", "c", settings, 1, "r1", "c1")))
    assert list(secrets_in(BODY)) == ["träumerei"]


def test_a_mask_means_the_passphrase_that_is_known() -> None:
    """Promise: what was read from an answer can be sent back; a mask alone, or one for another bucket, is refused."""
    known = read_settings(BODY, None)
    masked = {"encryption": {"passphrase": MASK}}
    assert read_settings({**masked, "connections": 3}, known) == msgspec.structs.replace(known, connections=3)
    assert read_settings({"connections": 3}, known) == msgspec.structs.replace(known, connections=3)
    for body, before in (
        ({**BODY, **masked}, None),
        ({**masked, "path": "other"}, known),
        ({"path": "other"}, known),
        (masked, read_settings({"provider": "s3", "path": "bucket"}, None)),
    ):
        with pytest.raises(HelenusError, match="passphrase"):
            read_settings(body, before)
    moved = read_settings({"path": "other", "encryption": {"key_file": "/keys/one"}}, known)
    assert encryption_of(moved) == Encryption(key_file="/keys/one")


@pytest.mark.parametrize(
    "encryption",
    [{}, {"passphrase": "a", "key_file": "/b"}, {"passphrase": ""}, {"cipher": "none"}, "yes", {"key_file": 3}],
)
def test_encryption_is_asked_for_in_one_way(encryption: object) -> None:
    """Promise: no key, two keys, or something else than a key is refused by the field, and never means «plain»."""
    with pytest.raises(HelenusError, match="encryption"):
        read_settings({**BODY, "encryption": encryption}, None)


@pytest.mark.parametrize("settings", [LocalSettings("here"), S3Settings(path="bucket")])
def test_settings_without_encryption_are_what_older_agents_know(settings: Settings) -> None:
    """Promise: a plain destination is sent without the new field, which older agents would refuse."""
    assert "encryption" not in msgspec.to_builtins(PutDestination(1, settings))["settings"]
    assert "encryption" not in attributes_of(settings)
