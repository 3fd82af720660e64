"""The agent's settings for its Cassandra node, as they stand under `[cassandra]` in agent.toml."""

from typing import Annotated

import msgspec

from kit.bounds import FreePercent, Port, Seconds

Ttl = Annotated[int, msgspec.Meta(ge=0, le=315_360_000)]
"""Seconds; up to ten years."""


class NodetoolSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How nodetool is started. `command`: its argument list (never a shell line). `password_file`: JMX password file in
    nodetool's own form (lines of user and password), handed over by name: a path or `credential:<name>`. `ssl`: adds
    --ssl. `arguments`: further global options. Deadlines in seconds: of a snapshot, clear or question, and of one
    import call."""

    command: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("/usr/bin/nodetool",)
    host: str = "127.0.0.1"
    port: Port = 7199
    username: str = ""
    password_file: str = ""
    ssl: bool = False
    arguments: tuple[str, ...] = ()
    deadline_seconds: Seconds = 300.0
    import_deadline_seconds: Seconds = 3600.0


class JolokiaSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Jolokia JVM agent in Cassandra's process, on loopback. `password_file`: a path or `credential:<name>`."""

    url: str
    username: str = ""
    password_file: str = ""
    deadline_seconds: Seconds = 300.0


class CqlTlsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TLS to the node: `ca_file` proves the node, `certificate_file` and `key_file` prove the agent."""

    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    verify_hostname: bool = False


class CqlSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The local node's CQL door. `password_file`: a path or `credential:<name>`. Deadlines in seconds: of a question,
    of a change (DDL, TRUNCATE), and of the nodes' agreement after one."""

    host: str = "127.0.0.1"
    port: Port = 9042
    username: str = ""
    password_file: str = ""
    tls: CqlTlsSettings | None = None
    connect_seconds: Seconds = 10.0
    request_seconds: Seconds = 20.0
    change_seconds: Seconds = 120.0
    agreement_seconds: Seconds = 60.0


class SpaceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Watermarks in percent of a data volume: `backup_free` must be free to begin a backup; while uploading, under
    `keep_free` the agent's oldest snapshot that is no on-server backup is given up."""

    backup_free: FreePercent = 10.0
    keep_free: FreePercent = 5.0


Leftover = Annotated[int, msgspec.Meta(ge=64 * 1024 * 1024, le=2**53 - 1)]
"""Bytes; two segments of the default size at least."""


class ServiceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How Cassandra is stopped and started. `start`, `stop`: argument lists (never shell lines) that return when it was
    told to start, and when it is gone; empty: the agent can do neither. `jvm_options_file`: one option a line, read at
    each start. `log_file`: Cassandra's own log, shown when it does not come up. In seconds: how long those two commands
    may take, a drain, the delivery of hints before it, the end of the process, and the start until the node is NORMAL
    (replaying its log may take long)."""

    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    jvm_options_file: str = ""
    log_file: str = ""
    order_seconds: Seconds = 300.0
    drain_seconds: Seconds = 1_800.0
    hints_seconds: Seconds = 600.0
    stop_seconds: Seconds = 600.0
    start_seconds: Seconds = 7_200.0


class ArchivingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Archiving of the commit log. `properties_file`: Cassandra's commitlog_archiving.properties (empty: there is no
    archiving). `command`: where the agent installs the archive command, a path without spaces (empty: in the state
    directory). `directory`: where that puts closed segments unless a command says otherwise. `leftover_bytes`: when
    segments whose archiving failed take more in the commit-log directory, the oldest are given up."""

    properties_file: str = ""
    command: str = ""
    directory: str = ""
    leftover_bytes: Leftover = 4 * 1024**3


class CassandraSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The node. `data_directories` and `commitlog_directory`: empty = asked of the node. `run_as`: the user Cassandra
    runs as (empty = the owner of what it made). `snapshot_ttl_seconds`: when Cassandra itself clears an uploaded
    snapshot that the agent could not; 0 = never."""

    data_directories: tuple[str, ...] = ()
    commitlog_directory: str = ""
    run_as: str = ""
    snapshot_ttl_seconds: Ttl = 7 * 86400
    exclude_keyspaces: tuple[str, ...] = ()
    nodetool: NodetoolSettings = NodetoolSettings()
    cql: CqlSettings = CqlSettings()
    jolokia: JolokiaSettings | None = None
    space: SpaceSettings = SpaceSettings()
    service: ServiceSettings = ServiceSettings()
    archiving: ArchivingSettings = ArchivingSettings()
