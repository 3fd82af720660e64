"""What plans and listing records say, judged by what is there: in, the JSON of one tag and the manifests that were
read; out, what does not agree. Shares no code with the agent.

A record's word counts as long as no delete mark stands: a plan is put before it, a node that it calls `success` has
its manifest with these bytes, and the backup is `success` when every planned node is, and only then.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Listing:
    """What a destination says of one tag. `records`: number → record."""

    tag: str
    plan: dict[str, Any] | None = None
    records: dict[int, dict[str, Any]] = field(default_factory=dict)


def lies(listing: Listing, heads: Mapping[str, Mapping[str, Any]], *, per_node: bool) -> Iterator[str]:
    """Whatever is wrong with the listing. `heads`: host id → head of its manifest of this tag. `per_node`: the
    destination is one node's own directory, so that it has one manifest, whichever node's, of those that are told."""
    tag, plan = listing.tag, listing.plan
    for number, record in sorted(listing.records.items()):
        if record["tag"] != tag:
            yield f"the record {number} of {tag} is one of {record['tag']}"
    if plan is None:
        yield f"{tag} has a record, and no plan"
        return
    if plan["tag"] != tag:
        yield f"the plan of {tag} is one of {plan['tag']}"
    if not listing.records:
        return
    number, record = max(listing.records.items())
    where = f"the record {number} of {tag}"
    if (record["backup_id"], record["time"]) != (plan["backup_id"], plan["time"]):
        yield f"{where} is of another backup than the plan"
    good = {line["host_id"]: line["sizes"] for line in record["nodes"] if line["state"] == "success"}
    planned = {node["host_id"] for node in plan["nodes"]}
    whole = bool(good) and len(good) == len(record["nodes"]) and planned <= set(good)
    if (record["state"] == "success") != whole:
        yield f"{where} says {record['state']}, of {sorted(planned)} it calls {sorted(good)} good"
    there = set(good) & set(heads)
    if there != set(good) and not (per_node and len(there) == 1):
        yield f"I5: {where} tells of success on {sorted(set(good) - there)}, whose manifest is not there"
    for host_id in sorted(there):
        found: dict[str, int] = {}
        for table in heads[host_id]["tables"]:
            found[table["keyspace"]] = found.get(table["keyspace"], 0) + table["bytes"]
        if good[host_id] != found:
            yield f"{where} has {good[host_id]} bytes for {host_id}, its manifest {found}"
