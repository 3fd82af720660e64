"""Settings from a TOML file. In: a path and a frozen struct type. Out: the struct, or an error that names the setting.

Secrets never stand in the file itself: a setting names a file, or `credential:<name>` for a systemd credential.
"""

import copy
import difflib
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from kit.errors import HelenusError
from kit.secret import Secret

CREDENTIAL = "credential:"
"""The beginning of a secret's setting that names a systemd credential instead of a path."""

Settings = TypeVar("Settings", bound=msgspec.Struct)
_STEP = re.compile(r"\.[^.\[]+|\[[^\]]*\]")
"""Of msgspec's paths: a setting, a position in a list, or `_ANY`, some key of a table."""
_ANY = "[...]"


class ConfigError(HelenusError):
    """A configuration that can't be used; `setting` is its dotted path, with positions in lists as `[0]`."""

    code = "configuration"
    todo = "Correct the named setting in the configuration file and start the service again."


class ConfigUnreadable(ConfigError):
    """The configuration file, or a file of a secret that it names, can't be read."""

    todo = "Correct the file's path, or let the service's user read it, and start the service again."


def load(path: Path, kind: type[Settings]) -> Settings:
    """The settings in the TOML file at `path` as a `kind`. Raises `ConfigError`."""
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ConfigUnreadable(
            f"the configuration file {path} can't be read: {error.strerror}", file=str(path)
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"the configuration file {path} is not UTF-8", file=str(path)) from None
    return parse(text, kind, source=str(path))


def parse(text: str, kind: type[Settings], *, source: str = "the configuration") -> Settings:
    """The settings in a TOML text. Raises `ConfigError` with the setting's dotted path and what is allowed there."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not TOML: {error}", file=source) from None
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        message, setting = _explain(str(error), kind, tree)
        raise ConfigError(f"{source}: {message}", file=source, setting=setting) from None


def _explain(text: str, kind: type[msgspec.Struct], tree: dict[str, Any]) -> tuple[str, str]:
    """msgspec's sentence in terms of the file: (sentence, dotted path of the setting)."""
    told, _, where = text.partition(" - at `")
    steps = _STEP.findall(where.removeprefix("key` in `").removeprefix("$").rstrip("`"))
    if where.startswith("key`"):  # the name that a person chose for a table is itself the trouble
        steps.append(_ANY)
    place = _place(steps, kind, tree, text)
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", told)
    if unknown:
        name = unknown.group(1)
        allowed = _fields_at(kind, steps)
        near = difflib.get_close_matches(name, allowed, 1)
        hint = f" (did you mean «{near[0]}»?)" if near else ""
        setting = f"{place}.{name}" if place else name
        return f"there is no setting «{setting}»{hint}; allowed here: {', '.join(sorted(allowed))}", setting
    missing = re.fullmatch(r"Object missing required field `(.*)`", told)
    if missing:
        setting = f"{place}.{missing.group(1)}" if place else missing.group(1)
        return f"the setting «{setting}» is missing", setting
    bounds = bounds_of(_kind_at(kind, steps))
    told += "" if bounds is None else f"; allowed: {bounds[0]} to {bounds[1]}"
    return f"the setting «{place}» is not as it must be: {told[:1].lower()}{told[1:]}", place


def _place(steps: list[str], kind: type[msgspec.Struct], tree: dict[str, Any], text: str) -> str:
    """The dotted path that the steps lead to. Which key of a table msgspec doesn't say: it is the one that brings the
    same refusal when it is there alone."""
    tree = copy.deepcopy(tree)
    here: Any = tree
    place = ""
    for step in steps:
        if step == _ANY:
            for key, value in dict(here).items():
                here.clear()
                here[key] = value
                if _refusal(tree, kind) == text:
                    break
            place, here = f"{place}.{key}", here[key]
        elif step.startswith("["):
            place, here = f"{place}{step}", here[int(step[1:-1])]
        else:
            place, here = f"{place}{step}", here[step[1:]]
    return place.removeprefix(".")


def _refusal(tree: dict[str, Any], kind: type[msgspec.Struct]) -> str:
    """What msgspec finds wrong, "" for nothing."""
    try:
        msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        return str(error)
    return ""


def _fields_at(kind: object, steps: list[str]) -> list[str]:
    """The settings that the table which the steps lead to may have; empty if they lead to no struct."""
    struct, _ = nested(_kind_at(kind, steps))
    return [field.encode_name for field in msgspec.structs.fields(struct)] if struct else []


def _kind_at(kind: object, steps: list[str]) -> object:
    """The type of what the steps lead to; None when it is not known."""
    current = kind
    for step in steps:
        struct, chosen = nested(current)
        if chosen:  # a key or a position
            current = struct
        elif struct is not None:
            names = {f".{field.encode_name}": field.type for field in msgspec.structs.fields(struct)}
            current = names.get(step)
    return current


def bounds_of(kind: object) -> tuple[float, float] | None:
    """The least and the most that a number's type allows; None for other types and for numbers without both."""
    told = None if kind is None else msgspec.inspect.type_info(kind)
    if not isinstance(told, msgspec.inspect.IntType | msgspec.inspect.FloatType) or told.ge is None or told.le is None:
        return None
    return told.ge, told.le


def nested(kind: object) -> tuple[type[msgspec.Struct] | None, bool]:
    """The struct that a type is, may be, or is a collection of; and whether it is a collection."""
    kind = _bare(kind)
    chosen = get_origin(kind) in (dict, list, tuple)
    for part in get_args(kind)[-1:] if chosen else (kind, *get_args(kind)):
        candidate = _bare(part)
        if isinstance(candidate, type) and issubclass(candidate, msgspec.Struct):
            return candidate, chosen
    return None, False


def _bare(kind: object) -> object:
    """The type without `Annotated` around it."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def read_secret(place: str, *, setting: str, environment: Mapping[str, str] = os.environ) -> Secret:
    """The secret in the file at `place` (or in the systemd credential `credential:<name>`), without the newline at its
    end. Raises `ConfigError` if the file is missing, empty, or may be read by everybody."""
    path = secret_path(place, setting=setting, environment=environment)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            text = file.read(1 << 16).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigUnreadable(
            f"the file of «{setting}» can't be read: {error}", setting=setting, file=str(path)
        ) from None
    if mode & 0o007:
        raise ConfigError(
            f"the file of «{setting}» may be read or written by everybody (mode {mode:04o}); allowed: 0600, 0640",
            setting=setting,
            file=str(path),
        )
    text = text.rstrip("\r\n")
    if not text:
        raise ConfigError(f"the file of «{setting}» is empty", setting=setting, file=str(path))
    return Secret(text)


def secret_path(place: str, *, setting: str, environment: Mapping[str, str] = os.environ) -> Path:
    """Where the secret of a setting is: an absolute path, or a file of `$CREDENTIALS_DIRECTORY`."""
    if place.startswith(CREDENTIAL):
        name = place.removeprefix(CREDENTIAL)
        directory = environment.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise ConfigError(
                f"«{setting}» names the credential «{name}», but CREDENTIALS_DIRECTORY is not set: the service was "
                "given no credentials by systemd; where it is started by hand, the variable names their directory",
                setting=setting,
            )
        if not name or "/" in name or name.startswith("."):
            raise ConfigError(f"«{setting}» names no credential: «{name}»", setting=setting)
        return Path(directory) / name
    return absolute_path(place, setting=setting)


def look_at_directory(directory: Path, *, setting: str) -> None:
    """Raise ConfigError for a directory that can't be made, or that is something else. Makes nothing. Whether the
    service's user may write there shows at its start: who looks at a configuration may be another."""
    for place in (directory, *directory.parents):
        if os.path.lexists(place):
            if not place.is_dir():
                what = "is no directory" if place == directory else f"can't be made: {place} is no directory"
                raise ConfigError(f"«{setting}»: {directory} {what}", setting=setting)
            return


def absolute_path(place: str, *, setting: str) -> Path:
    """The path of a setting, which must be absolute."""
    path = Path(place)
    if not path.is_absolute() or "\0" in place:
        raise ConfigError(f"«{setting}» must be an absolute path, not «{place}»", setting=setting)
    return path
