"""What every store of the coordinator's keeps, whatever keeps it: a class of tests for each to inherit.

In: `site` (`store_samples.Site`)."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from agent.wire.commands import Counts
from agent.wire.destinations import LocalSettings
from coordinator.model.activity import ActivityQuery
from coordinator.model.orders import BackupOrder, Copy
from coordinator.model.requests import NodePart, RequestKind, RequestState, order_of
from coordinator.model.retention import KeptRule, Rule
from coordinator.store.keeping import KEEP_ACTIVITY_SECONDS, KEEP_DETAILS_SECONDS
from coordinator.store.protocol import Store
from tests.cluster.large_cluster import LargeCluster
from tests.cluster.store_contract_people import OutboxContract, PeopleContract, SchedulesContract
from tests.cluster.store_contract_rules import RulesContract
from tests.cluster.store_samples import AT, CLUSTER, NOW, TAG, Site, command, ended, event, place, request


class RequestsContract:
    """Of requests, their steps and their ends."""

    async def test_what_was_written_is_there_after_a_crash(self, site: Site) -> None:
        """Promise: killed with -9 at any time, the coordinator finds request, order, steps, commands, fence and
        destination."""
        kept = await site.open()
        await kept.requests.create(request(), [event()])
        await kept.requests.record_step("r1", "truncated", {"by": "h1"})
        await kept.commands.put([command("c1")])
        await kept.destinations.put(place())
        await kept.values.put("seen", {"a1": 7})
        assert await kept.commands.next_fence("r1") == 1

        again = await site.open()
        found = await again.requests.find(state=RequestState.RUNNING)
        assert found == [request()]
        assert order_of(found[0]) == BackupOrder(tag=TAG, time=AT, keyspaces={"shop": []}, copies=[Copy("d1", 5)])
        assert await again.requests.step("r1", "truncated") == {"by": "h1"}
        assert await again.requests.step("r1", "imported") is None
        assert await again.commands.of("r1") == [command("c1")]
        assert await again.commands.get("c1") == command("c1")
        assert await again.commands.get("c2") is None
        assert await again.commands.next_fence("r1") == 2
        assert await again.commands.next_fence("r2") == 1
        assert await again.commands.next_fence("r2", above=7) == 8
        assert await again.destinations.get(CLUSTER, "d1") == place()
        assert await again.values.get("seen") == {"a1": 7}
        assert await again.values.get("unseen") is None
        assert await again.requests.events(CLUSTER) == [event()]

    async def test_a_request_ends_once(self, site: Site) -> None:
        """Promise: the first terminal form stays, whoever comes late."""
        store = await site.open()
        await store.requests.create(request(), [event()])
        part = NodePart("127.0.70.1", "h1", "c1", RequestState.SUCCESS, progress={"d1": {"shop": {"a": Counts(1, 1)}}})
        done = request(state=RequestState.SUCCESS, finished=NOW + 1)
        assert await store.requests.parts("r1") == []
        await store.requests.finish(done, [part], [event(status="success")])
        await store.requests.finish(request(state=RequestState.ERROR, finished=NOW + 2), [], [event(status="error")])
        await store.requests.update(request(message="late"))
        assert await store.requests.get("r1") == done
        assert await store.requests.parts("r1") == [part]
        assert [one.status for one in await store.requests.events(CLUSTER)] == ["success"]
        assert await store.requests.find(state=RequestState.RUNNING) == []
        await store.requests.finish(request("nobody", state=RequestState.ERROR, finished=NOW))
        assert await store.requests.get("nobody") is None

    async def test_creating_a_request_twice_changes_nothing(self, site: Site) -> None:
        """Promise: a retried create does not throw back a request that has gone on."""
        store = await site.open()
        await store.requests.create(request(), [event()])
        await store.requests.finish(request(state=RequestState.SUCCESS, finished=NOW), [], [event(status="success")])
        await store.requests.create(request(), [event()])
        found = await store.requests.get("r1")
        assert found is not None
        assert found.state is RequestState.SUCCESS
        assert (await store.requests.events(CLUSTER))[0].status == "success"
        assert len(await store.requests.find(cluster=CLUSTER)) == 1

    async def test_requests_are_found_by_what_is_known_of_them(self, site: Site) -> None:
        """Promise: by cluster, kind, state and tag together, oldest first, those that run and those that ended."""
        store = await site.open()
        await ended(store, "z", AT)
        await store.requests.create(request("y", kind=RequestKind.RESTORE))
        await store.requests.create(request("x", tag=None))
        await store.requests.create(request("w", cluster="other"))

        async def found(**asked: Any) -> list[str]:
            return [one.id for one in await store.requests.find(**asked)]

        assert await found() == ["z", "y", "x", "w"]
        assert await found(cluster=CLUSTER) == ["z", "y", "x"]
        assert await found(cluster=CLUSTER, tag=TAG) == ["z", "y"]
        assert await found(tag=TAG) == ["z", "y", "w"]
        assert await found(cluster=CLUSTER, kind=RequestKind.RESTORE, tag=TAG) == ["y"]
        assert await found(cluster=CLUSTER, kind=RequestKind.BACKUP) == ["z", "x"]
        assert await found(state=RequestState.SUCCESS) == ["z"]
        assert await found(cluster=CLUSTER, state=RequestState.RUNNING) == ["y", "x"]
        assert await found(cluster=CLUSTER, state=RequestState.RUNNING, tag=TAG) == ["y"]
        await store.requests.update(request("x", tag="later"))
        assert await found(cluster=CLUSTER, tag="later") == ["x"]

    async def test_a_cancel_is_not_lost_in_an_update(self, site: Site) -> None:
        """Promise: the orchestrator may write its older view of the request after a person asked to stop it."""
        store = await site.open()
        await store.requests.create(request())
        asked = await store.requests.ask_cancel("r1", force=False)
        assert asked is not None
        assert asked.cancel == "asked"
        await store.requests.update(request(message="going on"))
        forced = await store.requests.ask_cancel("r1", force=True)
        assert forced is not None
        assert (forced.cancel, forced.message) == ("force", "going on")
        weaker = await store.requests.ask_cancel("r1", force=False)
        assert weaker is not None
        assert weaker.cancel == "force"
        await store.requests.finish(request(state=RequestState.CANCELLED, finished=NOW))
        late = await store.requests.ask_cancel("r1", force=True)
        assert late is not None
        assert (late.state, late.cancel) == (RequestState.CANCELLED, "force")
        assert await store.requests.ask_cancel("nobody", force=False) is None

    async def test_a_cancel_that_came_too_late_is_dropped(self, site: Site) -> None:
        """Promise: it is not asked for any more, in later lives too; one with force that came since stays, and so does
        what a request ended with."""
        store = await site.open()
        await store.requests.create(request())
        await store.requests.ask_cancel("r1", force=False)
        await store.requests.update(request(message="going on"))
        await store.requests.drop_cancel("r1", "asked")
        dropped = await (await site.open()).requests.get("r1")
        assert dropped is not None
        assert (dropped.cancel, dropped.message) == ("", "going on")
        await store.requests.ask_cancel("r1", force=True)
        await store.requests.drop_cancel("r1", "asked")
        await store.requests.finish(request(state=RequestState.CANCELLED, finished=NOW))
        await store.requests.drop_cancel("r1", "force")
        ended = await store.requests.get("r1")
        assert ended is not None
        assert ended.cancel == "force"
        await store.requests.drop_cancel("nobody", "asked")
        assert await store.requests.get("nobody") is None

    async def test_tags_are_given_once_per_cluster(self, site: Site) -> None:
        """Promise: backups begun in one second get tags of following seconds; other clusters have their own."""
        store = await site.open()
        given = await asyncio.gather(*(store.requests.claim_tag("c", "adhoc", AT) for _ in range(3)))
        assert sorted(at for _, at in given) == [AT, AT + 1, AT + 2]
        assert sorted(tag for tag, _ in given) == [
            f"opscenter_adhoc_2017-03-17-15-06-{second}-UTC" for second in ("09", "10", "11")
        ]
        again = await site.open()
        assert (await again.requests.claim_tag("c", "adhoc", AT))[1] == AT + 3
        assert (await again.requests.claim_tag("other", "adhoc", AT))[0] == TAG
        await again.requests.create(request("r1", cluster="third"))
        assert (await again.requests.claim_tag("third", "adhoc", AT))[1] == AT + 1

    async def test_a_step_can_be_replaced(self, site: Site) -> None:
        """Promise: a phase reads back what it has done last, of its own request."""
        store = await site.open()
        await store.requests.record_step("r1", "first", {"n": 1})
        await store.requests.record_steps("r1", {"second": {}, "first": {"n": 2}})
        assert await store.requests.step("r1", "first") == {"n": 2}
        assert await store.requests.step("r1", "second") == {}
        assert await store.requests.step("r2", "first") is None

    async def test_a_large_step_reads_the_same(self, site: Site) -> None:
        """Promise: a backup's scope, which grows with the cluster, is kept and replaced whole."""
        store = await site.open()
        for nodes in (20, 5):
            large = {"plan": msgspec.to_builtins(LargeCluster(nodes, 256, 5).plan())}
            await store.requests.record_step("r1", "scope", large)
            assert await store.requests.step("r1", "scope") == large

    async def test_a_thousand_commands_are_kept_at_once(self, site: Site) -> None:
        """Promise: what is posted to a large cluster is kept all or nothing, in its order, and replaced one by one."""
        store = await site.open()
        tables = {f"keyspace{number}": [f"table{number}-{each}" for each in range(40)] for number in range(3)}
        posted = [command(f"c{number}", arguments={"tables": tables}) for number in range(1000)]
        await store.commands.put(posted)
        posted[7] = msgspec.structs.replace(posted[7], accepted=True)
        await store.commands.put([posted[7]])
        assert await store.commands.of("r1") == posted

    async def test_cancels_are_owed_until_they_are_told(self, site: Site) -> None:
        """Promise: an agent that couldn't be told is told later, also by a coordinator that was started since."""
        store = await site.open()
        owed = command("c1", cancel_owed=True)
        await store.commands.put([owed, command("c2")])
        again = await site.open()
        assert await again.commands.cancels_owed() == [owed]
        await again.commands.put([msgspec.structs.replace(owed, cancel_owed=False)])
        assert await store.commands.cancels_owed() == []
        await store.commands.put([owed])
        assert await again.commands.cancels_owed() == [owed]

    async def test_a_cancelled_caller_leaves_a_whole_write(self, site: Site) -> None:
        """Promise: a task that dies while it writes harms neither its own record nor the next writer."""
        store = await site.open()
        writing = asyncio.create_task(store.requests.create(request(), [event()]))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        await store.requests.create(request("r2"))
        async with asyncio.timeout(60):
            while len(found := await store.requests.find(cluster=CLUSTER, tag=TAG)) < 2:
                continue
        assert [one.id for one in found] == ["r1", "r2"]
        assert await store.requests.events_of("r1") == [event()]


class PlacesContract:
    """Of destinations and rules, and of what goes with a request's end."""

    async def test_an_older_revision_of_a_destination_changes_nothing(self, site: Site) -> None:
        """Promise: two updates that cross end with the newer settings."""
        store = await site.open()
        await store.destinations.put(place("d1", 2))
        await store.destinations.put(place("d0", 1))
        older = msgspec.structs.replace(place("d1", 1), settings=LocalSettings("/a"))
        await store.destinations.put(older)
        assert await store.destinations.all(CLUSTER) == [place("d1", 2), place("d0", 1)]
        assert await store.destinations.get("other", "d1") is None
        assert await store.destinations.remove(CLUSTER, "d1")
        assert not await store.destinations.remove(CLUSTER, "d1")
        await store.destinations.put(older)
        assert await store.destinations.get(CLUSTER, "d1") == older

    async def test_destinations_go_with_the_end_of_a_request_and_only_once(self, site: Site) -> None:
        """Promise: all at once with its end: a request that runs finds its destination, whatever dies in between."""
        store = await site.open()
        await store.requests.create(request())
        for each in (place(), place("d2"), place(cluster="other")):
            await store.destinations.put(each)
        await store.retention.put([KeptRule(CLUSTER, "d1", "", Rule(age=1)), KeptRule(CLUSTER, "d2", "", Rule(age=2))])
        done = request(state=RequestState.SUCCESS, finished=NOW)
        await store.requests.finish(done, forget=["d1"])
        await store.requests.finish(done, forget=["d2"])
        assert [each.id for each in await store.destinations.all(CLUSTER)] == ["d2"]
        assert [each.destination for each in await store.retention.of(CLUSTER)] == ["d2"]
        assert await store.destinations.get("other", "d1") is not None
        await store.destinations.put(place())
        await store.requests.finish(done, forget=["d1"])
        assert await store.destinations.get(CLUSTER, "d1") == place()


class ActivityContract:
    """Of the activity log's order and pages."""

    async def test_a_deleted_backup_is_marked_in_the_activity(self, site: Site) -> None:
        """Promise: only the event of that place is marked, once, and the request's end doesn't clear it."""
        store = await site.open()
        where = place()
        await store.requests.create(request(), [event(), event(destination=where)])
        await store.requests.mark_deleted(CLUSTER, TAG, "d1", 5)
        await store.requests.mark_deleted(CLUSTER, TAG, "d1", 9)
        done = request(state=RequestState.SUCCESS, finished=NOW)
        await store.requests.finish(done, [], [event(destination=where, status="success")])
        told = {one.destination["id"]: one.deleted_at for one in await store.requests.events(CLUSTER)}
        assert told == {"OPSC_ON_SERVER": None, "d1": 5}
        assert {one.destination["id"]: one.deleted_at for one in await store.requests.events_of("r1")} == told
        await store.requests.mark_deleted(CLUSTER, TAG, "OPSC_ON_SERVER", 11)
        live = await store.requests.events(CLUSTER, ActivityQuery(live=True))
        assert live == []

    async def test_what_left_nothing_is_not_live(self, site: Site) -> None:
        """Promise: of backups that aren't deleted those are live that run, succeeded, or have some parts whole; a
        cancelled or failed one isn't."""
        store = await site.open()
        ends = {"running": False, "success": False, "partial": True, "error": False, "cancelled": False}
        for name, partial in ends.items():
            await store.requests.create(request(name, tag=name), [event(name, tag=name)])
            if name != "running":
                state = RequestState.ERROR if partial else RequestState(name)
                shown = msgspec.structs.replace(event(name, status=state, tag=name), partial=partial)
                await store.requests.finish(request(name, tag=name, state=state, finished=NOW), [], [shown])
        live = await store.requests.events(CLUSTER, ActivityQuery(live=True))
        assert [one.tag for one in live] == ["running", "success", "partial"]

    async def test_equal_times_keep_their_order_and_pages_follow_each_other(self, site: Site) -> None:
        """Promise: first_backup_id, taken from a page, begins the next one among events of the same second, both ways
        round; a week's end is no page's."""
        store = await site.open()
        tags = [f"tag{number}" for number in range(5)]
        for number, tag in enumerate(tags):
            at = AT if number < 4 else AT + 1_000_000
            await store.requests.create(request(f"r{9 - number}", tag=tag), [event(f"r{9 - number}", at=at, tag=tag)])

        async def page(**query: Any) -> list[str]:
            return [one.tag for one in await store.requests.events(CLUSTER, ActivityQuery(**query))]

        assert await page() == tags
        assert await page(newest_first=True) == tags[::-1]
        assert await page(newest_first=True, first="tag2", count=2) == ["tag2", "tag1"]
        assert await page(first="tag2") == ["tag2", "tag3", "tag4"]
        assert await page(newest_first=True, first="tag2", timestamp=AT) == ["tag2", "tag1", "tag0"]
        assert await page(newest_first=True, timestamp=AT) == ["tag3", "tag2", "tag1", "tag0"]
        assert await page(first="tag2", timestamp=AT + 1) == []
        assert await page(timestamp=AT + 1) == ["tag4"]
        assert await page(first="nobody") == []
        assert await page(successful=True) == []
        assert await page(type="restore") == []


class PruneContract:
    """Of what goes by age."""

    async def test_details_of_old_requests_are_dropped_and_the_request_stays(self, site: Site) -> None:
        """Promise: the state doesn't grow for ever with what nobody reads any more."""
        store = await site.open()
        await store.requests.create(request(), [event()])
        await store.requests.record_step("r1", "first", {})
        await store.commands.put([command("c1")])
        done = request(state=RequestState.SUCCESS, finished=NOW)
        await store.requests.finish(done, [NodePart("a", "h", "c", RequestState.SUCCESS)])
        again = await site.open(NOW + KEEP_DETAILS_SECONDS + 1)
        assert await again.requests.parts("r1") == []
        assert await again.requests.step("r1", "first") is None
        assert await again.commands.of("r1") == []
        assert await again.commands.get("c1") is None
        assert await again.requests.get("r1") is not None
        assert len(await again.requests.events(CLUSTER)) == 1

    @pytest.mark.parametrize("name", ["job", "resumable_job"])
    async def test_steps_of_a_job_stay_as_long_as_a_later_request_uses_them(self, site: Site, name: str) -> None:
        """Promise: the steps of a restore stand under its first request, however long ago that one ended."""
        store = await site.open()
        restore = request(kind=RequestKind.RESTORE, spec={"tag": TAG})
        await store.requests.create(restore)
        await store.requests.record_step("r1", "truncated", {})
        await store.requests.finish(msgspec.structs.replace(restore, state=RequestState.ERROR, finished=NOW))
        later = msgspec.structs.replace(restore, id="r2", result={name: "r1"})
        await store.requests.create(later)
        await store.prune(NOW + KEEP_DETAILS_SECONDS + 1)
        assert await store.requests.step("r1", "truncated") == {}
        await store.requests.finish(msgspec.structs.replace(later, state=RequestState.ERROR, finished=NOW + 100))
        await store.prune(NOW + KEEP_DETAILS_SECONDS + 50)
        assert await store.requests.step("r1", "truncated") == {}
        await store.prune(NOW + KEEP_DETAILS_SECONDS + 101)
        assert await store.requests.step("r1", "truncated") is None

    async def test_steps_of_a_point_that_stopped_stay_as_long_as_it_can_be_gone_on_with(self, site: Site) -> None:
        """Promise: nodes may be stopped by it: sent again after months, it knows which, and its fence is higher."""
        store = await site.open()
        point = request(kind=RequestKind.POINT_IN_TIME, spec={"pit_micros": 5})
        await store.requests.create(point)
        await store.requests.record_step("r1", "stopping", {})
        await store.commands.next_fence("r1")
        stopped = msgspec.structs.replace(point, state=RequestState.ERROR, finished=NOW, result={"resumable_job": "r1"})
        await store.requests.finish(stopped)
        again = await site.open(NOW + KEEP_ACTIVITY_SECONDS - 1)
        assert await again.requests.step("r1", "stopping") == {}
        assert await again.commands.next_fence("r1") == 2
        await again.prune(NOW + KEEP_ACTIVITY_SECONDS + 1)
        assert await again.requests.get("r1") is None
        assert await again.requests.step("r1", "stopping") is None

    async def test_what_ended_a_year_ago_is_dropped_and_what_runs_stays(self, site: Site) -> None:
        """Promise: requests and their events go by age; a tag that was given is never given again."""
        store = await site.open()
        tag, at = await store.requests.claim_tag(CLUSTER, "adhoc", AT)
        await ended(store, "old", AT)
        await store.requests.create(request("runs"), [event("runs")])
        await store.commands.next_fence("old")
        await store.prune(NOW + KEEP_ACTIVITY_SECONDS - 1)
        assert await store.requests.get("old") is not None
        assert len(await store.requests.events(CLUSTER)) == 2
        await store.prune(NOW + KEEP_ACTIVITY_SECONDS + 10)
        await self._only_this_runs(await site.open(NOW + KEEP_ACTIVITY_SECONDS + 20), ["runs"])
        assert (tag, at) == (TAG, AT)
        assert (await store.requests.claim_tag(CLUSTER, "adhoc", AT))[0] != TAG
        await store.requests.create(request("old"), [event("old")])
        await self._only_this_runs(store, ["runs", "old"])

    async def _only_this_runs(self, store: Store, names: Sequence[str]) -> None:
        assert [one.id for one in await store.requests.find()] == [*names]
        assert [one.id for one in await store.requests.find(state=RequestState.RUNNING)] == [*names]
        assert [one.id for one in await store.requests.find(cluster=CLUSTER, tag=TAG)] == [*names]
        assert [one.request for one in await store.requests.events(CLUSTER)] == [*names]


class StoreContract(
    RequestsContract,
    PlacesContract,
    RulesContract,
    ActivityContract,
    PruneContract,
    PeopleContract,
    SchedulesContract,
    OutboxContract,
):
    """All of it."""
