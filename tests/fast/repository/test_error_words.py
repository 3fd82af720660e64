"""Errors that are told with more than where they arose: of which table, backup, place or clusters."""

import pytest

from agent.repository.errors import (
    ClusterNotFound,
    ManifestInvalid,
    ObjectDamaged,
    RepositoryError,
    RepositoryGone,
    SweepWaits,
    of_backup,
    of_table,
)


@pytest.mark.parametrize("kind", [ManifestInvalid, ObjectDamaged])
def test_an_error_of_a_table_is_the_same_error_with_the_table(kind: type[RepositoryError]) -> None:
    """Promise: its kind, its words and its fields stay; the table stands before them, for keys at the end are long."""
    told = of_table(kind("it is cut: the/key", key="the/key"), "ks", "t")
    assert type(told) is kind
    assert told.message == "ks.t: it is cut: the/key"
    assert told.fields == {"key": "the/key", "keyspace": "ks", "table": "t"}


def test_an_error_of_a_manifest_names_the_backup_and_its_own_object() -> None:
    """Promise: the manifest's key is told, unless the error knows better which object it is about."""
    told = of_backup(ManifestInvalid("it is cut", size=7), "t1", "h1", "the/manifest")
    assert told.message == "it is cut (backup t1, node h1): the/manifest"
    assert told.fields == {"tag": "t1", "host_id": "h1", "key": "the/manifest", "size": 7}
    told = of_backup(ManifestInvalid("it is cut", key="the/object"), "t1", "h1", "the/manifest")
    assert told.fields == {"tag": "t1", "host_id": "h1", "key": "the/object"}


def test_a_repository_that_is_gone_is_told_with_its_place() -> None:
    """Promise: which repository was there, and, once it is known, in which directory or bucket."""
    gone = RepositoryGone("r1")
    says = "{} is empty and held the repository r1 before: was it unmounted, or emptied?"
    assert gone.message == says.format("the destination")
    assert gone.fields == {"repository_id": "r1"}
    assert gone.at("/backups").message == says.format("/backups")
    assert gone.at("/backups").fields == {"repository_id": "r1", "path": "/backups"}


def test_a_cluster_that_is_not_there_is_told_with_those_that_are() -> None:
    """Promise: a person picks one of them, by id or name, in an order that doesn't change."""
    told = ClusterNotFound("c9", {"c2": "two", "c1": "one"})
    assert told.message == "the repository has no cluster c9; there are: c1 (one), c2 (two)"
    assert told.fields == {"cluster": "c9", "clusters": {"c1": "one", "c2": "two"}}
    none = ClusterNotFound(None, {})
    assert none.message == "the repository has no cluster"
    assert none.fields == {"cluster": None, "clusters": {}}


def test_a_sweep_that_stands_still_tells_for_how_long() -> None:
    """Promise: a person reads the seconds that are left, a program has them to a tenth, and the whole margin too."""
    waits = SweepWaits(29.64, 1800.0)
    assert waits.message.startswith("waits 30 s between marking and deleting, so that ")
    assert waits.fields == {"seconds": 29.6, "margin_seconds": 1800.0}
