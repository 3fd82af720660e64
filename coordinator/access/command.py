"""The command `helenus-coordinator users`. In: what to do with which user, and a password typed or on standard input.
Out: users in the coordinator's state.

It works on the state itself, whether the coordinator runs or not: it needs no login, so that it makes the first admin,
and helps out whoever lost all passwords. It doesn't take the state's lock, which keeps a second coordinator from the
nodes, not from the state: SQLite lets two processes write a file in turn, Cassandra decides each change itself, and the
coordinator holds nothing of its users in memory. Who may write the state directory, or has the key of a state in
Cassandra, could do all of it anyway.
"""

import argparse
import asyncio
import getpass
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from coordinator.access.accounts import Accounts, check_password
from coordinator.access.passwords import Passwords
from coordinator.model.access import Role
from coordinator.model.errors import InvalidArguments
from coordinator.model.settings import CoordinatorSettings
from coordinator.store.opening import access_of, open_beside
from kit.config import ConfigError, absolute_path, load
from kit.errors import HelenusError

CONFIGURATION = Path("/etc/helenus/coordinator.toml")
LONGEST_LINE = 4_096


def main(arguments: Sequence[str]) -> int:
    """Returns 0, or 1 after an error that was printed, 2 for the configuration's."""
    chosen = _parser().parse_args(arguments)
    try:
        settings = load(chosen.config, CoordinatorSettings)
        password = ""
        if chosen.do in ("add", "set-password"):
            password = _ask_password()
            check_password(chosen.name, password)
        print(asyncio.run(_do(chosen, settings, password)))
    except HelenusError as error:
        print(f"helenus-coordinator: {error.message}. {error.todo}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="helenus-coordinator users", description="Users who may log in at the coordinator, running or not."
    )
    told = f"the configuration file ({CONFIGURATION} if not given)"
    parser.add_argument("--config", type=Path, default=CONFIGURATION, metavar="FILE", help=told)
    common = argparse.ArgumentParser(add_help=False)
    # Before the action or after it: a default here would hide one that was given before.
    common.add_argument("--config", type=Path, default=argparse.SUPPRESS, metavar="FILE", help=told)
    actions = parser.add_subparsers(dest="do", required=True, title="actions", metavar="ACTION")
    typed = "; the password is typed, or read from standard input"
    roles = [str(role) for role in Role]
    add = actions.add_parser("add", parents=[common], help=f"make a user{typed}")
    add.add_argument("name")
    add.add_argument("--role", required=True, choices=roles)
    actions.add_parser("list", parents=[common], help="all users")
    actions.add_parser("remove", parents=[common], help="remove a user and end their sessions").add_argument("name")
    role = actions.add_parser("set-role", parents=[common], help="give a user another role, from the next request on")
    role.add_argument("name")
    role.add_argument("role", choices=roles)
    actions.add_parser(
        "set-password", parents=[common], help=f"give a user another password and end their sessions{typed}"
    ).add_argument("name")
    return parser


async def _do(chosen: argparse.Namespace, settings: CoordinatorSettings, password: str) -> str:
    """What is to be printed."""
    directory = absolute_path(settings.state_directory, setting="state_directory")
    store = await open_beside(access_of(settings.state), directory)
    try:
        others = bool(settings.http.token_file or settings.http.client_ca)
        accounts = Accounts(store.users, Passwords(), time.time, others_administer=others)
        match chosen.do:
            case "add":
                await accounts.add(chosen.name, password, Role(chosen.role))
                return f"{chosen.name} was added, with the role {chosen.role}"
            case "remove":
                await accounts.remove(chosen.name)
                return f"{chosen.name} was removed"
            case "set-role":
                await accounts.change(chosen.name, role=Role(chosen.role))
                return f"{chosen.name} has the role {chosen.role} now"
            case "set-password":
                await accounts.change(chosen.name, password=password)
                return f"{chosen.name} has another password now; their sessions are over"
            case _:
                return await _listed(accounts)
    finally:
        await store.close()


async def _listed(accounts: Accounts) -> str:
    rows = [("name", "role", "made", "changed", "")]
    rows += [
        (user.name, user.role, _day(user.created), _day(user.changed), "disabled" if user.disabled else "")
        for user in await accounts.all()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _ask_password() -> str:
    """Typed twice at a terminal, which shows nothing of it; else the first line of standard input. It never stands in
    an argument, which everybody on the machine can read."""
    if not sys.stdin.isatty():
        return sys.stdin.readline(LONGEST_LINE).rstrip("\r\n")
    try:
        password = getpass.getpass("Password: ")
        again = getpass.getpass("Again: ")
    except EOFError:
        password = again = ""
    if password != again:
        raise InvalidArguments("the two passwords differ", field="password")
    return password
