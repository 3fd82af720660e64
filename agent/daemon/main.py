"""`helenus-agent`. In: a configuration file. Out: a running agent until SIGTERM or SIGINT, and an exit code.

Exit codes: 0 stopped as told, 1 something broke, 2 wrong arguments, 78 (EX_CONFIG) the configuration can't be used.
"""

import argparse
import asyncio
import faulthandler
import gc
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from agent.cassandra.nodetool import not_startable
from agent.daemon.agent import Agent, Making
from agent.daemon.allocator import share_one_arena
from agent.daemon.compose import compose, redact_passwords
from agent.daemon.named_files import look
from agent.daemon.settings import AgentSettings, check
from agent.daemon.version import installed_version
from kit.config import ConfigError, load
from kit.errors import HelenusError
from kit.http_settings import access_of
from kit.logs import Redactor, configure
from kit.notify import Notifier

EX_CONFIG = 78
DEFAULT_CONFIG = Path("/etc/helenus/agent.toml")


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], making: Making | None = None) -> int:
    """Run the agent to its end; `making` replaces parts in tests. The exit code."""
    parser = argparse.ArgumentParser(prog="helenus-agent", description="The Helenus agent of one Cassandra node.")
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="default: %(default)s")
    parser.add_argument("--check-config", action="store_true", help="look at the configuration, say what is wrong, end")
    parser.add_argument("--version", action="version", version=f"helenus-agent {installed_version()}")
    asked = parser.parse_args(arguments)
    try:
        settings = load(asked.config, AgentSettings)
        check(settings)
        redactor = Redactor()
        if asked.check_config:
            access_of(settings.http)
            redact_passwords(settings, redactor)
            look(settings)
            print(f"{asked.config}: fine")
            return 0
        configure(settings.log.level, settings.log.format, redactor)
        faulthandler.enable(2)  # systemd ends with SIGABRT what has no pulse: the journal then says where it stood
        share_one_arena()
        # The modules that were imported stay for good: they need not be walked through by each collection.
        gc.freeze()
        asyncio.run(_serve(settings, redactor, making or Making()))
    except ConfigError as error:
        print(f"helenus-agent: {error.message}\n  {error.todo}", file=sys.stderr)
        return EX_CONFIG
    except HelenusError as error:
        print(f"helenus-agent: {error.message}\n  {error.todo}", file=sys.stderr)
        return 1
    return 0


async def _serve(settings: AgentSettings, redactor: Redactor, making: Making) -> None:
    log = structlog.get_logger("agent")
    notifier = Notifier()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    agent: Agent = compose(settings, redactor, notifier, making)
    try:
        missing = await asyncio.to_thread(not_startable, settings.cassandra.nodetool)
        if missing is not None:
            log.warning("backups and imports will fail until nodetool can be started", **missing.as_dict())
        await agent.start()
        log.info("the agent has started", url=agent.url, state_directory=settings.state_directory)
        notifier.ready()
        await agent.run_until(stop)
    finally:
        notifier.stopping()
        await agent.stop()
        log.info("the agent has stopped")


if __name__ == "__main__":
    main()
