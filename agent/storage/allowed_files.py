"""Which files of the agent's machine settings may name. In: a path and the directories such files may lie in. Out: the
file, or `BadSettings`."""

from collections.abc import Sequence
from pathlib import Path

from agent.storage.protocol import BadSettings

_MOST_BYTES = 64 * 1024


def allowed_file(path: str, roots: Sequence[Path], setting: str) -> Path:
    """The file, links resolved, if it lies under one of the roots. Raises `BadSettings` with the setting's name."""
    if "\0" in path:
        raise BadSettings(f"{setting} is no path", setting=setting)
    if not Path(path).is_absolute():
        raise BadSettings(f"the path {path!r} of {setting} must begin with a slash", setting=setting)
    found = Path(path).resolve()
    if not any(found.is_relative_to(root.resolve()) for root in roots):
        raise BadSettings(
            f"the {setting} {path!r} lies outside of the directories that this agent takes such files from: "
            f"{', '.join(map(str, roots)) or 'none'} (`file_roots` of its configuration)",
            setting=setting,
            roots=[str(root) for root in roots],
        )
    return found


def credentials_text(path: str, roots: Sequence[Path]) -> str:
    """The text of the file that a destination's `credentials_file` names. Raises `BadSettings`."""
    try:
        with allowed_file(path, roots, "credentials_file").open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text"
        raise BadSettings(f"the credentials file can't be read: {reason}", setting="credentials_file") from None
