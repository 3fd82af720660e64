"""What the registry of destinations keeps and answers: findings of checks, limits, errors' fields, log lines."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.repository.destination_files import StoredDestination
from agent.repository.destinations import DestinationInUse, RevisionTooOld
from agent.repository.errors import UnknownDestination
from agent.wire.destinations import ON_SERVER, DestinationView, LocalSettings
from agent.wire.names import InvalidName
from agent.wire.throttle import PatchThrottle
from kit.errors import HelenusError, InvalidInput
from tests.fast.repository.destination_site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "destinations")


async def test_destinations_are_shown_in_order_with_all_that_is_known(site: Site) -> None:
    """Promise: what an agent answers about its destinations doesn't depend on how they came; nothing is in use until
    somebody uses it."""
    for name in ("b", "a", "c"):
        await site.put(4, name=name)
    await site.destinations.remember("a", 4, repository_id="r1", cluster_id="c1")
    assert site.destinations.views() == [
        DestinationView("a", 4, LocalSettings("a"), "r1", "c1", False),
        DestinationView("b", 4, LocalSettings("a"), None, None, False),
        DestinationView("c", 4, LocalSettings("a"), None, None, False),
    ]
    with site.destinations.used("b"):
        assert [view.in_use for view in site.destinations.views()] == [False, True, False]
        with site.destinations.used("b"):
            pass
        assert site.destinations.in_use("b"), "one of two has ended"
    assert not site.destinations.in_use("b")
    assert site.open == [], "to try settings opens nothing for long"


async def test_what_is_refused_names_its_field(site: Site) -> None:
    """Promise: a form shows an error where it belongs, and a coordinator knows whose and which revision is newer."""
    destinations = site.destinations
    await site.put(3)
    destinations.wanted = lambda destination_id: destination_id == "store"
    refused: list[tuple[type[HelenusError], dict[str, object], Callable[[], Awaitable[object]]]] = [
        (InvalidName, {"name": "a/b"}, lambda: site.put(1, name="a/b")),
        (InvalidInput, {"destination": ON_SERVER}, lambda: site.put(1, name=ON_SERVER)),
        (
            InvalidInput,
            {"setting": "throttle_bytes_per_second"},
            lambda: site.put(4, LocalSettings("a", throttle_bytes_per_second=-1)),
        ),
        (RevisionTooOld, {"destination": "store", "revision": 3}, lambda: site.put(2)),
        (DestinationInUse, {"destination": "store"}, lambda: site.put(4, LocalSettings("b"))),
        (DestinationInUse, {"destination": "store"}, lambda: destinations.delete("store")),
        (UnknownDestination, {"destination": "none"}, lambda: destinations.delete("none")),
    ]
    for kind, fields, tried in refused:
        with pytest.raises(kind) as told:
            await tried()
        assert fields.items() <= told.value.fields.items()
        assert told.value.message not in ("", "None")
    with pytest.raises(InvalidInput) as told_too:
        destinations.set_throttle(PatchThrottle(node_bytes_per_second=-1))
    assert told_too.value.fields == {"setting": "bytes_per_second"}
    assert destinations.record("store") == StoredDestination("store", 3, LocalSettings("a"))


async def test_what_was_made_for_settings_is_taken_back_when_they_go(site: Site) -> None:
    """Promise: once the settings lead to another place, or are forgotten; never for new keys or limits."""
    await site.put(1)
    await site.put(2, LocalSettings("a", throttle_bytes_per_second=5))
    assert site.taken_back == []
    limited = site.destinations.record("store")
    await site.put(3, LocalSettings("b"))
    assert site.taken_back == [limited]
    moved = site.destinations.record("store")
    await site.destinations.delete("store")
    assert site.taken_back == [limited, moved]


async def test_what_a_check_found_out_is_added_to_what_is_known(site: Site) -> None:
    """Promise: each finding stays until another of its kind comes, also after a restart; an epoch never falls."""
    destinations = site.destinations
    await site.put(1)
    assert destinations.record("store").key_epoch == 0
    await destinations.remember("store", 1, repository_id="r1")
    assert destinations.record("store") == StoredDestination("store", 1, LocalSettings("a"), "r1")
    await destinations.remember("store", 1, cluster_id="c1", key_epoch=2)
    await destinations.remember("store", 1, key_epoch=1)
    known = StoredDestination("store", 1, LocalSettings("a"), "r1", "c1", False, False, 2)
    assert destinations.record("store") == known
    await destinations.remember("store", 1, conditional_create=False)
    known = StoredDestination("store", 1, LocalSettings("a"), "r1", "c1", False, True, 2)
    assert destinations.record("store") == known
    await destinations.remember("store", 1, conditional_create=True)
    await destinations.remember("store", 1, repository_id="r2", cluster_id="c2", key_epoch=3)
    known = StoredDestination("store", 1, LocalSettings("a"), "r2", "c2", True, True, 3)
    assert destinations.record("store") == known
    for name, revision in (("store", 2), ("none", 1)):
        await destinations.remember(name, revision, repository_id="r3")
    assert (await site.restarted()).destinations.views() == destinations.views()
    assert (await site.restarted()).destinations.record("store") == known


async def test_a_limit_that_is_not_named_stays(site: Site) -> None:
    """Promise: node and destinations are limited apart from each other; 0 takes a limit away; a deleted destination
    leaves no limit to the next of its name."""
    destinations = site.destinations
    await site.put(1, LocalSettings("a", throttle_bytes_per_second=9), name="b")
    await site.put(1, name="a")
    assert destinations.throttle().destinations == {"a": 0, "b": 9}
    assert list(destinations.throttle().destinations) == ["a", "b"]
    assert destinations.set_throttle(PatchThrottle(7)).node_bytes_per_second == 7
    view = destinations.set_throttle(PatchThrottle(destinations={"a": 5, "b": 0}))
    assert (view.node_bytes_per_second, view.destinations) == (7, {"a": 5, "b": 0})
    assert destinations.set_throttle(PatchThrottle(0)).node_bytes_per_second == 0
    await destinations.delete("a")
    await site.put(1, name="a")
    assert destinations.throttle().destinations == {"a": 0, "b": 0}


async def test_changes_of_destinations_are_in_the_log(site: Site) -> None:
    """Promise: which destination was put, with which revision, and which was deleted."""
    with capture_logs() as lines:
        await site.put(3)
        await site.destinations.delete("store")
    assert lines == [
        {"event": "destination put", "log_level": "info", "destination": "store", "revision": 3},
        {"event": "destination deleted", "log_level": "info", "destination": "store"},
    ]
