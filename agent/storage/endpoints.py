"""Which machine an endpoint is. In: an endpoint, the hosts that may be link-local. Out: nothing, or `BadSettings` when
requests would go to a cloud's metadata service, which hands out credentials.

The name is looked up before a client is made, so that settings are refused with a plain word.
"""

import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from agent.storage.protocol import BadSettings

_EC2_METADATA = ipaddress.IPv6Address("fd00:ec2::254")
"""EC2's instance metadata service over IPv6 (AWS, EC2 user guide): a unique local address, not a link-local one."""


def checked_endpoint(endpoint: str) -> str:
    """The endpoint if it is a plain http or https address. Raises `BadSettings`."""
    parts = urlsplit(endpoint)
    try:
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fine = False
    if not fine or parts.username or parts.password or parts.query or parts.fragment:
        raise BadSettings("the endpoint must be http://host[:port] or https://host[:port]", setting="endpoint")
    return endpoint


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
        refuse_address(host, address)


def host_of(endpoint: str) -> str:
    """The endpoint's host, "" when there is none."""
    return urlsplit(endpoint).hostname or ""


def refuse_address(host: str, address: str) -> None:
    """Raise `BadSettings` when the host's address is link-local or a known metadata service's."""
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
