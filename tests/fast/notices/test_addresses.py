"""Which addresses a name may mean, and that a connection goes to none that was not judged."""

import socket

import pytest

from coordinator.notices.addresses import JudgingResolver, look_up
from coordinator.notices.errors import WebhookAddressRefused

NEVER = [
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "0.0.0.0",
    "::",
    "169.254.169.254",
    "169.254.1.1",
    "fe80::1",
    "fe80::1%1",
    "fd00:ec2::254",
    "fd00:ec2::254%1",
    "100.100.100.200",
    "169.254.170.2",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "224.0.0.1",
    "ff02::1",
    "240.0.0.1",
    "255.255.255.255",
]


def resolver(*found: str, local: bool = False) -> JudgingResolver:
    """One for which every name means these addresses."""

    async def known(host: str, port: int) -> list[str]:
        return list(found)

    return JudgingResolver(local=local, look_up=known)


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("before", [[], ["203.0.113.7"]])
async def test_a_name_never_means(address: str, before: list[str]) -> None:
    """Promise: nothing is sent by name to this machine, a link-local or metadata address, or to no one machine, in
    whatever spelling, nor when another address of the name is a good one."""
    with pytest.raises(WebhookAddressRefused) as caught:
        await resolver(*before, address).resolve("hooks.example.com", 443)
    assert caught.value.fields["host"] == "hooks.example.com"


@pytest.mark.parametrize("address", ["203.0.113.7", "10.0.0.7", "192.168.1.7", "fd00::7", "2001:db8::7"])
async def test_a_name_may_mean(address: str) -> None:
    """Promise: what is given to the connection is the address that was judged, private ones too."""
    [found] = await resolver(address).resolve("hooks.example.com", 8443)
    assert (found["host"], found["port"], found["hostname"]) == (address, 8443, "hooks.example.com")
    assert found["family"] == (socket.AF_INET6 if ":" in address else socket.AF_INET)


async def test_localhost_means_this_machine_and_nothing_else() -> None:
    """Promise: plain HTTP is spoken to localhost because nobody hears it; a name service can't make it another one."""
    assert [one["host"] for one in await resolver("127.0.0.1", "::1", local=True).resolve("localhost", 80)] == [
        "127.0.0.1",
        "::1",
    ]
    for elsewhere in ("10.0.0.7", "203.0.113.7", "169.254.169.254", "::ffff:10.0.0.7"):
        with pytest.raises(WebhookAddressRefused):
            await resolver("127.0.0.1", elsewhere, local=True).resolve("localhost", 80)


async def test_names_are_looked_up_as_this_machine_knows_them() -> None:
    """Promise: the machine's own resolver is asked, also for the spellings that only it takes for addresses."""
    assert "127.0.0.1" in await look_up("localhost", 80)
    with pytest.raises(WebhookAddressRefused):
        await JudgingResolver(local=False, look_up=look_up).resolve("0x7f.1", 80)
