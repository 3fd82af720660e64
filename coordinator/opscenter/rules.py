"""Rules of retention as people send and see them. In: `cleanup_age`, `cleanup_age_unit` (OpsCenter's), `cleanup_count`
and `cleanup_floor` (ours) of a destination, of a run, or of a destination in a run. Out: rules in the store.

What isn't sent stays as it was. An age or a count of 0 is OpsCenter's «Retain All»: nothing goes for that. A backup id
that was told so keeps a rule that says it, or the wider one of the destination would hold for it.
"""

from collections.abc import Mapping
from typing import Any

from coordinator.model.retention import SECONDS_OF, KeptRule, Rule
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api

NAMES = ("cleanup_age", "cleanup_age_unit", "cleanup_count", "cleanup_floor")
MOST = 1_000_000
"""Units or backups that a rule may name."""


def take_rule(options: dict[str, Any], inside: str = "") -> dict[str, Any]:
    """What the options say of retention, taken out of them and checked; empty when they say nothing."""
    sent = {name: options.pop(name, None) for name in NAMES}
    given: dict[str, Any] = {}
    for name, field, least in (("cleanup_age", "age", 0), ("cleanup_count", "count", 0), ("cleanup_floor", "floor", 1)):
        if sent[name] is None or sent[name] == "":
            continue
        given[field] = quirks.as_int(sent[name], inside + name, least=least)
        if given[field] > MOST:
            raise quirks.refuse(inside + name, f"must be at most {MOST}, not {quirks.shown(sent[name])}")
    unit = sent["cleanup_age_unit"]
    if unit is not None and unit != "":
        quirks.as_one_of(unit, f"{inside}cleanup_age_unit", SECONDS_OF)
        if "age" in given:  # a unit without an age asks for nothing
            given["unit"] = unit
    if given.get("age") and "unit" not in given:
        given["unit"] = "days"
    return given


async def keep_rules(api: Api, cluster: str, backup_id: str, given: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep what was given for each place (a destination's id or OPSC_ON_SERVER): place → as `take_rule` gave it."""
    rules = []
    for place, changes in given.items():
        if not changes:
            continue
        known = {kept.backup_id: kept.rule for kept in await api.store.retention.of(cluster, place)}
        before = known.get(backup_id, Rule(floor=api.floor))
        fields = {"age": before.age, "unit": before.unit, "count": before.count, "floor": before.floor, **changes}
        rules.append(KeptRule(cluster, place, backup_id, Rule(**fields)))
    if rules:
        await api.store.retention.put(rules)


async def own_rules(api: Api, cluster: str, backup_id: str, given: Mapping[str, Mapping[str, Any]]) -> list[KeptRule]:
    """What is to be kept so that the backup id has these rules and no others: place → as `take_rule` gave it. Where it
    had one and nothing is said any more it retains all; where nothing was ever said it has none, and the place's
    holds."""
    former = {kept.destination for kept in await api.store.retention.of(cluster) if kept.backup_id == backup_id}
    rules = []
    for place in sorted(former | {place for place, said in given.items() if said}):
        rule = Rule(**{"floor": api.floor, **given.get(place, {})})
        rules.append(KeptRule(cluster, place, backup_id, rule))
    return rules


def shown_rule(rule: Rule) -> dict[str, Any]:
    """The rule under the names that it is sent by."""
    return {
        "cleanup_age": rule.age,
        "cleanup_age_unit": rule.unit,
        "cleanup_count": rule.count,
        "cleanup_floor": rule.floor,
    }
