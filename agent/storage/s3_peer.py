"""Which machine an S3 endpoint is. In: an endpoint, a client, the hosts that may be link-local. Out: nothing, or
`BadSettings` when requests would go to a cloud's metadata service, which hands out credentials.

The name is looked up before the client is made, so that settings are refused with a plain word; and because a name may
mean another machine a moment later, each connection's own peer is looked at before a byte is sent.
"""

import ipaddress
import socket
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

from agent.storage.protocol import BadSettings

_EC2_METADATA = ipaddress.IPv6Address("fd00:ec2::254")
"""EC2's instance metadata service over IPv6 (AWS, EC2 user guide): a unique local address, not a link-local one."""


def refuse_link_local(endpoint: str, allowed_hosts: Collection[str]) -> None:
    """Raise `BadSettings` when the endpoint's host is, or resolves to, a link-local address (the clouds' metadata
    services live there) that the agent's configuration does not list. Asks the resolver, so call it in a thread."""
    host = host_of(endpoint)
    if host in allowed_hosts:
        return
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return  # the connection will fail with a message of its own
    for address in found:
        _refuse(host, address)


def host_of(endpoint: str) -> str:
    """The endpoint's host, "" when there is none."""
    return urlsplit(endpoint).hostname or ""


def watch_peers(client: Any) -> None:
    """From now on a connection of this SDK client whose peer is of that sort is closed before anything is sent. One
    to a proxy is left alone: the administrator named it."""
    # The SDK has no public place for it; both its managers, with and without a proxy, share this dictionary.
    pools = client._endpoint.http_session._pool_classes_by_scheme
    pools.update({"http": _WatchedPool, "https": _WatchedTlsPool})


def _refuse(host: str, address: str) -> None:
    if is_of_metadata(address.partition("%")[0]):
        raise BadSettings(
            f"the endpoint {host!r} is a link-local address, or a cloud's metadata service",
            setting="endpoint",
            address=address,
        )


def is_of_metadata(address: str) -> bool:
    """Whether the address is link-local or a known metadata service's."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        if found == _EC2_METADATA:
            return True
        found = found.ipv4_mapped or found  # up to Python 3.12 a mapped address is not link-local
    return found.is_link_local


def _watched(connection: Any, sock: socket.socket) -> socket.socket:
    if connection.proxy is None:
        try:
            _refuse(connection.host, str(sock.getpeername()[0]))
        except BaseException:
            sock.close()
            raise
    return sock


class _Watched(AWSHTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _watched(self, super()._new_conn())


class _WatchedTls(AWSHTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _watched(self, super()._new_conn())


class _WatchedPool(AWSHTTPConnectionPool):
    ConnectionCls = _Watched


class _WatchedTlsPool(AWSHTTPSConnectionPool):
    ConnectionCls = _WatchedTls
