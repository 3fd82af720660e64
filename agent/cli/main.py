"""`helenus-repository`. In: arguments and a destination's settings file. Out: what was asked, from the destination
alone, and an exit code. No agent, coordinator or Cassandra is needed.

Exit codes: 0 all is well, 1 it could not be done, 2 wrong arguments, 3 something is wrong with a backup, 78 (EX_CONFIG)
the settings file can't be used.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.cli.checking import check
from agent.cli.drilling import drill
from agent.cli.extracting import Chosen, extract
from agent.cli.listing import show_list, undeleted
from agent.cli.place import opened_store, repository_of, settings_in
from agent.cli.screen import Screen, size_of
from agent.pipeline.errors import FileDiffers
from agent.repository.errors import BackupNotFound, ManifestInvalid, ObjectDamaged
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import NotFound
from kit.config import ConfigError
from kit.errors import HelenusError

FAILED = 1
DAMAGED = 3
EX_CONFIG = 78


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:], Screen()))


def run(arguments: Sequence[str], screen: Screen) -> int:
    """Do what is asked; the exit code."""
    asked = _parser().parse_args(arguments)
    try:
        return asyncio.run(_run(asked, screen))
    except ConfigError as error:
        screen.line(error.message)
        return EX_CONFIG
    except (ManifestInvalid, ObjectDamaged, FileDiffers, NotFound) as error:
        return _told(error, screen, DAMAGED)
    except HelenusError as error:
        return _told(error, screen, FAILED)


def _told(error: HelenusError, screen: Screen, code: int) -> int:
    screen.line(f"{error.code}: {error.message}")
    screen.line(error.todo)
    return code


async def _run(asked: argparse.Namespace, screen: Screen) -> int:
    settings = settings_in(asked.destination)
    async with opened_store(settings) as storage:
        opened = await repository_of(storage, settings, asked.cluster)
        match asked.command:
            case "list":
                await show_list(opened, screen)
                return 0
            case "check":
                return DAMAGED if await check(opened, asked.tag, screen, read=asked.read) else 0
            case _:
                return await _files(opened, asked, screen)


async def _files(opened: OpenedRepository, asked: argparse.Namespace, screen: Screen) -> int:
    """extract and drill."""
    hosts = (await undeleted(opened)).get(asked.tag)
    if not hosts:
        raise BackupNotFound(f"there is no backup {asked.tag} in this destination", tag=asked.tag)
    chosen = Chosen(asked.tag, asked.keyspace, asked.table, asked.node)
    done = await extract(opened, hosts, chosen, asked.into, screen)
    screen.line(
        f"{asked.tag}: {done.files} files ({size_of(done.bytes)}) of {done.tables} tables and {done.nodes} nodes are "
        f"in {asked.into}, every digest verified"
    )
    if asked.command == "extract":
        return 0
    return DAMAGED if drill(asked.into, screen) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="helenus-repository", description="Lists, checks and extracts backups from a destination alone."
    )
    parser.add_argument(
        "--destination", type=Path, required=True, metavar="FILE", help="the destination's settings, a JSON file"
    )
    parser.add_argument("--cluster", help="name or id; needed where several are in the destination")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the backups with nodes, completeness, sizes and dates")
    checked = commands.add_parser("check", help="that all that the backups name exists")
    checked.add_argument("tag", nargs="?", help="one backup; default: all")
    checked.add_argument("--read", action="store_true", help="verify every byte too")
    for name, text in (
        ("extract", "the files of a backup, every digest verified; called again it goes on"),
        ("drill", "extract, and verify every SSTable as far as that goes without Cassandra"),
    ):
        wanted = commands.add_parser(name, help=text)
        wanted.add_argument("tag")
        wanted.add_argument("--into", type=Path, required=True, metavar="DIRECTORY")
        wanted.add_argument("--keyspace")
        wanted.add_argument("--table")
        wanted.add_argument("--node", help="a host id")
    return parser
