"""`python -m tests.drill [--destination local|s3|gcs|azure|FILE|DIRECTORY …] [--backup TAG] [--rows N]`

Exit codes: 0 only if every digest, every SSTable and every row was as it should be; 3 something is wrong with the
backup; 1 the drill could not be done.
"""

import argparse
import asyncio
import shutil
import sys
from pathlib import Path

from agent.cli.main import DAMAGE, DAMAGED, FAILED
from kit.errors import HelenusError
from kit.state_lock import StateLock, StateLocked
from tests.cluster.comparison import RowsDiffer
from tests.cluster.opscenter import RequestFailed
from tests.cluster.places import BUILD, MissingPart
from tests.cluster.processes import ProcessError
from tests.demo.interrupt import ends_on_signals
from tests.demo.screen import Screen
from tests.demo.topology import STORES
from tests.drill.found import DrillFailed, DrillImpossible
from tests.drill.machines import Machines
from tests.drill.story import GRACE_SECONDS, make, settings_of, tell

ROWS = 20_000
KINDS = ("local", *STORES)
DIRECTORY = BUILD / "drill"
MADE = DIRECTORY / "cluster"
WORK = DIRECTORY / "work"


async def drill(options: argparse.Namespace, machines: Machines, screen: Screen) -> str:
    """The verdict."""
    asked: list[str] = options.destination
    if asked[0] not in KINDS:
        destinations = [settings_of(Path(each), WORK) for each in asked]
        return await tell(machines, WORK, destinations, options.backup, None, screen)
    shutil.rmtree(MADE, ignore_errors=True)
    made = await make(machines, MADE, asked[0], options.rows, screen)
    return await tell(machines, WORK, made.destinations, made.tag, made, screen)


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="make drill", description=__doc__)
    parser.add_argument("--destination", action="append", help="a kind to make a backup on, or where one is")
    parser.add_argument("--backup", metavar="TAG", help="default: the newest successful one")
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args()
    options.destination = options.destination or ["local"]
    kinds = [each for each in options.destination if each in KINDS]
    if kinds and (len(options.destination) > 1 or options.backup):
        parser.error(f"with {kinds[0]} a backup is made: neither another destination nor a tag can be named")
    if missing := [each for each in options.destination if each not in KINDS and not Path(each).exists()]:
        parser.error(f"{missing[0]} is neither there nor one of {', '.join(KINDS)}")
    try:
        with StateLock(DIRECTORY):
            return _locked(options)
    except StateLocked as error:
        print(f"drill: another drill is on its way: {error}", file=sys.stderr)
        return FAILED


def _locked(options: argparse.Namespace) -> int:
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(mode=0o700)
    screen, machines = Screen(), Machines()
    ends_on_signals(machines)
    code, said = 0, ""
    try:
        said = asyncio.run(drill(options, machines, screen))
    except* (RowsDiffer, DrillFailed, *DAMAGE) as failed:
        code, said = DAMAGED, _reasons(failed)
    except* (HelenusError, DrillImpossible, ProcessError, RequestFailed, MissingPart) as failed:
        code, said = FAILED, _reasons(failed)
    finally:
        screen.step("stopping what was started")
        machines.end(GRACE_SECONDS)
    if code and (WORK / "scratch").exists():
        print(f"drill: what was restored, and the scratch node's log, stay in {WORK} until the next drill")
    else:
        shutil.rmtree(WORK)
    print(f"drill: failed: {said}" if code else f"drill: {said}")
    return code


def _reasons(failed: BaseExceptionGroup[BaseException]) -> str:
    return "\n".join(
        f"{error}. {error.todo}" if isinstance(error, HelenusError) else str(error) for error in failed.exceptions
    )


if __name__ == "__main__":
    sys.exit(main())
