"""conf/coordinator.toml as frozen types. Paths are absolute, times in seconds; secrets stand in files."""

from typing import Annotated, Literal

import msgspec

from kit.bounds import BodyBytes, ListeningPort, Port, Seconds
from kit.http_settings import HttpSettings

DEFAULT_PORT = 8888

AgentUrl = Annotated[str, msgspec.Meta(pattern=r"^https?://[^/?#\s@]+/?$")]


SessionSeconds = Annotated[float, msgspec.Meta(ge=300, le=2_592_000)]
"""Up to 30 days. When a session was used last is kept to the minute, so that less would end it too early."""


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[log]` table."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class ClusterSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `[clusters.<id>]` table; the coordinator finds out the rest from the agents.

    `name`: Cassandra's cluster name ("" = the id). `agents`: their URLs. `token_file`: the bearer token they ask for.
    `ca_file`, `certificate_file`, `key_file`: TLS towards them. `connect_seconds` and `request_seconds` bound a call;
    `probe_seconds`: an agent that shows no sign of life for so long counts as unreachable; `silent_seconds`: after so
    long without a byte an agent's event stream is opened anew.
    """

    agents: Annotated[list[AgentUrl], msgspec.Meta(min_length=1)]
    name: str = ""
    token_file: str = ""
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    connect_seconds: Seconds = 5.0
    request_seconds: Seconds = 60.0
    probe_seconds: Seconds = 5.0
    silent_seconds: Seconds = 30.0


class OrchestrationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[orchestration]` table: how long a running request waits, and how many nodes do the same at a time.

    `agent_return_seconds`: for a node whose agent doesn't answer, before it counts as failed. `fence_seconds`: how long
    a truncate, schema change or import may wait at the agent before it must not begin any more.
    `force_margin_seconds`: how long after that `force` goes on without an agent that was lost in it.
    `cancel_seconds`: how long a cancelled command may take to end. `uploads_at_once`: how many nodes of one backup or
    sync copy to destinations at a time, 0 = all.
    """

    agent_return_seconds: Seconds = 600.0
    fence_seconds: Seconds = 600.0
    force_margin_seconds: Seconds = 600.0
    cancel_seconds: Seconds = 120.0
    uploads_at_once: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0


class RetentionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[retention]` table. `daily_at`: the time of day, UTC, of the daily run. `floor`: how many of the newest good
    backups are never deleted, where a rule doesn't say."""

    daily_at: Annotated[str, msgspec.Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] = "02:30"
    floor: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1

    @property
    def daily_seconds(self) -> float:
        """The time of day in seconds after midnight."""
        hours, _, minutes = self.daily_at.partition(":")
        return int(hours) * 3_600.0 + int(minutes) * 60.0


class ScrubSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[scrub]` table. `every_hours`: how often each destination is scrubbed; 0 = only when somebody asks."""

    every_hours: Annotated[float, msgspec.Meta(ge=0, le=8_760)] = 24.0


class ScheduleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[schedules]` table: destinations that a scheduled backup did not reach are copied to again from where it
    holds, `copy_retries` times (0 = never), `copy_retry_seconds` apart."""

    copy_retries: Annotated[int, msgspec.Meta(ge=0, le=100)] = 3
    copy_retry_seconds: Seconds = 3_600.0


class WebhookSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `[webhooks.<name>]` table. `url`: where notices are posted to. `secret_file`: what they are signed with.
    `events`: patterns of the types that are told ([] = all but beginnings). `ca_file`: the CA that proves the receiver
    ("" = those that this machine trusts)."""

    url: str
    secret_file: str
    events: list[str] = []
    ca_file: str = ""


class NoticesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[notices]` table. `lag_seconds`: a node's commit log that isn't safe for longer is told of; 0 = never."""

    lag_seconds: Annotated[float, msgspec.Meta(ge=0, le=604_800)] = 21_600.0


class LeadingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[leading]` table, of a state that several coordinators have. `url`: where the others reach this one ("" = as
    it listens). `ca_file`: the CA that proves them ("" = those that this machine trusts). `lease_seconds`: how long
    nothing is to be heard of the one that leads before another one does."""

    url: Annotated[str, msgspec.Meta(pattern=r"^(https?://[^/?#\s@]+/?)?$")] = ""
    ca_file: str = ""
    lease_seconds: Annotated[float, msgspec.Meta(ge=3, le=600)] = 30.0


class AccessSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[access]` table. `login`: requests need a session (or the token) also while there is no user yet.
    `session_idle_seconds`: a session that wasn't used for so long is over; `session_seconds`: so is one that began so
    long ago. `show_secrets_to_admins`: answers about destinations have their `access_secret`, for admins."""

    login: bool = False
    session_idle_seconds: SessionSeconds = 1_800.0
    session_seconds: SessionSeconds = 43_200.0
    show_secrets_to_admins: bool = False


class StateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[state]` table: where requests, destinations and the activity log are kept; all but `kind` for Cassandra.

    `replication`: replicas by data centre, for a keyspace that isn't there yet. `quorum`: of all data centres, or of
    `local_dc` alone. `username` and `password_file`: the CQL role. `tls`, `ca_file`, `certificate_file` and
    `certificate_key_file`: TLS towards the nodes. `key_file`: what destinations are sealed with. `connect_seconds` and
    `request_seconds` bound one question, `patience_seconds` an operation with its repetitions.
    """

    kind: Literal["sqlite", "cassandra"] = "sqlite"
    contact_points: list[str] = []
    port: Port = 9042
    local_dc: str = ""
    keyspace: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,47}$")] = "helenus_coordinator"
    replication: dict[
        Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,128}$")], Annotated[int, msgspec.Meta(ge=1, le=15)]
    ] = {}
    quorum: Literal["all_dcs", "local_dc"] = "all_dcs"
    username: str = ""
    password_file: str = ""
    tls: bool = False
    ca_file: str = ""
    certificate_file: str = ""
    certificate_key_file: str = ""
    key_file: str = ""
    connect_seconds: Seconds = 5.0
    request_seconds: Seconds = 5.0
    patience_seconds: Seconds = 20.0


class ListenSettings(HttpSettings, frozen=True, forbid_unknown_fields=True):
    """The `[http]` table with the coordinator's own defaults."""

    port: ListeningPort = DEFAULT_PORT
    max_body_bytes: BodyBytes = 1 << 20


class CoordinatorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    state_directory: str
    clusters: Annotated[
        dict[Annotated[str, msgspec.Meta(pattern=r"^(?!\.{1,2}$)[A-Za-z0-9_.-]{1,200}$")], ClusterSettings],
        msgspec.Meta(min_length=1),
    ]
    state: StateSettings = StateSettings()
    http: ListenSettings = ListenSettings()
    leading: LeadingSettings = LeadingSettings()
    access: AccessSettings = AccessSettings()
    orchestration: OrchestrationSettings = OrchestrationSettings()
    retention: RetentionSettings = RetentionSettings()
    scrub: ScrubSettings = ScrubSettings()
    schedules: ScheduleSettings = ScheduleSettings()
    notices: NoticesSettings = NoticesSettings()
    webhooks: dict[Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")], WebhookSettings] = {}
    log: LogSettings = LogSettings()
