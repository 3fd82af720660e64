"""The real coordinator, whose exchanges over HTTP are written down beside its configuration (see `exchanges`)."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from aiohttp import web

from coordinator import main
from coordinator.serving import acting
from tests.cluster.exchanges import NAME, Recorder

Application = Callable[..., web.Application]


def recorded(make: Application, recorder: Recorder) -> Application:
    """The same applications, recorded."""

    def application(*parts: object) -> web.Application:
        made = make(*parts)
        recorder.record(made)
        return made

    return application


if __name__ == "__main__":
    arguments: Sequence[str] = sys.argv[1:]
    config = Path(arguments[list(arguments).index("--config") + 1])
    # The one place where this coordinator is another: everything else of it is the composition root's own.
    acting.application = recorded(acting.application, Recorder(config.with_name(NAME)))
    sys.exit(main.main(arguments))
