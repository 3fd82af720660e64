"""The coordinator's process with its state in a real Cassandra."""

import asyncio
import signal
from pathlib import Path

from tests.cluster.ports import free_port
from tests.cluster.scratch import ScratchCluster
from tests.cluster.store_samples import place
from tests.fast.coordinator.test_service import configuration, running, secret_file
from tests.real.state.conftest import CassandraSite

DIGITS = "ab" * 32
DEADLINE = 120.0


def told_of_cassandra(file: Path, node: ScratchCluster, key: Path) -> None:
    """Have the configuration name the keyspace of the tests."""
    spec = node.nodes[0].spec
    text = file.read_text().replace(
        "[http]",
        "[leading]\nlease_seconds = 10\n"
        f'[state]\nkind = "cassandra"\ncontact_points = ["{spec.address}"]\nport = {spec.native_port}\n'
        f'keyspace = "state_of_tests"\nreplication = {{ {spec.dc} = 1 }}\nkey_file = "{key}"\n[http]',
    )
    file.write_text(text)


async def test_it_serves_from_cassandra_and_goes_on_elsewhere(
    site: CassandraSite, state_node: ScratchCluster, tmp_path: Path
) -> None:
    """Promise: killed with -9 and started on another machine, with nothing of the first one's but the key file, the
    coordinator knows its destinations; no secret is in its log, and SIGTERM is a clean end."""
    store = await site.open(key=bytes.fromhex(DIGITS))
    await store.destinations.put(place("d1"))
    key = secret_file(tmp_path / "key", DIGITS)
    for machine in ("first", "second"):
        (tmp_path / machine).mkdir()
        port = free_port()
        file, log = configuration(tmp_path / machine, port), tmp_path / machine / "log"
        told_of_cassandra(file, state_node, key)
        async with running(file, port, log) as process:
            async with asyncio.timeout(DEADLINE):
                # Whoever asks before it leads is told so; the one that was killed leads for the rest of its lease.
                while (answered := await process.ask("GET", "/Test_Cluster/backups/destinations"))[0] == 503:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            assert list(answered[1]) == ["d1"]
            if machine == "second":
                process.process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(DEADLINE):
                    assert await process.process.wait() == 0
        written = log.read_text()
        assert "s3cret" not in written
        assert DIGITS not in written
