"""Attack rows A03, A04, A05 and A07 at the coordinator: it can't be given a forged repository or a credential to obey,
because it has nothing that reads either."""

import subprocess
import sys

from tests.cluster.places import REPOSITORY

NEVER = (
    "agent.repository",
    "agent.storage",
    "agent.crypto",
    "agent.pipeline",
    "agent.jobs",
    "agent.cassandra",
    "boto3",
    "botocore",
    "google",
    "azure",
    "cassandra",
)


def test_it_has_nothing_that_reads_a_destination_or_a_credentials_file() -> None:
    """Promise: the whole running coordinator has loaded no code that opens a destination, unpacks or unseals an object
    of one, or takes a cloud's credentials: all of that is the agents', and what they tell is typed."""
    program = "import sys, coordinator.main, coordinator.opscenter.app; print(*sorted(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=120
    )
    loaded = ran.stdout.split()
    assert "coordinator.fleet.client" in loaded
    assert [name for name in loaded if name in NEVER or name.startswith(tuple(f"{one}." for one in NEVER))] == []
