"""Which keys of a destination are under object lock: all that a restore needs, nothing that comes and goes."""

import pytest

from agent.repository import keys
from agent.repository.control_keys import is_control, may_be_control, may_be_locked
from agent.repository.frame import Codec

HOST = "11111111-2222-3333-4444-555555555555"
NAME = bytes(32)
TAGS = ["daily", "data", "~", "a/b", "catalogue"]

LOCKED = [
    keys.REPOSITORY,
    keys.slot_key(3),
    keys.cluster_key("c1"),
    keys.named_key("nodes", "c1"),
    keys.data_key("c1", HOST, NAME),
    keys.data_key("c1", HOST, NAME, Codec.ZSTD, 7),
    *(keys.plan_key("c1", tag) for tag in TAGS),
    *(keys.record_key("c1", tag, 1) for tag in TAGS),
    *(keys.manifest_key("c1", tag, HOST) for tag in TAGS),
    f"{keys.node_prefix('c1', HOST)}commitlogs/1/CommitLog-7-1.log",
    "somebody's/file",
]
CONTROL = [
    keys.CHECKS + "nonces/x",
    f"{keys.claims_prefix(keys.slot_key(0))}x",
    keys.sweep_key("c1", HOST),
    keys.adopted_key("c1", HOST),
    f"{keys.node_prefix('c1', HOST)}damaged/00/{NAME.hex()}.raw",
    *(keys.intent_key("c1", HOST, tag) for tag in TAGS),
    *(keys.deleted_key("c1", tag) for tag in TAGS),
]


@pytest.mark.parametrize("key", LOCKED)
def test_what_a_restore_needs_is_locked(key: str) -> None:
    """Promise: repository, key slots, records, plans, manifests, objects lie under lock, as does what is nobody's."""
    assert not is_control(key)


@pytest.mark.parametrize("key", CONTROL)
def test_what_helenus_replaces_or_deletes_is_not(key: str) -> None:
    """Promise: intents, marks, notes, claims and checks lie in the control location, whatever they are named."""
    assert is_control(key)


@pytest.mark.parametrize("key", [*LOCKED, *CONTROL])
def test_a_listing_looks_wherever_its_keys_can_be(key: str) -> None:
    """Promise: whatever beginning of a key is listed, the side that the key lies on is asked."""
    side = may_be_control if is_control(key) else may_be_locked
    assert [prefix for prefix in (key[:end] for end in range(len(key) + 1)) if not side(prefix)] == []


def test_the_large_prefixes_are_listed_once() -> None:
    """Promise: a listing of objects or backups, which is long, asks one side alone."""
    for prefix in (keys.data_prefix("c1", HOST), keys.backups_prefix("c1"), keys.NAMES):
        assert (may_be_locked(prefix), may_be_control(prefix)) == (True, False)
    claims = keys.claims_prefix(keys.slot_key(3))
    for prefix in (keys.intents_prefix("c1", HOST), keys.CHECKS, claims):
        assert (may_be_locked(prefix), may_be_control(prefix)) == (False, True)
