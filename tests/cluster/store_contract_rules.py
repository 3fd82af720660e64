"""What every store of the coordinator's keeps of rules of retention, and what ends them: a class of tests for each to
inherit.

In: `site` (`store_samples.Site`)."""

import asyncio

import msgspec
import pytest

from agent.wire.destinations import ON_SERVER
from coordinator.model.orders import Copy
from coordinator.model.requests import RequestState
from coordinator.model.retention import KeptRule, Rule
from coordinator.model.schedules import BackupJob, Schedule
from coordinator.store.protocol import Store
from tests.cluster.store_contract_people import schedule
from tests.cluster.store_samples import CLUSTER, NOW, Site, place, request

ALL = Rule()
"""It retains all."""


def kept(where: str, by: str, rule: Rule, cluster: str = CLUSTER) -> KeptRule:
    return KeptRule(cluster, where, by, rule)


def copying(version: int = 1, *, keep: bool = True) -> Schedule:
    """One that copies to d1 and d2."""
    return msgspec.structs.replace(
        schedule(version=version), job=BackupJob(keep=keep, copies=[Copy("d1", 5), Copy("d2", 5)])
    )


async def forget_by_request(store: Store) -> None:
    """d1 goes with the end of a request."""
    await store.requests.create(request())
    await store.requests.finish(request(state=RequestState.SUCCESS, finished=NOW), forget=["d1"])


class RulesContract:
    """Of rules."""

    async def test_rules_are_replaced_and_go_with_their_destination(self, site: Site) -> None:
        """Promise: a rule is replaced by one of the same place and id only. One of an id that retains all is kept, so
        that none for every id takes its place; one for every id that retains all is none."""
        store = await site.open()
        rules = [
            kept(where, by, Rule(age=number + 1), "c")
            for number, (where, by) in enumerate([("a", ""), ("a", "adhoc"), ("b", ""), ("b", "s1")])
        ]
        await store.retention.put(rules)
        assert await store.retention.of("c") == rules
        assert await store.retention.of("other") == []
        retains = kept("a", "adhoc", Rule(floor=9), "c")
        await store.retention.put([kept("a", "", Rule(count=3), "c"), retains, kept("b", "", ALL, "c")])
        assert await store.retention.of("c", "a") == [kept("a", "", Rule(count=3), "c"), retains]
        await store.retention.put([kept("a", "", ALL, "c"), kept("a", "", Rule(age=5), "c"), kept("b", "", ALL, "c")])
        assert await store.retention.of("c", "a") == [kept("a", "", Rule(age=5), "c"), retains]
        await store.destinations.remove("c", "a")
        assert await (await site.open()).retention.of("c") == [rules[3]]

    @pytest.mark.parametrize("by_request", [False, True])
    async def test_a_repository_that_is_added_anew_retains_what_had_a_rule(self, site: Site, by_request: bool) -> None:
        """Promise: whether a person or a request's end forgot its destination, ids that had a rule of their own there
        retain all in the destination that has it next; what they are kept by meanwhile isn't listed."""
        store = await site.open()
        await store.destinations.put(place("d1"))
        await store.destinations.put(msgspec.structs.replace(place("d2"), repository_id="another"))
        rules = [kept("d1", "", Rule(age=1)), kept("d1", "adhoc", Rule(age=2)), kept("d1", "s1", Rule(count=3))]
        await store.retention.put(rules)
        await (forget_by_request(store) if by_request else store.destinations.remove(CLUSTER, "d1"))
        again = await site.open()
        assert await again.retention.of(CLUSTER) == []
        await again.destinations.put(msgspec.structs.replace(place("d3"), repository_id="third"))
        await again.destinations.put(place("d1", cluster="other"))
        assert await store.retention.of(CLUSTER) == await store.retention.of("other") == []
        await store.retention.put([kept("d4", "s1", Rule(count=9))])
        await again.destinations.put(place("d4"))
        assert await store.retention.of(CLUSTER) == [kept("d4", "adhoc", ALL), kept("d4", "s1", Rule(count=9))]

    async def test_a_destination_that_becomes_another_repository_leaves_what_had_a_rule(self, site: Site) -> None:
        """Promise: ids that had a rule of their own in the former repository retain all when that is added anew; an
        older revision, which changes nothing, makes no rules either."""
        store = await site.open()
        await store.destinations.put(place("d1", 2))
        rules = [kept("d1", "", Rule(age=1)), kept("d1", "s1", Rule(age=2))]
        await store.retention.put(rules)
        await store.destinations.put(msgspec.structs.replace(place("d1", 3), repository_id="another"))
        await store.destinations.put(place("d1", 4))
        await store.destinations.put(msgspec.structs.replace(place("d1", 5), repository_id="another"))
        assert await store.retention.of(CLUSTER) == rules
        await store.destinations.put(place("d2", 3))
        assert await store.retention.of(CLUSTER, "d2") == [kept("d2", "s1", ALL)]
        await store.destinations.put(msgspec.structs.replace(place("d3", 3), repository_id="fourth"))
        await store.destinations.put(place("d3", 2))
        assert await store.retention.of(CLUSTER, "d3") == []

    async def test_a_place_that_a_request_did_not_forget_keeps_its_rules(self, site: Site) -> None:
        """Promise: a second end of a request takes no rule away, nor leaves any for the repository."""
        store = await site.open()
        await forget_by_request(store)
        await store.destinations.put(place("d1"))
        rules = [kept("d1", "s1", Rule(age=2))]
        await store.retention.put(rules)
        await store.requests.finish(request(state=RequestState.SUCCESS, finished=NOW), forget=["d1"])
        await store.destinations.put(place("d2"))
        assert await store.retention.of(CLUSTER) == rules

    async def test_a_schedule_is_kept_with_its_rules_or_neither(self, site: Site) -> None:
        """Promise: rules come with the version that they belong to; of two versions that meet the loser's are none."""
        store, second = await site.open(), await site.open()
        first = [kept("d1", "s1", Rule(age=1)), kept("d2", "s1", Rule(age=1))]
        assert await store.schedules.put(copying(), first)
        assert await second.retention.of(CLUSTER) == first
        assert not await store.schedules.put(copying(3), [kept("d1", "s1", Rule(age=3))])
        assert not await store.schedules.put(copying(), [kept("d1", "s1", Rule(age=3))])
        assert await second.retention.of(CLUSTER) == first
        assert await store.schedules.put(copying(2))
        assert await second.retention.of(CLUSTER) == first
        rules = [[kept("d1", "s1", Rule(age=age)), kept("d2", "s1", ALL)] for age in (7, 8)]
        stores = (store, second)
        done = await asyncio.gather(
            *(each.schedules.put(copying(3), some) for each, some in zip(stores, rules, strict=True))
        )
        assert sorted(done) == [False, True]
        assert await store.retention.of(CLUSTER) == rules[done.index(True)]
        assert await store.schedules.of(CLUSTER) == [copying(3)]

    @pytest.mark.parametrize("keep", [False, True])
    async def test_the_id_of_a_schedule_that_is_removed_retains_all(self, site: Site, keep: bool) -> None:
        """Promise: at each place of its job and wherever it had a rule, also where no destination is kept; other
        ids' rules stay, and nothing is done for a schedule that isn't there."""
        store = await site.open()
        others = [kept("d1", "", Rule(age=1)), kept("d1", "adhoc", Rule(age=2))]
        await store.schedules.put(copying(keep=keep), [kept("d1", "s1", Rule(age=3)), kept("d9", "s1", Rule(age=4))])
        await store.retention.put(others)
        before = await store.retention.of(CLUSTER)
        assert not await store.schedules.remove(CLUSTER, "s2")
        assert not await store.schedules.remove("other", "s1")
        assert await store.retention.of(CLUSTER) == before
        assert await store.schedules.remove(CLUSTER, "s1")
        ended = [kept(where, "s1", ALL) for where in ("d1", "d2", "d9", *([ON_SERVER] if keep else []))]
        assert await (await site.open()).retention.of(CLUSTER) == sorted(
            [*others, *ended], key=lambda each: (each.destination, each.backup_id)
        )
        assert await store.schedules.of(CLUSTER) == []
