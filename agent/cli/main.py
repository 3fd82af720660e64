"""`helenus-repository`. In: arguments and a destination's settings file. Out: what was asked, from the destination
alone, and an exit code. No agent, coordinator or Cassandra is needed.

Exit codes: 0 all is well, 1 it could not be done, 2 wrong arguments, 3 something is wrong with a backup, 78 (EX_CONFIG)
the settings file can't be used.
"""

import argparse
import asyncio
import getpass
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.cli.checking import check
from agent.cli.completeness import missing_of
from agent.cli.drilling import drill
from agent.cli.extracting import Chosen, extract
from agent.cli.hidden import tell_hidden
from agent.cli.key_changing import Ask, NewSecrets, change_keys, show_keys
from agent.cli.listing import show_list, undeleted
from agent.cli.locked_checking import check_locked
from agent.cli.place import is_locked, locked_repository_of, opened_store, record_in, repository_of
from agent.cli.screen import Screen, size_of
from agent.cli.verifying import verify
from agent.cli.words import todo_of
from agent.pipeline.errors import FileDiffers
from agent.repository.destination_files import StoredDestination
from agent.repository.errors import BackupNotFound, ManifestInvalid, ObjectDamaged, RepositoryFileLost
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import NotFound
from agent.wire.destinations import ChangeKeys, LocalSettings
from kit.config import ConfigError
from kit.errors import HelenusError
from kit.logs import Redactor, configure

FAILED = 1
DAMAGED = 3
EX_CONFIG = 78
DAMAGE = (ManifestInvalid, ObjectDamaged, FileDiffers, NotFound, RepositoryFileLost)
"""Errors that say that something is wrong with what is stored."""
NODE_BY_NODE = (
    "Where each node has a directory of its own, each holds that node's part alone: name each in a settings file, and "
    "extract it with --node and into the same directory."
)


def main() -> None:
    """The console script. What the modules log is for an agent's operator: here the report says it."""
    configure("error", "console", Redactor())
    sys.exit(run(sys.argv[1:], Screen()))


def run(arguments: Sequence[str], screen: Screen, ask: Ask = getpass.getpass) -> int:
    """Do what is asked; the exit code. `ask`: for passphrases."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.command == "drill" and (asked.sstableverify is None) != (asked.scratch_data is None):
        parser.error("--sstableverify and --scratch-data belong together")
    try:
        return asyncio.run(_run(asked, screen, ask))
    except ConfigError as error:
        screen.line(error.message)
        return EX_CONFIG
    except DAMAGE as error:
        return _told(error, screen, DAMAGED)
    except HelenusError as error:
        return _told(error, screen, FAILED)
    except OSError as error:
        screen.line(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return FAILED


def _told(error: HelenusError, screen: Screen, code: int) -> int:
    screen.line(f"{error.code}: {error.message}")
    screen.line(todo_of(error))
    return code


async def _run(asked: argparse.Namespace, screen: Screen, ask: Ask) -> int:
    record = record_in(asked.destination)
    if asked.command == "keys":
        return await _keys(record, asked, screen, ask)
    hidden = await tell_hidden(record.settings, screen) if asked.command == "check" else 0
    async with opened_store(record) as storage:
        if asked.command == "check" and await is_locked(storage, record):
            locked = await locked_repository_of(storage, record, asked.cluster)
            return DAMAGED if await check_locked(locked, asked.tag, screen, read=asked.read) or hidden else 0
        opened = await repository_of(storage, record, asked.cluster)
        match asked.command:
            case "list":
                await show_list(opened, screen)
                return 0
            case "check":
                return DAMAGED if await check(opened, asked.tag, screen, read=asked.read) or hidden else 0
            case _:
                return await _files(opened, record, asked, screen)


async def _keys(record: StoredDestination, asked: argparse.Namespace, screen: Screen, ask: Ask) -> int:
    match asked.change:
        case "list":
            await show_keys(record, screen)
        case "remove-superseded":
            await change_keys(record, ChangeKeys("remove_superseded"), screen)
        case _:
            secrets = NewSecrets(asked.key_file, asked.passphrase_file, asked.ask)
            await change_keys(record, ChangeKeys(asked.change, secrets.given(ask)), screen)
    return 0


async def _files(opened: OpenedRepository, record: StoredDestination, asked: argparse.Namespace, screen: Screen) -> int:
    """extract and drill. One node that was asked for is all that is wanted; else what is missing counts as wrong."""
    backups = await undeleted(opened)
    backups.tell_doubts(screen, asked.tag)
    hosts = backups.get(asked.tag)
    if hosts is None:
        raise BackupNotFound(f"there is no backup {asked.tag} in this destination", tag=asked.tag)
    missing = None if asked.node is not None else await missing_of(opened, asked.tag)
    if not hosts:
        screen.line(f"{asked.tag}: NOT COMPLETE: {missing or 'no node has a manifest'}: there is nothing to extract")
        return DAMAGED
    chosen = Chosen(asked.tag, asked.keyspace, asked.table, asked.node)
    done = await extract(opened, hosts, chosen, asked.into, screen)
    screen.line(
        f"{asked.tag}: {done.files} files ({size_of(done.bytes)}) of {done.tables} tables and {done.nodes} nodes are "
        f"in {asked.into}, every digest verified"
    )
    if missing is not None:
        screen.line(f"{asked.tag}: NOT COMPLETE: {missing}")
        if isinstance(record.settings, LocalSettings) and not record.settings.shared:
            screen.line(NODE_BY_NODE)
    for lacking in done.lacking:
        screen.line(f"{asked.tag}: NOT COMPLETE: {lacking}")
    wrong = int(missing is not None) + len(done.lacking)
    if asked.command == "extract":
        return DAMAGED if wrong else 0
    wrong += drill(asked.into, done.directories, screen)
    if asked.sstableverify is not None:
        wrong += verify(asked.into, done.directories, asked.sstableverify, asked.scratch_data, screen)
    return DAMAGED if wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="helenus-repository",
        description="Lists, checks and extracts backups from a destination alone, and changes its keys.",
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
    _add_keys(commands.add_parser("keys", help="the key slots of an encrypted repository"))
    for name, text in (
        ("extract", "the files of a backup, every digest verified; called again it goes on"),
        ("drill", "extract, and verify every SSTable: without Cassandra, or with its sstableverify as well"),
    ):
        wanted = commands.add_parser(name, help=text)
        wanted.add_argument("tag")
        wanted.add_argument("--into", type=Path, required=True, metavar="DIRECTORY")
        wanted.add_argument("--keyspace")
        wanted.add_argument("--table")
        wanted.add_argument("--node", help="a host id")
        if name == "drill":
            wanted.add_argument("--sstableverify", type=Path, metavar="PROGRAM", help="Cassandra's tool, to be run too")
            wanted.add_argument(
                "--scratch-data",
                type=Path,
                metavar="DIRECTORY",
                help="data directory of a stopped scratch node that has the schema and no rows",
            )
    return parser


def _add_keys(parser: argparse.ArgumentParser) -> None:
    changes = parser.add_subparsers(dest="change", required=True)
    changes.add_parser("list", help="the slots; no key is needed")
    for name, text in (
        ("add", "one slot for each secret: it opens all that the settings' own does"),
        ("rotate", "a new sealing key, which the settings' own secret and these open, and no other"),
    ):
        changed = changes.add_parser(name, help=text)
        for option in ("--key-file", "--passphrase-file"):
            changed.add_argument(
                option, type=Path, action="append", default=[], metavar="FILE", help="mode 0600 or 0640"
            )
        changed.add_argument("--ask", action="store_true", help="ask for a passphrase")
    changes.add_parser("remove-superseded", help="remove the slots of before the last rotation")
