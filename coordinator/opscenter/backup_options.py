"""What to back up, and where to, as a run and a schedule's job name it. In: the options. Out: the job, and rules of
retention by place."""

from typing import Any

import msgspec

from agent.wire.destinations import ON_SERVER
from coordinator.model.schedules import BackupJob
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api
from coordinator.opscenter.copies import read_copies
from coordinator.opscenter.rules import NAMES, take_rule
from coordinator.opscenter.scripts import NAMES as SCRIPTS
from coordinator.opscenter.scripts import take_scripts

OPTIONS = ("keyspaces", "destinations", "throttle", "force", *NAMES, *SCRIPTS, "alert_on_failure")


class BackupOptions(msgspec.Struct, frozen=True):
    """The job, and what was said of retention: place → as `take_rule` gives it, {} = nothing."""

    job: BackupJob
    rules: dict[str, dict[str, Any]]


async def read_backup(api: Api, cluster: str, options: dict[str, Any], inside: str = "") -> BackupOptions:
    """Fields: keyspaces, destinations, throttle (MB/s per node), force (ours: go on without the nodes whose agent
    doesn't answer), scripts, and a rule of retention for all places; unknown ones were refused before. `inside`: what
    stands before a field's name in a refusal."""
    scripts = take_scripts(options, inside)
    # Whoever wants to be told of failures is, by the webhooks; nobody can be kept from it for one job.
    quirks.as_bool(options.get("alert_on_failure"), f"{inside}alert_on_failure")
    rule = take_rule(options, inside)
    keyspaces = read_keyspaces(options.get("keyspaces"), inside)
    chosen = await read_copies(api, cluster, options.get("destinations"), inside)
    job = BackupJob(
        keyspaces,
        chosen.on_server or not chosen.copies,
        chosen.copies,
        quirks.as_bytes_per_second(options.get("throttle"), f"{inside}throttle"),
        quirks.as_bool(options.get("force"), f"{inside}force"),
        scripts.pre,
        scripts.post,
    )
    places = chosen.rules or {ON_SERVER: {}}
    return BackupOptions(job, {place: {**rule, **own} for place, own in places.items()})


def read_keyspaces(value: Any, before: str = "") -> dict[str, list[str]] | None:
    """Absent or empty = all. A list of names, or an object: keyspace → tables, or {"column-families": tables}."""
    field = f"{before}keyspaces"
    if not isinstance(value, dict):
        names = quirks.as_names(value, field, quirks.EITHER)
        return {name: [] for name in names} or None
    chosen: dict[str, list[str]] = {}
    for name, given in quirks.as_object(value, field).items():
        keyspace = quirks.as_name(name, field)
        inside = f"{field}.{keyspace}"
        if isinstance(given, dict):
            options = quirks.canonical(given, f"{inside}.")
            quirks.allow_only(options, ("column_families",), f"{inside}.")
            given = options.get("column_families")
        chosen[keyspace] = quirks.as_names(given, inside, quirks.EITHER)
    return chosen or None
