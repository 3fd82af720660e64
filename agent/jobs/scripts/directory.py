"""Which script may run. In: the script directory and a name. Out: the file itself, opened, after all that must be so
was seen to be so of that very file.

Directory and file are looked at through what was opened, and it is run through that too, so that nothing that is
renamed or linked between the look and the start can come in its place.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from agent.jobs.scripts.errors import ScriptNotFound, ScriptRefused, ScriptsNotConfigured
from agent.wire.names import is_name

_OPEN = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class OpenScript(msgspec.Struct, frozen=True):
    """A script that may run. `file` and `directory` are open file descriptors of it and of its directory."""

    name: str
    file: int
    directory: int

    @property
    def path(self) -> str:
        """What leads a child that has `file` open to the very file that was looked at."""
        return f"/proc/self/fd/{self.file}"

    @property
    def working_directory(self) -> str:
        """The same of the directory, for a child until it runs the script."""
        return f"/proc/self/fd/{self.directory}"


@contextmanager
def opened_script(directory: str, name: str) -> Iterator[OpenScript]:
    """The script while the block runs. `directory`: as it is configured, "" = none. Raises ScriptsNotConfigured,
    ScriptNotFound, ScriptRefused."""
    if not directory:
        raise ScriptsNotConfigured(f"the script {name} is not run: this agent has no script directory", script=name)
    if not is_name("script", name):
        raise _refused(name, "that is no plain name of a file")
    place = _opened(directory, name, os.O_DIRECTORY)
    try:
        _check(os.fstat(place), "its directory", name)
        file = _opened(name, name, 0, place)
        try:
            found = os.fstat(file)
            if stat.S_ISLNK(found.st_mode):
                raise _refused(name, "it is a symbolic link")
            if not stat.S_ISREG(found.st_mode):
                raise _refused(name, "it is no regular file")
            _check(found, "it", name)
            script = OpenScript(name, file, place)
            if not os.access(script.path, os.X_OK):
                raise _refused(name, "the agent's user may not execute it")
            yield script
        finally:
            os.close(file)
    finally:
        os.close(place)


def _opened(path: str, name: str, flags: int, directory: int | None = None) -> int:
    """Without reading: what lies there may be a device or a pipe."""
    try:
        return os.open(path, _OPEN | flags, dir_fd=directory)
    except FileNotFoundError:
        where = "there is no such script" if directory is not None else f"there is no directory {path}"
        raise ScriptNotFound(f"the script {name} is not run: {where}", script=name) from None
    except OSError as error:
        what = "it" if directory is not None else "its directory"
        why = "is no directory, or a symbolic link" if isinstance(error, NotADirectoryError) else error.strerror
        raise _refused(name, f"{what} {why}" if isinstance(error, NotADirectoryError) else f"{what}: {why}") from None


def _check(found: os.stat_result, what: str, name: str) -> None:
    """Who could have written it is root or the agent's own user. Rights that an ACL gives show in the group's bits."""
    if found.st_uid not in (0, os.geteuid()):
        raise _refused(name, f"{what} belongs to the user {found.st_uid}, not to root or the agent's user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _refused(name, f"{what} can be written by its group or others (mode {stat.S_IMODE(found.st_mode):04o})")


def _refused(name: str, reason: str) -> ScriptRefused:
    return ScriptRefused(f"the script {name} is not run: {reason}", script=name, reason=reason)
