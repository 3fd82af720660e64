"""Which store: in, the `[state]` table and the state directory; out, the store opened, when what it needs is there."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from coordinator.model.settings import StateSettings
from coordinator.store.database import look_at
from coordinator.store.migrations import MIGRATIONS
from coordinator.store.protocol import Store
from coordinator.store.sealing import Seal, read_key
from coordinator.store.sqlite import FILE, SqliteStore
from kit.config import ConfigError, absolute_path, read_secret, secret_path
from kit.secret import Secret
from kit.tls import TlsNames, client_context

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 5.0
"""Between two attempts to open a state in Cassandra."""

Waiting = Callable[[str, float], None]
"""Told why the start waits, and for how many seconds at most until it is told again."""


class StoreType(Protocol):
    """What opens a store in a directory."""

    async def open(self, state_directory: Path, *, now: float) -> Store: ...


class CassandraAccess(msgspec.Struct, frozen=True):
    """How the state in Cassandra is reached, every file that the settings name read."""

    settings: StateSettings
    seal: Seal
    key: Secret
    password: Secret | None
    tls: ssl.SSLContext | None

    @property
    def secrets(self) -> list[Secret]:
        """What must not be seen in the log."""
        return [self.key] if self.password is None else [self.key, self.password]


def access_of(settings: StateSettings) -> CassandraAccess | None:
    """None for a state in a file. Raises `ConfigError`."""
    if settings.kind == "sqlite":
        return None
    if not settings.key_file:
        raise ConfigError(
            "«state.key_file» is missing: destinations have secrets, which Cassandra's files and clients would show; "
            "openssl rand -hex 32 makes a key",
            setting="state.key_file",
        )
    if not settings.contact_points:
        raise ConfigError("«state.contact_points» names no node", setting="state.contact_points")
    if settings.quorum == "local_dc" and not settings.local_dc:
        raise ConfigError("«state.quorum» is of local_dc, and «state.local_dc» names none", setting="state.local_dc")
    for name in ("ca_file", "certificate_file", "certificate_key_file"):
        if getattr(settings, name) and not settings.tls:
            # Whoever names a CA believes that the password travels over TLS.
            raise ConfigError(f"«state.{name}» is for TLS, and «state.tls» is false", setting="state.tls")
    for name, other in (("username", "password_file"), ("password_file", "username")):
        if getattr(settings, name) and not getattr(settings, other):
            raise ConfigError(f"«state.{name}» goes together with «state.{other}»", setting=f"state.{other}")
    if bool(settings.certificate_file) != bool(settings.certificate_key_file):
        raise ConfigError(
            "«state.certificate_file» and «state.certificate_key_file» go together",
            setting="state.certificate_key_file",
        )
    key, text = read_key(settings.key_file, setting="state.key_file")
    password = read_secret(settings.password_file, setting="state.password_file") if settings.username else None
    return CassandraAccess(settings, Seal(key), text, password, _tls(settings))


async def open_state(
    access: CassandraAccess | None, state_directory: Path, store_type: StoreType, *, now: float, waiting: Waiting
) -> Store:
    """The store; a file pruned as at `now` (unix seconds). Cassandra may be away when the coordinator starts: it is
    waited for as long as it takes, and said so, for the machine that restarts its nodes may be this one.

    Raises `StoreFailed`, `StoreTooNew`, and for Cassandra what doesn't go away by waiting: `ConfigError`,
    `StateKeyWrong`, `StateSetDifferently`.
    """
    if access is None:
        return await store_type.open(state_directory, now=now)
    # Who keeps the state in a file loads no driver.
    from coordinator.store.cassandra.connecting import connected
    from coordinator.store.cassandra.errors import StoreUnreachable

    while True:
        waiting("asks Cassandra for the state", access.settings.patience_seconds * 3)
        try:
            return await connected(access.settings, access.seal, access.password, access.tls)
        except StoreUnreachable as error:
            log.warning("the start waits for the state in Cassandra", reason=error.message, again_seconds=PAUSE_SECONDS)
        await asyncio.sleep(PAUSE_SECONDS)


def look_at_state(access: CassandraAccess | None, state_directory: Path) -> None:
    """For `--check-config`: raise what opening the state would raise of a file that is there. Makes and changes
    nothing; Cassandra isn't asked."""
    if access is None:
        look_at(state_directory / FILE, MIGRATIONS)


async def open_beside(access: CassandraAccess | None, state_directory: Path) -> Store:
    """The same for a command beside a coordinator that may be running: of a file it makes nothing, of Cassandra it asks
    once. Raises also `StoreMissing`, `StoreUnreachable`."""
    if access is None:
        return await SqliteStore.open_beside(state_directory)
    from coordinator.store.cassandra.connecting import connected

    return await connected(access.settings, access.seal, access.password, access.tls)


def _tls(settings: StateSettings) -> ssl.SSLContext | None:
    if not settings.tls:
        return None
    certificate, key = settings.certificate_file, settings.certificate_key_file
    return client_context(
        absolute_path(settings.ca_file, setting="state.ca_file") if settings.ca_file else None,
        absolute_path(certificate, setting="state.certificate_file") if certificate else None,
        secret_path(key, setting="state.certificate_key_file") if key else None,
        named=TlsNames("state.ca_file", "state.certificate_file", "state.certificate_key_file"),
    )
