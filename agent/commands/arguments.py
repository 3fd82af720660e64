"""A command's arguments. In: raw JSON of a request. Out: the typed arguments of its kind, checked, and their canonical
bytes by which two commands are compared."""

import math

import msgspec

from agent.repository.keys import ADOPTED, SWEEP
from agent.wire.arguments import ARGUMENTS
from agent.wire.commands import (
    FENCED,
    BackupArguments,
    DeleteArguments,
    Kind,
    PostCommand,
    RestoreArguments,
    ScriptArguments,
    ScrubArguments,
    SnapshotArguments,
    SweepArguments,
    SyncArguments,
    Target,
    UploadArguments,
)
from agent.wire.names import check_name, check_tables
from kit.errors import InvalidInput

MAX_STATEMENT = 256 * 1024
"""Bytes of one CQL statement of create_views."""


def check_envelope(post: PostCommand) -> None:
    """Check all but the arguments. Raises InvalidName or InvalidInput."""
    check_name("command", post.id, "id")
    for what, name in (("job", post.job), ("phase", post.phase)):
        if name is not None:
            check_name(what, name, what)
    if post.report_to is not None:
        check_name("coordinator", post.report_to, "report_to")
    if not 0 <= post.fence < 2**53:
        raise InvalidInput("fence must be between 0 and 2^53 - 1", field="fence")
    if post.not_after is not None and not math.isfinite(post.not_after):
        raise InvalidInput("not_after must be a time in unix seconds", field="not_after")
    if post.kind in FENCED and post.job is None:
        raise InvalidInput(f"{post.kind.value} is fenced: it must name its job", field="job")


def decode_arguments(kind: Kind, raw: bytes) -> msgspec.Struct:
    """The arguments of a command of `kind`. Raises InvalidInput (with the field's path) or InvalidName."""
    try:
        arguments: msgspec.Struct = msgspec.json.decode(raw, type=ARGUMENTS[kind])
    except msgspec.ValidationError as wrong:
        raise InvalidInput(f"arguments of {kind.value}: {wrong}", field="arguments") from None
    _check(arguments)
    return arguments


def canonical(arguments: msgspec.Struct) -> bytes:
    """The arguments with every default filled in and keys in order, as JSON."""
    return msgspec.json.encode(arguments, order="deterministic")


def tag_of(arguments: msgspec.Struct) -> str | None:
    """The backup that a command works on, if one. A dry run keeps nobody from it."""
    if isinstance(arguments, DeleteArguments) and arguments.dry_run:
        return None
    if isinstance(arguments, BackupArguments):
        return arguments.snapshot.tag
    return getattr(arguments, "tag", None)


def destinations_of(arguments: msgspec.Struct) -> frozenset[str]:
    """The destinations that a command names."""
    match arguments:
        case UploadArguments() | BackupArguments():
            return frozenset(target.destination for target in arguments.targets)
        case SyncArguments(source=source, targets=targets):
            return frozenset(one.destination for one in [*targets, *([source] if source is not None else [])])
        case DeleteArguments(target=Target() as target) | SweepArguments(target=target) | ScrubArguments(target=target):
            return frozenset({target.destination})
        case RestoreArguments(source=Target() as source):
            return frozenset({source.destination})
        case _:
            return frozenset()


def _check(arguments: msgspec.Struct) -> None:
    match arguments:
        case SnapshotArguments():
            _check_snapshot(arguments, "arguments")
        case BackupArguments():
            _check_snapshot(arguments.snapshot, "arguments.snapshot")
            _check_targets(arguments.targets)
            _check_rate(arguments.throttle_bytes_per_second)
        case ScriptArguments():
            check_name("script", arguments.name, "arguments.name")
            check_name("tag", arguments.tag, "arguments.tag")
        case UploadArguments() | SyncArguments():
            check_name("tag", arguments.tag, "arguments.tag")
            _check_targets(arguments.targets)
            _check_rate(arguments.throttle_bytes_per_second)
            if isinstance(arguments, SyncArguments) and arguments.source is not None:
                _check_source(arguments, arguments.source)
        case DeleteArguments():
            check_name("tag", arguments.tag, "arguments.tag")
            check_name("made_by", arguments.made_by, "arguments.made_by")
            if arguments.target is not None:
                _check_target(arguments.target, "arguments.target")
                if arguments.dry_run:
                    why = "a delete in a destination frees nothing: sweep with dry_run and as_deleted"
                    raise InvalidInput(why, field="arguments.dry_run")
        case SweepArguments():
            _check_target(arguments.target, "arguments.target")
            for tag in arguments.abandon_intents:
                if tag not in (SWEEP, ADOPTED):
                    check_name("tag", tag, "arguments.abandon_intents")
            margin = arguments.margin_seconds
            if margin is not None and not 0 <= margin < math.inf:
                raise InvalidInput("margin_seconds must not be negative", field="arguments.margin_seconds")
            for tag in arguments.as_deleted:
                check_name("tag", tag, "arguments.as_deleted")
            if arguments.adopt is not None:
                check_name("host_id", arguments.adopt, "arguments.adopt")
            if arguments.as_deleted and not arguments.dry_run:
                raise InvalidInput("as_deleted is only for a dry_run", field="arguments.as_deleted")
        case ScrubArguments():
            _check_target(arguments.target, "arguments.target")
            if arguments.adopt is not None:
                check_name("host_id", arguments.adopt, "arguments.adopt")
        case RestoreArguments():
            _check_restore(arguments)


def _check_snapshot(arguments: SnapshotArguments, where: str) -> None:
    check_name("tag", arguments.tag, f"{where}.tag")
    check_name("backup_id", arguments.backup_id, f"{where}.backup_id")
    check_name("made_by", arguments.made_by, f"{where}.made_by")
    if arguments.keyspaces is not None:
        if not arguments.keyspaces:
            raise InvalidInput("keyspaces is empty; leave it out for all of them", field=f"{where}.keyspaces")
        check_tables(arguments.keyspaces, f"{where}.keyspaces")
    for keyspace in arguments.exclude_keyspaces:
        check_name("keyspace", keyspace, f"{where}.exclude_keyspaces")


def _check_targets(targets: list[Target]) -> None:
    if not targets:
        raise InvalidInput("at least one target must be named", field="arguments.targets")
    seen = set()
    for index, target in enumerate(targets):
        _check_target(target, f"arguments.targets[{index}]")
        if target.destination in seen:
            raise InvalidInput(f"{target.destination} is named twice", field=f"arguments.targets[{index}].destination")
        seen.add(target.destination)


def _check_source(arguments: SyncArguments, source: Target) -> None:
    _check_target(source, "arguments.source")
    check_name("host_id", arguments.source_host_id, "arguments.source_host_id")
    if source.destination in {target.destination for target in arguments.targets}:
        raise InvalidInput(f"{source.destination} can't be copied to itself", field="arguments.source")


def _check_target(target: Target, where: str) -> None:
    check_name("destination", target.destination, f"{where}.destination")
    check_name("repository_id", target.repository_id, f"{where}.repository_id")
    check_name("cluster_id", target.cluster_id, f"{where}.cluster_id")
    _check_rate(target.throttle_bytes_per_second)


def _check_rate(rate: int) -> None:
    if rate < 0:
        raise InvalidInput("a limit can't be negative; 0 means none", field="throttle_bytes_per_second")


def _check_restore(arguments: RestoreArguments) -> None:
    check_name("tag", arguments.tag, "arguments.tag")
    check_name("host_id", arguments.source_host_id, "arguments.source_host_id")
    if arguments.source is not None:
        _check_target(arguments.source, "arguments.source")
    _check_rate(arguments.throttle_bytes_per_second)
    for field, tables in (("tables", arguments.tables), ("views", arguments.views), ("replace", arguments.replace)):
        check_tables(tables, f"arguments.{field}")
    if not arguments.tables:
        raise InvalidInput("a restore names its tables", field="arguments.tables")
    if not 1 <= arguments.batch_sstables <= 10_000:
        raise InvalidInput("batch_sstables must be between 1 and 10,000", field="arguments.batch_sstables")
    for statement in arguments.statements:
        if "\0" in statement or len(statement.encode("utf-8", "surrogatepass")) > MAX_STATEMENT:
            raise InvalidInput("a statement is too long or holds a NUL", field="arguments.statements")
