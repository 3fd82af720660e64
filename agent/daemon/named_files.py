"""What the settings name outside of their file: nodetool, keys, certificates, tokens. In: settings. Out: what was read,
or the `ConfigError` that names the setting."""

import ssl
from pathlib import Path

import msgspec

from agent.cassandra.nodetool import not_startable
from agent.cassandra.settings import CqlTlsSettings
from agent.daemon.settings import AgentSettings, CoordinatorSettings
from kit.config import ConfigError, absolute_path, look_at_directory, read_secret, secret_path
from kit.secret import Secret
from kit.tls import TlsNames, client_context


class ReporterAccess(msgspec.Struct, frozen=True):
    """What a coordinator that takes events is shown, and how it is reached."""

    token: Secret | None
    tls: ssl.SSLContext | None


def look(settings: AgentSettings) -> None:
    """For `--check-config`, beside what the start reads itself. A missing nodetool ends no start: it may be installed
    later, and until then backups can be listed, fetched and cleared away."""
    look_at_directory(Path(settings.state_directory), setting="state_directory")
    for number, root in enumerate(settings.destinations.local_roots):
        look_at_directory(Path(root), setting=f"destinations.local_roots[{number}]")
    missing = not_startable(settings.cassandra.nodetool)
    if missing is not None:
        setting = "cassandra.nodetool.command"
        raise ConfigError(f"«{setting}»: {missing.message}", setting=setting)
    if settings.cassandra.cql.tls is not None:
        _look_at_tls(settings.cassandra.cql.tls)
    for name, coordinator in settings.coordinators.items():
        reporter_access(name, coordinator)


def reporter_access(name: str, settings: CoordinatorSettings) -> ReporterAccess:
    """Token and TLS of `[coordinators.<name>]`."""
    where = f"coordinators.{name}"
    token = read_secret(settings.token_file, setting=f"{where}.token_file") if settings.token_file else None
    tls = None
    if settings.url.startswith("https:"):
        own = bool(settings.tls_certificate)
        tls = client_context(
            absolute_path(settings.ca_file, setting=f"{where}.ca_file") if settings.ca_file else None,
            absolute_path(settings.tls_certificate, setting=f"{where}.tls_certificate") if own else None,
            secret_path(settings.tls_key, setting=f"{where}.tls_key") if own else None,
            named=TlsNames(f"{where}.ca_file", f"{where}.tls_certificate", f"{where}.tls_key"),
        )
    return ReporterAccess(token, tls)


def _look_at_tls(tls: CqlTlsSettings) -> None:
    where = "cassandra.cql.tls"
    if tls.key_file and not tls.certificate_file:
        raise ConfigError(f"«{where}.key_file» needs «{where}.certificate_file»", setting=f"{where}.key_file")
    client_context(
        absolute_path(tls.ca_file, setting=f"{where}.ca_file") if tls.ca_file else None,
        absolute_path(tls.certificate_file, setting=f"{where}.certificate_file") if tls.certificate_file else None,
        secret_path(tls.key_file, setting=f"{where}.key_file") if tls.key_file else None,
        named=TlsNames(f"{where}.ca_file", f"{where}.certificate_file", f"{where}.key_file"),
    )
