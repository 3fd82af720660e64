"""The agent's settings: every one that `agent.toml` may have, with its type and a default that is safe."""

from pathlib import Path
from typing import Annotated

import msgspec

from agent.cassandra.settings import ArchivingSettings, CassandraSettings, ServiceSettings
from agent.wire.names import check_name
from kit.bounds import BytesPerSecond, ListeningPort, Seconds
from kit.config import ConfigError, absolute_path
from kit.errors import HelenusError
from kit.http_settings import HttpSettings
from kit.logs import Form, Level

LEAST_TTL = 60
"""Seconds: Cassandra takes no shorter time-to-live of a snapshot."""
PORT = 61621
"""The agent's default port, as OpsCenter's users know it."""

Margin = Annotated[float, msgspec.Meta(ge=0.5, le=86_400)]
"""Seconds; backups wait as long, and with none at all a put on its way would not be waited for."""

Silence = Annotated[float, msgspec.Meta(ge=60, le=604_800)]
"""Seconds; an agent at work may well put nothing for less."""


class ListenSettings(HttpSettings, frozen=True, forbid_unknown_fields=True):
    """`[http]`, with the agent's own port."""

    port: ListeningPort = PORT


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[log]`: how much is said, and in which form."""

    level: Level = "info"
    format: Form = "json"


class DestinationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[destinations]`: what settings that come over the API may reach on this machine. Empty lists allow nothing."""

    local_roots: list[str] = []
    file_roots: list[str] = []
    link_local_hosts: list[str] = []
    patience_seconds: Seconds = 600.0
    poll_seconds: Seconds = 15.0


class TransferSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[transfer]`: how bytes move."""

    node_bytes_per_second: BytesPerSecond = 0


class SweepSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[sweep]`: how careful data is freed. `margin_seconds`: between mark and deletion; backups wait so long.
    `silence_seconds`: of another agent before its intents can be given up."""

    margin_seconds: Margin = 30.0
    silence_seconds: Silence = 600.0


class ScrubSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[scrub]`: how much is read again. `period_days`: everything once in so long; `sample_objects`: at each scrub
    beside what is due, the newest the likeliest."""

    period_days: Annotated[float, msgspec.Meta(ge=1, le=3_650)] = 30.0
    sample_objects: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 32


class ScriptSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[scripts]`: what a backup may have run on this node. `directory` "": nothing."""

    directory: str = ""
    timeout_seconds: Seconds = 600.0


class CoordinatorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[coordinators.<name>]`: a coordinator that commands may report to by its name. `url` takes events by POST."""

    url: str
    token_file: str = ""
    ca_file: str = ""
    tls_certificate: str = ""
    tls_key: str = ""


class AgentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """agent.toml."""

    state_directory: str = "/var/lib/helenus/agent"
    http: ListenSettings = ListenSettings()
    log: LogSettings = LogSettings()
    cassandra: CassandraSettings = CassandraSettings()
    destinations: DestinationSettings = DestinationSettings()
    transfer: TransferSettings = TransferSettings()
    sweep: SweepSettings = SweepSettings()
    scrub: ScrubSettings = ScrubSettings()
    scripts: ScriptSettings = ScriptSettings()
    coordinators: dict[str, CoordinatorSettings] = {}


def check(settings: AgentSettings) -> None:
    """What types alone don't say. Raises `ConfigError` with the setting's path."""
    absolute_path(settings.state_directory, setting="state_directory")
    for name in ("local_roots", "file_roots"):
        for number, root in enumerate(getattr(settings.destinations, name)):
            absolute_path(root, setting=f"destinations.{name}[{number}]")
    for number, directory in enumerate(settings.cassandra.data_directories):
        absolute_path(directory, setting=f"cassandra.data_directories[{number}]")
    if settings.scripts.directory:
        absolute_path(settings.scripts.directory, setting="scripts.directory")
    _check_cassandra(settings.cassandra)
    for name, coordinator in settings.coordinators.items():
        try:
            check_name("coordinator", name)
        except HelenusError as error:
            raise ConfigError(error.message, setting=f"coordinators.{name}") from None
        if not coordinator.url.startswith(("http://", "https://")):
            raise ConfigError(
                f"«coordinators.{name}.url» must begin with http:// or https://", setting=f"coordinators.{name}.url"
            )


def _check_cassandra(settings: CassandraSettings) -> None:
    if settings.commitlog_directory:
        absolute_path(settings.commitlog_directory, setting="cassandra.commitlog_directory")
    if 0 < settings.snapshot_ttl_seconds < LEAST_TTL:
        raise ConfigError(
            f"«cassandra.snapshot_ttl_seconds» is {settings.snapshot_ttl_seconds}; allowed: 0, or {LEAST_TTL} and more",
            setting="cassandra.snapshot_ttl_seconds",
        )
    _check_service(settings.service, settings.archiving)
    space = settings.space
    if space.keep_free > space.backup_free:
        raise ConfigError(
            f"«cassandra.space.keep_free» is {space.keep_free:g}, and a backup may begin with {space.backup_free:g} % "
            "free: its snapshot would be given up at once; allowed: 0 to «cassandra.space.backup_free»",
            setting="cassandra.space.keep_free",
        )
    if settings.jolokia is not None and not settings.jolokia.url.startswith(("http://", "https://")):
        raise ConfigError(
            "«cassandra.jolokia.url» must begin with http:// or https://", setting="cassandra.jolokia.url"
        )


def _check_service(service: ServiceSettings, archiving: ArchivingSettings) -> None:
    """Of what stops and starts Cassandra: both or neither, and paths that lead somewhere."""
    if bool(service.start) != bool(service.stop):
        missing = "stop" if service.start else "start"
        raise ConfigError(
            f"«cassandra.service.{missing}» is empty: a node that can be stopped must be startable, and the reverse",
            setting=f"cassandra.service.{missing}",
        )
    for name, path in (
        ("service.jvm_options_file", service.jvm_options_file),
        ("service.log_file", service.log_file),
        ("archiving.properties_file", archiving.properties_file),
        ("archiving.command", archiving.command),
        ("archiving.directory", archiving.directory),
    ):
        if path:
            absolute_path(path, setting=f"cassandra.{name}")
    for name, path in (("command", archiving.command), ("directory", archiving.directory)):
        if any(letter.isspace() for letter in path):
            raise ConfigError(
                f"«cassandra.archiving.{name}» has a space in it: Cassandra splits the archive command at spaces",
                setting=f"cassandra.archiving.{name}",
            )


def roots(places: list[str]) -> tuple[Path, ...]:
    """The directories as paths."""
    return tuple(Path(place) for place in places)
