"""Key names, for any names."""

from hypothesis import given
from hypothesis import strategies as st

from agent.repository import keys
from agent.repository.frame import Codec
from agent.storage.keys import check_key

NAMES = st.one_of(
    st.text(min_size=1, max_size=20), st.sampled_from([".", "..", "...", "a/b", "~sweep", "%2E", "a b", "é"])
)
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(NAMES, NAMES)
def test_names_come_back_and_never_meet(first: str, second: str) -> None:
    """Promise: names are encoded exactly: what differs stays different, no name leaves its segment."""
    if "\ud800" <= min(first) <= "\udfff" or any("\ud800" <= c <= "\udfff" for c in first + second):
        return
    segment = keys.encoded(first)
    assert keys.decoded(segment) == first
    assert "/" not in segment
    assert (segment == keys.encoded(second)) == (first == second)
    assert segment != keys.SWEEP


@given(NAMES, HEX)
def test_keys_are_parsed_back(name: str, digest: str) -> None:
    """Promise: every key says what it is, and is one that stores take."""
    if any("\ud800" <= character <= "\udfff" for character in name):
        return
    cluster, host = "c1", "11111111-2222-3333-4444-555555555555"
    record, mark = keys.record_key(cluster, name, 7), keys.deleted_key(cluster, name)
    manifest, plan = keys.manifest_key(cluster, name, host), keys.plan_key(cluster, name)
    data, intent = keys.data_key(cluster, host, bytes.fromhex(digest)), keys.intent_key(cluster, host, name)
    for key in (record, mark, manifest, plan, data, intent):
        if len(keys.encoded(name)) < 200:
            check_key(key)
    assert keys.parse_catalogue(cluster, record) == keys.CatalogueName(name, 7)
    assert keys.parse_catalogue(cluster, mark) == keys.CatalogueName(name, None)
    assert keys.parse_backup(cluster, manifest) == keys.ManifestName(name, host)
    assert keys.parse_backup(cluster, plan) == keys.ManifestName(name, None)
    assert keys.parse_data(keys.data_prefix(cluster, host), data) == keys.DataName(digest, Codec.RAW)
    coded = keys.data_key(cluster, host, bytes.fromhex(digest), Codec.ZSTD, 77)
    assert keys.parse_data(keys.data_prefix(cluster, host), coded) == keys.DataName(digest, Codec.ZSTD, 77)
    assert keys.parse_intent(keys.intents_prefix(cluster, host), intent) == name


def test_foreign_keys_are_nobodys() -> None:
    """Promise: what is not exactly ours is never taken for ours."""
    prefix = keys.data_prefix("c1", "h")
    digest = "ab" * 32
    for name in (f"ab/{digest}", f"aa/{digest}.raw", f"ab/{digest.upper()}.raw", f"ab/{digest}.", f"ab/x/{digest}.raw"):
        assert keys.parse_data(prefix, prefix + name) is None
    for suffix in (
        "raw.bak",
        "raw.gone",
        "gone",
        "zstd",
        "RAW",
        "raw~",
        "raw/x",
        "raw.",
        "raw-7",
        "zstd-",
        "zstd-07",
        "zstd-x",
    ):
        assert keys.parse_data(prefix, f"{prefix}ab/{digest}.{suffix}") is None
    assert keys.parse_catalogue("c1", keys.catalogue_prefix("c1") + "t/01.json") is None
    assert keys.parse_catalogue("c1", keys.catalogue_prefix("c1") + "t/x.json") is None
    assert keys.parse_catalogue("c1", keys.catalogue_prefix("c2", "t") + "1.json") is None
    assert keys.parse_backup("c1", keys.backups_prefix("c1") + "t/h.manifest/x") is None
    assert keys.parse_intent(keys.intents_prefix("c1", "h"), keys.sweep_key("c1", "h")) == keys.SWEEP
