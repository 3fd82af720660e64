"""Which addresses a webhook may have. In: the host of a URL. Out: the addresses to connect to, or a refusal.

The connection is made to exactly the addresses that were judged: a name that means another one a moment later
(DNS rebinding) is judged anew with the next connection, never used unjudged.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

from aiohttp.abc import AbstractResolver, ResolveResult

from coordinator.notices.errors import WebhookAddressRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LookUp = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) → its addresses as texts. Raises `OSError`."""

METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200")
)
"""Where clouds tell a machine its credentials: no receiver of notices is there, whoever says so."""
NAT64 = ipaddress.ip_network("64:ff9b::/96")


async def look_up(host: str, port: int) -> list[str]:
    """The addresses that this machine knows for the name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def plain(address: Address) -> Address:
    """The IPv4 address inside of an IPv6 one that only carries it; no address has a zone."""
    if isinstance(address, ipaddress.IPv6Address):
        address = ipaddress.IPv6Address(int(address))
        carried = address.ipv4_mapped or address.sixtofour
        if carried is None and address in NAT64:
            carried = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if carried is not None:
            return carried
    return address


def why_no_literal(address: Address) -> str | None:
    """Why nothing is sent to an address that the configuration itself names; None: it may be."""
    address = plain(address)
    if address in METADATA:
        return "is where clouds tell a machine its credentials"
    if address.is_multicast or address.is_unspecified or address == ipaddress.IPv4Address("255.255.255.255"):
        return "is no address of one machine"
    return None


def why_no_resolved(address: Address, *, local: bool) -> str | None:
    """The same for an address that a name means; `local`: the name is localhost, which means this machine alone."""
    address = plain(address)
    if local:
        return None if address.is_loopback else "is another machine's"
    if address.is_loopback:
        return "is this machine's own"
    if address.is_link_local:
        return "is link-local"
    if address.is_reserved:
        return "is reserved"
    return why_no_literal(address)


class JudgingResolver(AbstractResolver):
    """Looks names up and refuses those of which any address is refused. For a connector without a cache of its own."""

    def __init__(self, *, local: bool, look_up: LookUp) -> None:
        self._local = local
        self._look_up = look_up

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises `WebhookAddressRefused`, `OSError`."""
        found = [ipaddress.ip_address(text) for text in await self._look_up(host, port)]
        for address in found:
            why = why_no_resolved(address, local=self._local)
            if why is not None:
                raise WebhookAddressRefused(f"{host} means {address}, which {why}", host=host, address=str(address))
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Nothing is held."""
