"""The real agent, whose exchanges over HTTP are written down beside its configuration (see `exchanges`)."""

import sys
from collections.abc import Sequence
from pathlib import Path

from agent.daemon.agent import Making
from agent.daemon.main import run
from tests.cluster.exchanges import NAME, Recorder


def recorder(arguments: Sequence[str]) -> Recorder:
    """The recorder that belongs to the configuration of the command line."""
    config = Path(arguments[list(arguments).index("--config") + 1])
    return Recorder(config.with_name(NAME))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], Making(application=recorder(sys.argv[1:]).record)))
