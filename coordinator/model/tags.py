"""Names of backups. In: a schedule's id and a time, or a text. Out: OpsCenter's tag, or whether the text may be one."""

from datetime import UTC, datetime

from agent.wire.names import is_name

_FORM = "%Y-%m-%d-%H-%M-%S"


def tag_of(backup_id: str, at: int) -> str:
    """The tag of a backup taken at `at` (unix seconds) by schedule `backup_id` ("adhoc" = by hand)."""
    return f"opscenter_{backup_id}_{datetime.fromtimestamp(at, UTC).strftime(_FORM)}-UTC"


def is_tag(text: str) -> bool:
    """Whether the text may name a backup."""
    return is_name("tag", text)
