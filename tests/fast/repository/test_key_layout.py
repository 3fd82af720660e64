"""Where everything lies, letter for letter: repositories of years ago have it there."""

import pytest

from agent.crypto.digest import digest
from agent.repository import keys
from agent.repository.frame import Codec
from agent.repository.keys import CatalogueName, DataName, ManifestName

CLUSTER, HOST, TAG = "c 1", "h:1", "t/~1"
OF_CLUSTER = "helenus/v1/clusters/c%201/"
OF_NODE = f"{OF_CLUSTER}nodes/h%3A1/"
NAME = bytes(range(32))
HEX = NAME.hex()


def test_everything_lies_where_it_always_lay() -> None:
    """Promise: no key of a repository changes; what an older version put is found."""
    laid = [
        (keys.REPOSITORY, "helenus/v1/repository.json"),
        (keys.slot_key(12), "helenus/v1/keys/12.json"),
        (keys.cluster_prefix(CLUSTER), OF_CLUSTER),
        (keys.cluster_key(CLUSTER), f"{OF_CLUSTER}cluster.json"),
        (keys.named_prefix("Test Cluster"), "helenus/v1/names/Test%20Cluster/"),
        (keys.named_key("Test Cluster", CLUSTER), "helenus/v1/names/Test%20Cluster/c%201"),
        (keys.named_prefix("n" * 200), f"helenus/v1/names/{'n' * 200}/"),
        (keys.named_prefix("n" * 201), f"helenus/v1/names/~{digest(b'n' * 201).hex()}/"),
        (keys.catalogue_prefix(CLUSTER), f"{OF_CLUSTER}catalogue/"),
        (keys.catalogue_prefix(CLUSTER, TAG), f"{OF_CLUSTER}catalogue/t%2F%7E1/"),
        (keys.record_key(CLUSTER, TAG, 3), f"{OF_CLUSTER}catalogue/t%2F%7E1/3.json"),
        (keys.deleted_key(CLUSTER, TAG), f"{OF_CLUSTER}catalogue/t%2F%7E1/deleted"),
        (keys.backups_prefix(CLUSTER), f"{OF_CLUSTER}backups/"),
        (keys.backups_prefix(CLUSTER, TAG), f"{OF_CLUSTER}backups/t%2F%7E1/"),
        (keys.plan_key(CLUSTER, TAG), f"{OF_CLUSTER}backups/t%2F%7E1/plan.json"),
        (keys.manifest_key(CLUSTER, TAG, HOST), f"{OF_CLUSTER}backups/t%2F%7E1/h%3A1.manifest"),
        (keys.node_prefix(CLUSTER, HOST), OF_NODE),
        (keys.data_key(CLUSTER, HOST, NAME), f"{OF_NODE}data/00/{HEX}.raw"),
        (keys.data_key(CLUSTER, HOST, NAME, Codec.ZSTD, 77), f"{OF_NODE}data/00/{HEX}.zstd-77"),
        (keys.data_key(CLUSTER, HOST, NAME, Codec.ZSTD), f"{OF_NODE}data/00/{HEX}.zstd-0"),
        (keys.intent_key(CLUSTER, HOST, TAG), f"{OF_NODE}intents/t%2F%7E1"),
        (keys.sweep_key(CLUSTER, HOST), f"{OF_NODE}intents/~sweep"),
        (keys.adopted_key(CLUSTER, HOST), f"{OF_NODE}intents/~adopted"),
        (keys.encoded("."), "%2E"),
        (keys.encoded("..."), "%2E%2E%2E"),
        (keys.encoded("a.b"), "a.b"),
        (keys.encoded(".a"), ".a"),
        (keys.encoded("X."), "X."),
    ]
    assert [made for made, _ in laid] == [key for _, key in laid]


@pytest.mark.parametrize(
    ("segment", "name"),
    [
        ("a%20b", "a b"),
        ("a b", None),
        ("%7E", "~"),
        ("~", None),
        ("", None),
        ("%FF", None),
        ("%C3%A9", "é"),
        ("%c3%a9", None),
    ],
)
def test_only_what_was_encoded_is_decoded(segment: str, name: str | None) -> None:
    """Promise: one name, one segment: another spelling is nobody's, and bytes that are no text are no error."""
    assert keys.decoded(segment) == name


DATA, INTENTS = keys.data_prefix("c", "h"), keys.intents_prefix("c", "h")


def test_a_key_says_what_it_is() -> None:
    """Promise: exactly our keys are ours; another prefix, another ending and a word too much are nobody's."""
    found: list[tuple[object, object]] = [
        (keys.parse_slot("helenus/v1/keys/0.json"), 0),
        (keys.parse_slot("helenus/v1/keys/12.json"), 12),
        (keys.parse_slot(f"helenus/v1/keys/{'9' * 18}.json"), 10**18 - 1),
        (keys.parse_slot(f"helenus/v1/keys/{'9' * 19}.json"), None),
        (keys.parse_slot("helenus/v1/keys/07.json"), None),
        (keys.parse_slot("helenus/v1/keys/7.jsonx"), None),
        (keys.parse_slot("helenus/v1/keys/7"), None),
        (keys.parse_slot("helenus/v1/keys/json"), None),
        (keys.parse_slot("7.json"), None),
        (keys.parse_slot("helenus/v1/keys/x.json"), None),
        (keys.parse_catalogue("c", keys.record_key("c", "t", 0)), CatalogueName("t", 0)),
        (keys.parse_catalogue("c", keys.deleted_key("c", "t")), CatalogueName("t", None)),
        (keys.parse_catalogue("c", "t/1.json"), None),
        (keys.parse_catalogue("c", keys.catalogue_prefix("c") + "t"), None),
        (keys.parse_catalogue("c", keys.catalogue_prefix("c") + "/1.json"), None),
        (keys.parse_catalogue("c", keys.catalogue_prefix("c", "t") + "1.jsonx"), None),
        (keys.parse_catalogue("c", keys.catalogue_prefix("c", "t") + "1"), None),
        (keys.parse_catalogue("c", keys.catalogue_prefix("c", "t") + "deletedx"), None),
        (keys.parse_backup("c", keys.plan_key("c", "t")), ManifestName("t", None)),
        (keys.parse_backup("c", keys.manifest_key("c", "t", "h")), ManifestName("t", "h")),
        (keys.parse_backup("c", keys.manifest_key("c", "t", "h.manifest")), ManifestName("t", "h.manifest")),
        (keys.parse_backup("c", "t/h.manifest"), None),
        (keys.parse_backup("c", keys.backups_prefix("c") + "t"), None),
        (keys.parse_backup("c", keys.backups_prefix("c") + "/plan.json"), None),
        (keys.parse_backup("c", keys.backups_prefix("c", "t") + "h"), None),
        (keys.parse_backup("c", keys.backups_prefix("c", "t") + ".manifest"), None),
        (keys.parse_data(DATA, f"{DATA}00/{HEX}.raw"), DataName(HEX, Codec.RAW)),
        (keys.parse_data(DATA, f"{DATA}00/{HEX}.zstd-0"), DataName(HEX, Codec.ZSTD, 0)),
        (keys.parse_data(DATA, f"00/{HEX}.raw"), None),
        (keys.parse_data(DATA, f"{DATA}00/{HEX}"), None),
        (keys.parse_data(DATA, f"{DATA}00/{HEX}.raw-"), None),
        (keys.parse_data(DATA, f"{DATA}{HEX}.raw"), None),
        (keys.parse_data(DATA, f"{DATA}00/{HEX}.zstd-7.bak"), None),
        (keys.parse_data(DATA, f"{DATA}00/{HEX}.zstd-7-7"), None),
        (keys.parse_intent(INTENTS, keys.intent_key("c", "h", "t")), "t"),
        (keys.parse_intent(INTENTS, keys.sweep_key("c", "h")), keys.SWEEP),
        (keys.parse_intent(INTENTS, keys.adopted_key("c", "h")), keys.ADOPTED),
        (keys.parse_intent(INTENTS, "t"), None),
        (keys.parse_intent(INTENTS, f"{INTENTS}~else"), None),
        (keys.parse_intent(INTENTS, f"{INTENTS}a/b"), None),
    ]
    assert [parsed for parsed, _ in found] == [says for _, says in found]
