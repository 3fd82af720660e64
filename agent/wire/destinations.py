"""A destination as coordinators send it and as agents answer it.

What is to be known of a provider without its SDK stands with its settings, under the same names for each: a new
provider is one more struct here, in `Settings` and `PROVIDERS`, and its opening in agent.storage.opened.
"""

from typing import ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from agent.wire.object_lock import ObjectLock

ON_SERVER = "OPSC_ON_SERVER"
"""The reserved id of «the snapshots stay on the nodes» (OpsCenter)."""


PHRASE = "passphrase"


class Encryption(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The repository is encrypted, and this opens its keys: one of `passphrase` (a secret), `passphrase_file` and
    `key_file` (absolute paths on the agent; a key file has 32 bytes to 64 KiB). Left out of settings: not encrypted."""

    passphrase: str = ""
    passphrase_file: str = ""
    key_file: str = ""

    def __post_init__(self) -> None:
        if sum(map(bool, (self.passphrase, self.passphrase_file, self.key_file))) != 1:
            raise ValueError("give one of passphrase, passphrase_file and key_file")


class LocalSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="provider", tag="local"):
    """A directory. `path`: absolute, or relative to the agent's first allowed root. `shared`: every node sees the same
    directory (proved by a nonce); else each node has its own and the backup is their union."""

    provider: ClassVar[str] = "local"
    secrets: ClassVar[frozenset[str]] = frozenset()
    """Fields that are shown to nobody but the store."""
    on_the_nodes: ClassVar[bool] = True
    """A directory in each node's file system: the agent makes it, and whether all see the same one is to be proved."""
    streams: ClassVar[int] = 8
    """Concurrent requests: as many as the store has threads."""

    path: str
    shared: bool = False
    throttle_bytes_per_second: int = 0
    encryption: Encryption | UnsetType = UNSET

    @property
    def one_for_all(self) -> bool:
        """Every node sees the same store; else the backup is the union of the nodes'."""
        return self.shared

    @property
    def place(self) -> tuple[str, ...]:
        """See `place_of`."""
        start = "/" if self.path.startswith("/") else ""
        return (self.provider, start + "/".join(part for part in self.path.split("/") if part not in ("", ".")))


class BucketSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every provider of buckets is told.

    `path` is the bucket, with an optional `/prefix`. `endpoint`: an address instead of the provider's own. `ca_file`: a
    PEM bundle on the agent. `throttle_bytes_per_second` 0 = none. `connections`: concurrent requests, 1 to 64.
    """

    provider: ClassVar[str]
    secrets: ClassVar[frozenset[str]]
    on_the_nodes: ClassVar[bool] = False
    one_for_all: ClassVar[bool] = True

    path: str
    endpoint: str = ""
    ca_file: str = ""
    connections: int = 16
    throttle_bytes_per_second: int = 0
    encryption: Encryption | UnsetType = UNSET

    @property
    def streams(self) -> int:
        """Concurrent requests."""
        return self.connections

    @property
    def place(self) -> tuple[str, ...]:
        """See `place_of`."""
        return (self.provider, *_place_in_bucket(self.endpoint, self.path))


class S3Settings(BucketSettings, frozen=True, kw_only=True, tag_field="provider", tag="s3"):
    """A bucket of S3 or of a store that speaks S3; see `BucketSettings`.

    Credentials: `access_key` and `access_secret`, else
    `credentials_file` (on the agent, JSON or the AWS ini form, profile `profile`), else the agent's environment.
    `server_side_encryption`: "" | "AES256" | "aws:kms" (then `kms_key_id`). `checksum`: "when_required" | "CRC32" |
    "SHA256". `payload_signing`: "auto" (signed over http, unsigned over https) | "always" | "never".
    `path_style`: None = path style when an endpoint is given. `object_lock`: backups are put under lock; left out: they
    aren't.
    """

    provider: ClassVar[str] = "s3"
    secrets: ClassVar[frozenset[str]] = frozenset({"access_secret", "session_token"})

    region: str = "us-east-1"
    path_style: bool | None = None
    access_key: str = ""
    access_secret: str = ""
    session_token: str = ""
    credentials_file: str = ""
    profile: str = "default"
    server_side_encryption: Literal["", "AES256", "aws:kms"] = ""
    kms_key_id: str = ""
    checksum: Literal["when_required", "CRC32", "SHA256"] = "when_required"
    payload_signing: Literal["auto", "always", "never"] = "auto"
    object_lock: ObjectLock | UnsetType = UNSET

    def __post_init__(self) -> None:
        if not isinstance(self.object_lock, UnsetType):
            self.object_lock.refuse_overlap(self.path)


class GcsSettings(BucketSettings, frozen=True, kw_only=True, tag_field="provider", tag="gcs"):
    """A bucket of Google Cloud Storage; see `BucketSettings`.

    Credentials: `service_account_key` (its file's JSON, as text),
    else `credentials_file` (such a file on the agent), else the agent's environment or its machine's role. Over an
    `endpoint` with http, which is for emulators, requests are anonymous.
    """

    provider: ClassVar[str] = "gcs"
    secrets: ClassVar[frozenset[str]] = frozenset({"service_account_key"})

    service_account_key: str = ""
    credentials_file: str = ""


class AzureSettings(BucketSettings, frozen=True, kw_only=True, tag_field="provider", tag="azure"):
    """A container of an Azure storage account; see `BucketSettings`. `path` begins with the container.

    Credentials: `account_key` or `sas_token`, else
    `credentials_file` (on the agent: a connection string, or JSON with `account_key` or `sas_token`), else the agent's
    environment, else its machine's identity. `endpoint`: "" is the account's own in Azure's public cloud.
    """

    provider: ClassVar[str] = "azure"
    secrets: ClassVar[frozenset[str]] = frozenset({"account_key", "sas_token"})

    account: str
    account_key: str = ""
    sas_token: str = ""
    credentials_file: str = ""

    @property
    def place(self) -> tuple[str, ...]:
        """See `place_of`."""
        endpoint, container, prefix = _place_in_bucket(self.service, self.path)
        return (self.provider, f"{self.account} {endpoint}", container, prefix)

    @property
    def service(self) -> str:
        """Where the account's blobs are: the endpoint, else the account's own host in Azure's public cloud."""
        return self.endpoint or f"https://{self.account}.blob.core.windows.net"


def _place_in_bucket(endpoint: str, path: str) -> tuple[str, str, str]:
    """Endpoint, bucket and prefix, spelt in one way."""
    bucket, _, prefix = path.strip("/").partition("/")
    endpoint = endpoint.rstrip("/").lower()
    return (endpoint.removesuffix(_PORTS.get(endpoint.partition(":")[0], "/")), bucket, prefix)


Settings = LocalSettings | S3Settings | GcsSettings | AzureSettings
PROVIDERS: dict[str, type[Settings]] = {
    kind.provider: kind for kind in (LocalSettings, S3Settings, GcsSettings, AzureSettings)
}

SECRET_FIELDS = frozenset({PHRASE}).union(*(kind.secrets for kind in PROVIDERS.values()))
"""Of all providers: what is sent under such a name is a secret even where it doesn't belong."""
MASK = "********"
"""What a secret reads as in answers; sent back in an update it means «unchanged»."""
_PORTS = {"http": ":80", "https": ":443"}


def encryption_of(settings: Settings) -> Encryption | None:
    """How the repository is to be encrypted; None: not at all."""
    return None if isinstance(settings.encryption, UnsetType) else settings.encryption


def object_lock_of(settings: Settings) -> ObjectLock | None:
    """How backups are put under lock; None: they aren't."""
    if not isinstance(settings, S3Settings) or isinstance(settings.object_lock, UnsetType):
        return None
    return settings.object_lock


def secrets_of(settings: Settings) -> dict[str, str]:
    """The secret fields of the settings, empty ones too, and the passphrase of an encryption."""
    found = {name: getattr(settings, name) for name in sorted(settings.secrets)}
    encryption = encryption_of(settings)
    return found if encryption is None else {**found, PHRASE: encryption.passphrase}


def with_secrets(settings: Settings, secrets: dict[str, str]) -> Settings:
    """The settings with these instead of the secrets of those names."""
    fields: dict[str, object] = {name: value for name, value in secrets.items() if name != PHRASE}
    encryption = encryption_of(settings)
    if encryption is not None and PHRASE in secrets:
        fields["encryption"] = msgspec.structs.replace(encryption, passphrase=secrets[PHRASE])
    return msgspec.structs.replace(settings, **fields)


def masked(settings: Settings) -> Settings:
    """The settings with every secret replaced by the mask; empty ones stay empty."""
    return with_secrets(settings, {name: MASK for name, value in secrets_of(settings).items() if value})


def place_of(settings: Settings) -> tuple[str, ...]:
    """What identifies the store itself, however it is spelt: provider and path of a directory; provider, endpoint,
    bucket and prefix of a bucket. What was found out about a store holds as long as this stays the same."""
    return settings.place


def lies_in(inner: Settings, outer: Settings) -> bool:
    """Whether the inner place is a directory or prefix below the outer one, as far as their spelling tells: of a
    relative and an absolute path it tells nothing."""
    *store, path = place_of(inner)
    *other, above = place_of(outer)
    if store != other or path == above or path.startswith("/") != above.startswith("/"):
        return False
    return not above or path.startswith(above.rstrip("/") + "/")


def recipient_of(settings: Settings) -> tuple[str, ...]:
    """Who is shown the secrets: provider, endpoint and bucket."""
    return place_of(settings)[:3]


class PutDestination(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PUT /v1/destinations/{id}: `revision` grows with each change; an older one is refused (409)."""

    revision: int
    settings: Settings


class CheckDestination(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/destinations/{id}/check. `initialise`: make or attach the repository after the checks passed, with the
    ids given (a per-node local destination gets the same ids on every node). `cluster_name` finds or makes the
    cluster's id. `nonce_put`/`nonce_find`: prove that a directory is shared (one agent puts, the others find).
    `conformance`: all checks of the store; without them an agent that attaches tries once, for itself, whether its
    store creates conditionally."""

    initialise: bool = False
    repository_id: str | None = None
    cluster_id: str | None = None
    cluster_name: str | None = None
    nonce_put: str | None = None
    nonce_find: str | None = None
    conformance: bool = True


class CheckResult(msgspec.Struct, frozen=True):
    """One check of the conformance suite: `outcome` ok, failed or skipped (with the reason in `detail`)."""

    name: str
    outcome: Literal["ok", "failed", "skipped"]
    detail: str = ""
    seconds: float = 0.0


class CheckReport(msgspec.Struct, frozen=True):
    """The answer of a check: each result, what the store can do, and the repository after initialisation."""

    ok: bool
    results: list[CheckResult]
    conditional_create: bool
    """The store keeps «create only if absent» under concurrency (8 concurrent puts, 20 rounds, no double success)."""
    repository_id: str | None = None
    cluster_id: str | None = None
    made: bool = False
    nonce_found: bool | None = None
    error: dict[str, object] | None = None


class ChangeKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/destinations/{id}/keys. `add`: each of `secrets` gets a slot. `rotate`: a new sealing key, which this
    destination's own secret opens, and `secrets`. `remove_superseded`: slots of before the last rotation go."""

    change: Literal["add", "rotate", "remove_superseded"]
    secrets: list[Encryption] = []


class KeySlotView(msgspec.Struct, frozen=True):
    """A key slot. `counts`: it is of the newest epoch; others open nothing any more."""

    number: int
    epoch: int
    kind: str
    counts: bool


class KeySlots(msgspec.Struct, frozen=True):
    """The key slots of an encrypted repository after a change. `epoch`: the newest."""

    epoch: int
    slots: list[KeySlotView]


class DestinationView(msgspec.Struct, frozen=True):
    """GET /v1/destinations/{id}: settings with secrets masked."""

    id: str
    revision: int
    settings: Settings
    repository_id: str | None = None
    cluster_id: str | None = None
    in_use: bool = False
