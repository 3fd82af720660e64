"""Names of backups: OpsCenter's tag grammar, both ways."""

import re
from datetime import UTC, datetime

TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}", re.ASCII)
"""The whole grammar: 1 to 200 characters, the first no dot and no hyphen."""

_FORM = "%Y-%m-%d-%H-%M-%S"
_SPOKEN = re.compile(r"opscenter_(?P<id>[A-Za-z0-9-]+)_(?P<time>\d{4}(?:-\d\d){5})-UTC", re.ASCII)


def tag_of(backup_id: str, at: int) -> str:
    """The tag of a backup taken at `at` (unix seconds) by schedule `backup_id` ("adhoc" = by hand)."""
    return f"opscenter_{backup_id}_{datetime.fromtimestamp(at, UTC).strftime(_FORM)}-UTC"


def is_tag(text: str) -> bool:
    """Whether the text may name a backup."""
    return TAG.fullmatch(text) is not None
