"""Destinations as a run or a sync names them. In: the body's `destinations`. Out: `Copy`s, whether OPSC_ON_SERVER is
among them, and rules of retention."""

from typing import Any

import msgspec

from agent.wire.destinations import ON_SERVER
from coordinator.model.errors import InvalidArguments
from coordinator.model.orders import Copy
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api
from coordinator.opscenter.rules import NAMES, take_rule


class CompressionNotAvailable(InvalidArguments):
    """Compression was asked for and isn't built yet."""

    code = "compression_not_available"
    todo = "Leave `compressed` out or say false."


class NotAvailable(InvalidArguments):
    """An option of OpsCenter that isn't built yet was given a value that asks for something."""

    code = "option_not_available"
    todo = "Leave the option out; what it would do must be done by other means for now."


UNBUILT = ("alert_on_failure", "post_snapshot_script", "pre_snapshot_script")
"""Options of OpsCenter's backup jobs that are given for all destinations together; in the options of one they are taken
when they ask for nothing."""


def refuse_unbuilt(options: dict[str, Any], inside: str = "") -> None:
    """Refuse what would quietly not be done."""
    for name in UNBUILT:
        if options.get(name) not in (None, "", 0, "0", False, "false", [], {}):
            raise NotAvailable(f"«{inside}{name}» is not built yet", field=inside + name)


def refuse_compression(options: dict[str, Any], inside: str = "") -> None:
    """Refuse `compressed` by name until compression exists."""
    if quirks.as_bool(options.get("compressed"), f"{inside}compressed"):
        raise CompressionNotAvailable(
            f"«{inside}compressed»: compression is not built yet", field=f"{inside}compressed"
        )


class Chosen(msgspec.Struct, frozen=True):
    """The copies, whether OPSC_ON_SERVER is named, and what was said of retention: place → as `take_rule` gives it."""

    copies: list[Copy]
    on_server: bool
    rules: dict[str, dict[str, Any]]


async def read_copies(api: Api, cluster: str, value: object, before: str = "") -> Chosen:
    """What is chosen; every destination exists. `value`: {id: options} or [id]; `before`: what stands before the
    field's name in a refusal."""
    field = f"{before}destinations"
    if isinstance(value, (list, str)):
        value = {quirks.as_destination_id(entry, field): {} for entry in quirks.as_list(value, field)}
    copies: list[Copy] = []
    on_server = False
    rules: dict[str, dict[str, Any]] = {}
    for name, given in quirks.as_object(value, field, quirks.EITHER).items():
        inside = f"{field}.{quirks.shown(name)}."
        options = quirks.canonical(quirks.as_object(given, inside.rstrip(".")), inside)
        quirks.allow_only(options, ("throttle", "compressed", *NAMES, *UNBUILT), inside)
        rule = take_rule(options, inside)
        refuse_compression(options, inside)
        refuse_unbuilt(options, inside)
        throttle = quirks.as_bytes_per_second(options.get("throttle"), f"{inside}throttle")
        if name == ON_SERVER:
            on_server = True
            rules[name] = rule
            continue
        found = await api.destination(cluster, quirks.as_destination_id(name, field))
        copies.append(Copy(found.id, throttle))
        rules[found.id] = rule
    return Chosen(copies, on_server, rules)
