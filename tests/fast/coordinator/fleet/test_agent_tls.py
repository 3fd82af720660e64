"""Attack row A11 at the coordinator: who isn't the agent gets neither the agents' token nor an order."""

import ssl
from pathlib import Path

import pytest

from coordinator.fleet.client import AgentClient, open_session
from coordinator.fleet.errors import AgentUnreachable
from kit.secret import Secret
from kit.tls import TlsNames, client_context, server_context
from tests.cluster.certificates import Authority
from tests.fast.coordinator.fleet.hostile_agent import HostileAgent
from tests.fast.coordinator.fleet.test_hostile_agents import DEADLINES

ADDRESS = "127.0.80.5"


def server_of(directory: Path, who: str) -> ssl.SSLContext | None:
    """A server that isn't, or is, the agent; None: one that speaks no TLS."""
    authority = Authority(directory, "of-agents")
    certificate, key = {
        "agent": lambda: authority.certificate("agent", ADDRESS),
        "expired": lambda: authority.certificate("agent", ADDRESS, expired=True),
        "another host": lambda: authority.certificate("agent", "127.0.80.6"),
        "another authority": lambda: Authority(directory, "stranger").certificate("agent", ADDRESS),
        "old TLS": lambda: authority.certificate("agent", ADDRESS),
        "plain": lambda: authority.certificate("agent", ADDRESS),
    }[who]()
    context = server_context(certificate, key, None, named=TlsNames("ca"))
    if who == "old TLS":
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    return None if who == "plain" else context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
@pytest.mark.parametrize("who", ["agent", "expired", "another host", "another authority", "old TLS", "plain"])
async def test_only_the_agent_itself_is_spoken_to(tmp_path: Path, who: str) -> None:
    """Promise: a certificate that is expired, of another host or of another authority, an old TLS and no TLS at all:
    the agent counts as unreachable, with the reason, and whoever answered in its place received nothing."""
    tls = server_of(tmp_path, who)
    trusted = client_context(tmp_path / "of-agents.pem", named=TlsNames("ca"))
    async with HostileAgent(ADDRESS, tls=tls) as server, open_session(Secret("token-of-agents"), trusted) as session:
        asked = AgentClient(session, server.url.replace("http:", "https:"), DEADLINES)
        if who == "agent":
            assert (await asked.node()).agent_id == "agent"
            return
        with pytest.raises(AgentUnreachable, match="can't be reached"):
            await asked.node()
        assert server.came == []
