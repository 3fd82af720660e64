"""Parameters of the text that its examples don't show, on a whole service: paging, filters, and what is deleted."""

import pytest

from agent.wire.results import ScrubResult
from tests.cluster.toy_service import TEXT_CLUSTER
from tests.orchestrate.golden.conftest import Told

C = f"/{TEXT_CLUSTER}"
TAGS = [f"opscenter_adhoc_2017-03-17-15-06-0{second}-UTC" for second in range(4)]
SCHEDULE = "opscenter_4a269167-96c1-40c7-84b7-b070c6bcd0cd_2012-06-07-18-00-00-UTC"
PLACE = "fe85800f3f4043a88fbe76fc45b22b19"


async def listed(told: Told, query: str) -> list[str]:
    """The tags of a listing, in its order."""
    status, listing = await told.service.ask("GET", f"{C}/backups?{query}")
    assert status == 200, listing
    return list(listing)


async def test_a_listing_is_paged_and_filtered(told: Told) -> None:
    """Promise: `amount` and `last_seen` page without loss or repetition, by time and by tag; `match` names a schedule
    or the backups by hand; `destination` another place; `list_all=1` is taken."""
    for tag in (*TAGS, SCHEDULE):
        await told.backup(tag)
    newest_first = [*TAGS[::-1], SCHEDULE]
    assert await listed(told, "") == newest_first
    assert await listed(told, "amount=2") == newest_first[:2]
    assert await listed(told, f"amount=2&last_seen={newest_first[1]}") == newest_first[2:4]
    assert await listed(told, "amount=0") == []
    _, first = await told.service.ask("GET", f"{C}/backups?amount=1")
    time = first[newest_first[0]]["time"]
    assert await listed(told, f"last_seen={time - 1}") == newest_first[1:]
    assert await listed(told, "match=adhoc") == newest_first[:4]
    assert await listed(told, "match=4a269167-96c1-40c7-84b7-b070c6bcd0cd") == [SCHEDULE]
    assert await listed(told, "list_all=1") == newest_first
    assert await listed(told, "destination=OPSC_ON_SERVER") == newest_first
    await told.destination(PLACE)
    assert await listed(told, f"destination={PLACE}") == []


async def test_a_damaged_backup_is_marked_where_it_is_listed(told: Told) -> None:
    """Promise: who chooses a backup to restore sees of which nodes a scrub found the part damaged, and of which backup
    alone."""
    await told.destination(PLACE)
    for tag in TAGS[:2]:
        await told.backup(tag, PLACE)
    lossy = told.service.world.nodes[0]
    lossy.damage = ScrubResult(damaged=1, backups=TAGS[:1])
    status, request = await told.service.ask("POST", f"{C}/backups/scrub", f'{{"destination": "{PLACE}"}}')
    assert status == 200, request
    await told.service.ended(request)
    _, listing = await told.service.ask("GET", f"{C}/backups?destination={PLACE}")
    marks = {tag: record.get("damaged_nodes") for tag, record in listing.items()}
    assert marks == {TAGS[0]: [{"address": lossy.address, "host_id": lossy.host_id}], TAGS[1]: None}


async def test_the_activity_is_paged_by_time_by_backup_and_in_both_directions(told: Told) -> None:
    """Promise: `first_backup_id` begins the page, the named one included, in either direction, and at the ends too;
    `reverse` turns the order and the sense of `timestamp`; filters narrow it."""
    for tag in TAGS:
        await told.backup(tag)

    async def tags(query: str) -> list[str]:
        status, events = await told.service.ask("GET", f"{C}/backup-activity?{query}")
        assert status == 200, events
        return [event["backup_id"] for event in events]

    assert await tags("") == TAGS[::-1]
    assert await tags("reverse=1") == TAGS
    assert await tags("reverse=0") == await tags("reverse=") == TAGS[::-1]
    assert await tags(f"first_backup_id={TAGS[1]}") == [TAGS[1], TAGS[0]]
    assert await tags(f"first_backup_id={TAGS[0]}") == [TAGS[0]]
    assert await tags(f"first_backup_id={TAGS[-1]}") == TAGS[::-1]
    assert await tags(f"first_backup_id={TAGS[1]}&reverse=1") == TAGS[1:]
    assert await tags(f"first_backup_id={TAGS[1]}&count=1") == [TAGS[1]]
    assert await tags("count=2") == [TAGS[3], TAGS[2]]
    status, refused = await told.service.ask("GET", f"{C}/backup-activity?first_backup_id=opscenter_none")
    assert (status, refused["type"]) == (400, "InvalidArguments")
    _, [*events] = await told.service.ask("GET", f"{C}/backup-activity")
    last = events[0]["event_time"]
    assert await tags(f"timestamp={last}") == TAGS[::-1]
    assert await tags(f"timestamp={last + 1}&reverse=1") == []
    assert await tags("timestamp=1") == []
    status, request = await told.service.ask("DELETE", f"{C}/backups?tag={TAGS[2]}")
    await told.service.ended(request)
    assert TAGS[2] not in await tags("filter_live=1&filter_type=backup")
    assert await tags("filter_type=delete") == [TAGS[2]]
    assert len(await tags("filter_success=1")) == 5


@pytest.mark.parametrize(("word", "forgotten"), [("true", True), ("1", True), ("Delete%20Backup%20Data", False)])
async def test_a_delete_forgets_the_destination_only_when_that_is_clearly_asked(
    told: Told, word: str, forgotten: bool
) -> None:
    """Promise: the backup goes in any case; the settings go by a clear yes alone, OpsCenter's own sentence is none."""
    await told.destination(PLACE)
    await told.backup(TAGS[0], PLACE, keep=False)
    path = f"{C}/backups?tag={TAGS[0]}&destination={PLACE}&remove_destination={word}"
    status, request = await told.service.ask("DELETE", path)
    assert status == 200, request
    assert (await told.service.ended(request))["state"] == "success"
    _, destinations = await told.service.ask("GET", f"{C}/backups/destinations")
    assert (PLACE not in destinations) is forgotten
    if not forgotten:
        assert await listed(told, f"destination={PLACE}") == []


async def test_a_sync_and_a_run_take_several_destinations(told: Told) -> None:
    """Promise: each named destination has the backup afterwards, and no data is deleted by that."""
    other = "06747042-5a9a-45e7-8fa0-297abb68448f"
    await told.destination(PLACE)
    await told.destination(other, "example-opscenter-backups-2")
    await told.backup(TAGS[0])
    body = f'{{"tag": "{TAGS[0]}", "destinations": {{"{PLACE}": {{}}, "{other}": {{}}}}}}'
    _, request = await told.service.ask("POST", f"{C}/backups/sync", body)
    assert (await told.service.ended(request))["state"] == "success"
    for query in ("", f"destination={PLACE}", f"destination={other}"):
        assert await listed(told, query) == [TAGS[0]]
    _, destinations = await told.service.ask("GET", f"{C}/backups/destinations")
    assert destinations.keys() == {PLACE, other}


async def test_a_cancel_answers_the_id_and_an_ended_request_is_a_conflict(told: Told) -> None:
    """Promise: there is nothing to cancel in what has ended; requests of a type tell the same state."""
    _, request = await told.service.ask("POST", f"{C}/backups/run", "{}")
    await told.service.ended(request)
    status, refused = await told.service.ask("POST", f"/request/{request}/cancel")
    assert (status, refused["code"]) == (409, "request_finished")
    _, [only] = await told.service.ask("GET", f"{C}/request/backup/status")
    assert (only["id"], only["state"]) == (request, "success")
